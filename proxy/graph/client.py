"""
Requests to Microsoft Graph as one task makes them: retried, budgeted, counted.

Order of the layers, outermost first: retry by time, budget (every attempt pays and waits), token, transport. Only
reading calls exist here, the few that are a POST included: the backup application has no right to write. What writes
is `writer`, which a backup never gets.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from engine.errors import InternalError
from proxy.graph.auth import TokenSource, claims_of
from proxy.graph.batch import (
    BATCH_CALLS_AT_ONCE,
    BATCH_CALLS_MAX,
    Answered,
    decode_batch,
    encode_batch,
)
from proxy.graph.budget import Admission, Budget, Meter, Scope
from proxy.graph.clock import Clock
from proxy.graph.errors import GraphError, GraphUnavailable
from proxy.graph.faults import Duty, Fault, Situation, classify
from proxy.graph.paging import (
    LinkMachine,
    Page,
    PageBody,
    decode_page,
    mended_json,
)
from proxy.graph.retry import Persistence, pause_s
from proxy.graph.settings import OrganizationSettings
from proxy.graph.transport import ERROR_BYTES_MAX, JSON_BYTES_MAX, BodyReader, Transport

__all__ = ["Call", "Content", "GraphClient", "segment"]

VERSION_PATH = "/v1.0"
REDIRECTS = frozenset({301, 302, 307, 308})
READING_METHODS = frozenset({"GET", "POST"})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Content:
    """The body of a request and its media type."""

    type: str
    data: bytes

    @staticmethod
    def json(document: object) -> "Content":
        """A JSON body; `msgspec.Raw` members go out as they are."""
        return Content("application/json", msgspec.json.encode(document))


@dataclass(frozen=True, slots=True)
class Call:
    """
    One request to make.

    Args:
        url: absolute address, or a path below the version ("/users/...").
        scope: the bucket that pays.
        what: the kind of request in words, for errors; never a name or address.
        prefer: values for the one Prefer header.
        units: expected cost in resource units; 1 for Exchange.
        patience_s: how long failures are tried again; None: the organization's for pages.
        follows_link: the address came from the service.
        method: GET, or POST for what reads by one (`$batch`, `exportItems`); the others are the writer's.
        content: the body.
        headers: further ones (`If-Match`, `Content-Range`).
        once: a second execution would make a second item: never sent again where the first may have been executed.
        calls: how many of them the service runs at once: more than one for a batch.
        bearer: False for pre-authenticated addresses, which must not see the token.
    """

    url: str
    scope: Scope
    what: str
    prefer: tuple[str, ...] = ()
    units: float = 1.0
    patience_s: float | None = None
    follows_link: bool = False
    method: str = "GET"
    content: Content | None = None
    headers: tuple[tuple[str, str], ...] = ()
    once: bool = False
    calls: int = 1
    bearer: bool = True

    def to(self, link: str) -> "Call":
        """The same call along a link of the service."""
        return replace(self, url=link, follows_link=True)


def segment(text: str) -> str:
    """A path segment: ids may hold any character."""
    return quote(text, safe="!@=-_.~,$'()*")


class GraphClient:
    """What a task talks to. Many may share one transport, token source and budget."""

    def __init__(
        self,
        settings: OrganizationSettings,
        transport: Transport,
        tokens: TokenSource,
        budget: Budget,
        clock: Clock,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.meter = Meter()
        self._transport = transport
        self._tokens = tokens
        self._budget = budget

    def url(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """Absolute address of a path below the version; `$` and commas stay readable in the query."""
        suffix = "?" + urlencode(query, safe="$,()=:/'@", quote_via=quote) if query else ""
        return f"{self.settings.graph_endpoint}{VERSION_PATH}{path}{suffix}"

    def _absolute(self, call: Call) -> str:
        return call.url if "://" in call.url else self.url(call.url)

    async def get_json(self, call: Call) -> dict[str, Any]:
        """
        The JSON object behind `call`.

        Raises:
            GraphError: as `faults` classifies it, after the time allowed for trying again.
        """

        async def consume(reader: BodyReader) -> dict[str, Any]:
            return _object(await reader.read(JSON_BYTES_MAX), call.what)

        return await self.read(call, consume)

    async def get_bytes(self, call: Call, limit: int) -> bytes:
        """The whole body behind `call`, at most `limit` bytes."""
        return await self.read(call, lambda reader: reader.read(limit))

    async def page(self, call: Call, machine: LinkMachine) -> Page:
        """One page of a listing or change feed."""

        async def consume(reader: BodyReader) -> PageBody:
            return decode_page(await reader.read(JSON_BYTES_MAX))

        if call.follows_link:
            machine.check_host(call.url)
        return machine.accept(await self.read(call, consume))

    async def pages(self, call: Call) -> AsyncIterator[Page]:
        """All pages of a listing, from the first."""
        machine = LinkMachine(self.settings.graph_endpoint, delta=False)
        page = await self.page(call, machine)
        yield page
        while page.next_link is not None:
            page = await self.page(call.to(page.next_link), machine)
            yield page

    async def location(self, call: Call) -> str:
        """The address that `call` redirects to: a pre-authenticated URL that gets no token."""

        async def redirected(reader: BodyReader) -> str:
            address = reader.headers.get("Location", "")
            if not address:
                raise GraphUnavailable(
                    f"{call.what}: no address came back.", code="graph-bad-answer"
                )
            return address

        return await self.read(call, redirected, redirect=True)

    async def batch(self, calls: Sequence[Call]) -> list[bytes | GraphError]:
        """
        The JSON behind GETs of one scope, in their order; an error stands in the place of what could not be read.

        One round trip for each BATCH_CALLS_MAX of them; what a batch brings no clear answer for is asked by itself.

        Raises:
            GraphError: the batch as a whole was refused.
        """
        found: list[bytes | GraphError] = []
        for start in range(0, len(calls), BATCH_CALLS_MAX):
            found += await self._batch(calls[start : start + BATCH_CALLS_MAX])
        return found

    async def _batch(self, calls: Sequence[Call]) -> list[bytes | GraphError]:
        root = self.url("")
        inner = [(self._absolute(call).removeprefix(root), _preferences(call)) for call in calls]
        outer = replace(
            calls[0],
            url="/$batch",
            prefer=(),
            method="POST",
            content=Content("application/json", encode_batch(inner)),
            units=sum(call.units for call in calls),
            calls=min(len(calls), BATCH_CALLS_AT_ONCE),
        )
        answers = await self.read(outer, lambda reader: reader.read(JSON_BYTES_MAX))
        found: list[bytes | GraphError] = []
        for call, answer in zip(calls, decode_batch(answers, len(calls)), strict=True):
            found.append(await self._settled(call, answer))
        return found

    async def _settled(self, call: Call, answer: Answered | None) -> bytes | GraphError:
        if answer is not None and answer.status < 300:
            return answer.body
        if answer is not None:
            now = self.clock.time()
            fault = classify(answer.status, answer.headers, answer.body, now=now)
            if fault.duty is Duty.GIVE_UP:
                return fault.to_error(call.what)
            if fault.duty is Duty.PAUSE:
                self.meter.throttled += 1
                self._budget.bucket(call.scope).fence(pause_s(fault))
        try:
            return await self.get_bytes(call, JSON_BYTES_MAX)
        except GraphError as error:
            return error

    async def read(
        self,
        call: Call,
        consume: Callable[[BodyReader], Awaitable[T]],
        *,
        redirect: bool = False,
    ) -> T:
        """Send `call` until it succeeds, and give its body to `consume` (again after a cut)."""
        if call.method not in READING_METHODS or call.once:
            raise InternalError("A call that writes was given to the client that reads.")
        return await self._exchange(call, consume, redirect=redirect)

    async def _exchange(
        self,
        call: Call,
        consume: Callable[[BodyReader], Awaitable[T]],
        *,
        redirect: bool = False,
    ) -> T:
        url = self._absolute(call)
        body = call.content.data if call.content is not None else None

        async def attempt(admission: Admission) -> T | Fault:
            token = await self._tokens.token() if call.bearer else ""
            headers = _headers(token, call)
            async with self._transport.open(call.method, url, headers, body) as reader:
                admission.settle(reader.headers)
                if reader.status < 300 or (redirect and reader.status in REDIRECTS):
                    return await consume(reader)
                fault = await self._fault(reader, call.follows_link)
            if fault.duty is Duty.TOKEN and call.bearer:
                claims = claims_of(reader.headers.get("WWW-Authenticate", ""))
                await self._tokens.replace(token, claims)
            return fault

        return await self._persist(call, attempt)

    @asynccontextmanager
    async def open_preauthenticated(
        self, call: Call, headers: Mapping[str, str]
    ) -> AsyncIterator[BodyReader | Fault]:
        """
        Open a pre-authenticated address for the block: no token goes there, only throttling is waited out here.

        Whoever downloads knows better how to go on (Range, a fresh address): other faults come back as values, and
        a connection that fails or breaks off raises GraphUnavailable at once.
        """
        bucket = self._budget.bucket(call.scope)
        persistence = Persistence(call.what, 0.0, self.clock.monotonic())
        while True:
            async with bucket.admit(call.units, self.meter) as admission:
                async with self._transport.open("GET", call.url, headers) as reader:
                    admission.settle(reader.headers)
                    if reader.status in (200, 206):
                        yield reader
                        return
                    fault = await self._fault(reader, follows_link=False)
                if fault.duty is Duty.PAUSE:
                    admission.pause(pause_s(fault))
            if fault.duty is not Duty.PAUSE:
                yield fault
                return
            persistence.after_fault(fault, self.clock.monotonic())

    async def _persist(self, call: Call, attempt: Callable[[Admission], Awaitable[T | Fault]]) -> T:
        patience_s = call.patience_s
        if patience_s is None:
            patience_s = self.settings.page_patience_s
        bucket = self._budget.bucket(call.scope)
        persistence = Persistence(call.what, patience_s, self.clock.monotonic(), once=call.once)
        while True:
            async with (
                self._room_for(call),
                bucket.admit(call.units, self.meter, call.calls) as admission,
            ):
                try:
                    result = await attempt(admission)
                except GraphUnavailable as error:
                    delay = persistence.after_error(error, self.clock.monotonic())
                else:
                    if not isinstance(result, Fault):
                        return result
                    if result.duty is Duty.PAUSE:
                        admission.pause(pause_s(result))
                    delay = persistence.after_fault(result, self.clock.monotonic())
            await self.clock.sleep(delay)

    @asynccontextmanager
    async def _room_for(self, call: Call) -> AsyncIterator[None]:
        """Wait until the mailbox takes as many bytes as the call sends."""
        size = len(call.content.data) if call.content is not None else 0
        if call.scope.kind != "mailbox" or not size:
            yield
            return
        counted = Meter()  # the request is counted where it is admitted
        async with self._budget.bucket(call.scope.uploads()).admit(size, counted):
            self.meter.waited_s += counted.waited_s
            yield

    async def _fault(self, reader: BodyReader, follows_link: bool) -> Fault:
        body = b""
        with suppress(GraphUnavailable):
            body = await reader.read(ERROR_BYTES_MAX)
        situation = Situation(follows_link=follows_link)
        now = self.clock.time()
        return classify(reader.status, reader.headers, body, now=now, situation=situation)


def _headers(token: str, call: Call) -> dict[str, str]:
    headers = dict(call.headers)
    if call.bearer:
        headers["Authorization"] = f"Bearer {token}"
    headers |= _preferences(call)
    if call.content is not None:
        headers["Content-Type"] = call.content.type
    return headers


def _preferences(call: Call) -> dict[str, str]:
    return {"Prefer": ", ".join(call.prefer)} if call.prefer else {}


def _object(body: bytes, what: str) -> dict[str, Any]:
    document: object
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            document = msgspec.json.decode(mended_json(body))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _bad_answer(what) from error
    if not isinstance(document, dict):
        raise _bad_answer(what)
    return document


def _bad_answer(what: str) -> GraphError:
    return GraphUnavailable(f"{what}: the answer is not a JSON object.", code="graph-bad-answer")
