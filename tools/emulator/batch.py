"""
`$batch`: several calls in one request, each answered on its own within a 200.

Graph runs at most four of them at a time, and one at a time where one depends on another; the
answers come in the order in which they were done, which is not that of the requests.
"""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from tools.emulator.call import Request
from tools.emulator.errors import bad_request
from tools.emulator.ledger import BreachKind
from tools.emulator.reply import Reply, json_reply

REQUESTS_MAX = 20
AT_ONCE = 4
PATH = "/$batch"

Answer = Callable[[Request], Awaitable[Reply]]
Breach = Callable[[BreachKind, str], None]


class Step(msgspec.Struct):
    """One request of a batch."""

    id: str
    method: str
    url: str
    headers: dict[str, str] = {}
    body: Any = None
    depends_on: list[str] = msgspec.field(default_factory=list, name="dependsOn")


def read(body: bytes, breach: Breach) -> list[Step]:
    """
    The requests of a batch, checked.

    Raises:
        GraphError: 400, there are none or too many, or their ids or references are wrong.
    """
    try:
        raw = msgspec.json.decode(body)
        steps = msgspec.convert(raw["requests"], list[Step])
    except (msgspec.MsgspecError, KeyError, TypeError):
        raise bad_request("Invalid batch payload format.") from None
    if not 1 <= len(steps) <= REQUESTS_MAX:
        breach("batch", f"{len(steps)} requests")
        raise bad_request(f"A batch has between 1 and {REQUESTS_MAX} requests.")
    seen: set[str] = set()
    for step in steps:
        if step.id.lower() in seen:
            breach("batch", "an id stands twice")
            raise bad_request("Request ids of a batch must be unique.")
        if any(other.lower() not in seen for other in step.depends_on):
            raise bad_request("A request depends on one that does not come before it.")
        if step.url.lower().lstrip("/").startswith(PATH[1:]):
            breach("batch", "a batch in a batch")
            raise bad_request("A batch cannot hold a batch.")
        seen.add(step.id.lower())
    return steps


async def run(request: Request, steps: list[Step], answer: Answer) -> Reply:
    """Answer the requests of a batch with `answer`."""
    chained = any(step.depends_on for step in steps)
    room = asyncio.Semaphore(1 if chained else AT_ONCE)
    calls = {step.id: inner(request, step) for step in steps}
    done: dict[str, int] = {}
    answers: list[dict[str, Any]] = []

    async def one(step: Step) -> None:
        async with room:
            if any(done[other.lower()] >= 400 for other in step.depends_on):
                error = {"code": "FailedDependency", "message": "What it depends on failed."}
                found: dict[str, Any] = {"id": step.id, "status": 424, "body": {"error": error}}
            else:
                found = shown(step.id, await answer(calls[step.id]))
            done[step.id.lower()] = found["status"]
            answers.append(found)

    async with asyncio.TaskGroup() as group:
        for step in steps:
            group.create_task(one(step))
    return json_reply({"responses": answers[1:] + answers[:1]})  # never sorted as they were asked


def inner(request: Request, step: Step) -> Request:
    """The call that a step is, with the token and the agent of the batch."""
    path, _, query = step.url.partition("?")
    headers = {name.title(): value for name, value in step.headers.items()}
    for name in ("Authorization", "User-Agent"):
        headers[name] = request.headers.get(name, "")
    body = b""
    if step.body is not None:
        kind = headers.get("Content-Type", "")
        if not kind:
            raise bad_request("A request with a body needs a Content-Type.")
        body = msgspec.json.encode(step.body)
        if isinstance(step.body, str):
            body = _binary(step.body, kind)
    return Request(
        step.method.upper(),
        request.origin,
        request.prefix,
        "/" + path.lstrip("/"),
        dict(parse_qsl(query, keep_blank_values=True)),
        headers,
        body,
        batched=True,
    )


def _binary(text: str, kind: str) -> bytes:
    """A body that is no JSON comes in base64; MIME is base64 anyway and stays so."""
    if kind.partition(";")[0].strip().lower() == "text/plain":
        return text.encode()
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise bad_request("The body of a request is not valid base64.") from None


def shown(key: str, reply: Reply) -> dict[str, Any]:
    """An answer as it stands in the batch's; bytes are base64."""
    if reply.dropped:
        error = {"code": "GatewayTimeout", "message": "The answer got lost."}
        return {"id": key, "status": 504, "body": {"error": error}}
    found: dict[str, Any] = {"id": key, "status": reply.status, "headers": dict(reply.headers)}
    if reply.body:
        found["headers"]["Content-Type"] = reply.content_type
        is_json = "json" in reply.content_type
        found["body"] = (
            msgspec.Raw(reply.body) if is_json else base64.b64encode(reply.body).decode()
        )
    return found
