"""A kept connection that breaks: how often a request goes out is decided in `retry`, never in the HTTP library."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from proxy.graph.budget import Budget, BudgetLimits, Scope
from proxy.graph.client import Call, Content
from proxy.graph.clock import SystemClock
from proxy.graph.errors import GraphAnswerLost, GraphUnavailable
from proxy.graph.settings import OrganizationSettings, parse_organization
from proxy.graph.transport import Transport
from proxy.graph.writer import GraphWriter

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
METHODS = ("GET", "HEAD", "PUT", "DELETE", "PATCH", "POST")
BODY = Content("application/json", b'{"a": 1}')


@dataclass
class Dropping:
    """A server that keeps connections, reads a whole request, and then drops the connection `drops` times."""

    drops: int = 0
    seen: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            lines = head.lower().splitlines()
            size = [int(line[15:]) for line in lines if line.startswith("content-length:")]
            self.bodies.append(await reader.readexactly(size[0] if size else 0))
            self.seen.append(head.split()[0])
            if self.drops:
                self.drops -= 1
                break
            writer.write(ANSWER)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def dropping() -> AsyncIterator[Dropping]:
    server = Dropping()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await server.serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield server


def settings(url: str) -> OrganizationSettings:
    """Of an organization whose service is at `url`."""
    members = {"tenant_id": "t", "client_id": "c", "client_secret": "s", "cloud": "other"}
    return parse_organization({**members, "authority": "https://127.0.0.1", "graph_endpoint": url})


class _Tokens:
    """Signs nobody in: the calls of this test need no token."""


@asynccontextmanager
async def writing(server: Dropping) -> AsyncIterator[GraphWriter]:
    """A writer whose connection to the server is kept and has just been used."""
    transport = Transport(settings(server.url), "test")
    clock = SystemClock()
    budget = Budget(clock, BudgetLimits())
    try:
        await transport.request("GET", server.url, {})
        server.seen.clear()
        server.bodies.clear()
        yield GraphWriter(settings(server.url), transport, _Tokens(), budget, clock)  # type: ignore[arg-type]
    finally:
        await budget.close()
        await transport.close()


def call(server: Dropping, method: str, *, once: bool = False) -> Call:
    scope = Scope.mailbox("ann")
    address = f"{server.url}/x"
    return Call(address, scope, "A", method=method, content=BODY, once=once, bearer=False)


@pytest.mark.parametrize("method", METHODS)
async def test_the_transport_sends_a_request_once(method: str) -> None:
    """Whatever the method: a kept connection that breaks is told, and nothing more goes out."""
    async with dropping() as server:
        transport = Transport(settings(server.url), "test")
        await transport.request("GET", server.url, {})
        server.drops = 1
        with pytest.raises(GraphUnavailable) as caught:
            await transport.request(method, server.url, {}, b"body")
        await transport.close()
    assert (caught.value.code, server.seen) == ("graph-no-answer", ["GET", method])


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST"])
async def test_what_must_not_be_done_twice_reaches_the_service_once(method: str) -> None:
    """A piece of an upload is a PUT; whoever sent it looks what became of it."""
    async with dropping() as server, writing(server) as writer:
        server.drops = 1
        with pytest.raises(GraphAnswerLost):
            await writer.send(call(server, method, once=True))
        assert server.seen == [method]


@pytest.mark.parametrize(
    ("method", "send"),
    [
        ("PUT", lambda writer, one: writer.change(one, "PUT")),
        ("DELETE", lambda writer, one: writer.delete(one)),
        ("GET", lambda writer, one: writer.get_json(one)),
    ],
)
async def test_what_may_be_done_twice_is_paid_for_each_time(
    method: str, send: Callable[[GraphWriter, Call], object]
) -> None:
    """Two drops, three requests at the service, each with its whole body (lesson 12), three in the budget."""
    async with dropping() as server, writing(server) as writer:
        server.drops = 2
        await send(writer, call(server, method))  # type: ignore[misc]
        assert (server.seen, server.bodies) == ([method] * 3, [BODY.data] * 3)
        assert writer.meter.requests == 3


async def test_all_requests_share_the_connections_of_one_client() -> None:
    """Lessons 19, 20: no client a request, and DELETE needs none of its own."""
    async with dropping() as server, writing(server) as writer:
        for method in ("PUT", "PATCH", "DELETE", "PUT"):
            await writer.send(call(server, method))
        await writer.get_json(call(server, "GET"))
        assert server.connections == 1
