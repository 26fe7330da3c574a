"""
A call under the rules of the fault script: what happens before it, instead of it, and to its
answer.
"""

import asyncio
import hashlib
import random
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from tools.emulator.call import Request, Services
from tools.emulator.clock import iso
from tools.emulator.errors import GraphError
from tools.emulator.fault_script import Do, Event, PageEdit
from tools.emulator.reply import Reply, json_reply

_HTML = b"<html><body><h2>Service Unavailable</h2><hr><p>HTTP Error 503.</p></body></html>"


async def staged(
    services: Services, event: Event, url: str, handle: Callable[[], Awaitable[Reply]]
) -> Reply:
    """Answer the call of `url` with `handle`, unless the script says otherwise."""
    if event.fingerprint in services.ledger.lost:
        services.ledger.breach("duplicate-create", "/".join(event.segments), services.clock.now())
    do = services.script.take(event)
    if do is None:
        return await handle()
    for step in do.control:
        arguments = dict(step)
        services.control(arguments.pop("call"), arguments)
    await asyncio.sleep(do.delay_s)
    replaced = do.status is not None or do.then == "drop"
    done: Reply | None = None
    if do.commit or not replaced:
        done = await handle()
    if do.then == "drop":
        if done is not None and done.status in (200, 201):
            services.ledger.lost.update({event.fingerprint} - {""})
        return Reply(done.status if done else 0, dropped=True)
    if do.status is not None:
        return _instead(services, do)
    assert done is not None
    return _edited(done, do, url)


def fingerprint(request: Request, owner: str, name: str) -> str:
    """What tells a create from others: sent again after a lost answer, it makes a double."""
    if request.method != "POST":
        return ""
    digest = hashlib.blake2b(request.body, digest_size=16).hexdigest()
    return f"{owner} {name} {digest}"


def _instead(services: Services, do: Do) -> Reply:
    assert do.status is not None
    if do.body == "json":
        error = GraphError(do.status, do.code, do.message, do.headers, do.inner)
        return error_reply(services, error, {})
    content, kind = {
        "html": (_HTML, "text/html"),
        "text": (b"The service is unavailable.", "text/plain"),
        "empty": (b"", "text/plain"),
    }[do.body]
    return Reply(do.status, content, kind, dict(do.headers))


def _edited(reply: Reply, do: Do, url: str) -> Reply:
    if do.truncate_at is not None:
        reply.cut = do.truncate_at
    reply.drip_s, reply.chunked = do.drip_s, do.chunked
    if do.page is not None and reply.status == 200:
        page = _edited_page(msgspec.json.decode(reply.body), do.page, url)
        reply.body = msgspec.json.encode(page)
    if do.corrupt and reply.body:
        middle = len(reply.body) // 2
        changed = bytes([reply.body[middle] ^ 1])
        reply.body = reply.body[:middle] + changed + reply.body[middle + 1 :]
    return reply


def _edited_page(body: dict[str, Any], edit: PageEdit, url: str) -> dict[str, Any]:
    """A page as the service at times gives it."""
    rows = body["value"]
    if edit == "duplicate_items":
        body["value"] = rows + rows[:3]
    elif edit == "reorder":
        random.Random(len(rows)).shuffle(rows)
    elif edit == "drop_tombstone":
        body["value"] = [row for row in rows if "@removed" not in row and "deleted" not in row]
    elif edit == "empty_page":  # the rows come with the next page
        body.pop("@odata.deltaLink", None)
        body |= {"value": [], "@odata.nextLink": url}
    elif edit == "repeat_nextlink":
        body["@odata.nextLink"] = url
    return body


def error_reply(services: Services, error: GraphError, headers: Mapping[str, str]) -> Reply:
    """The OData error envelope."""
    request = str(uuid.uuid4())
    inner: dict[str, Any] = {
        **error.inner,
        "date": iso(services.clock.now()).rstrip("Z"),
        "request-id": request,
        "client-request-id": headers.get("client-request-id", request),
    }
    body = {"error": {"code": error.code, "message": error.message, "innerError": inner}}
    return json_reply(body, error.status, error.headers | {"request-id": request})
