"""
Server-driven paging of listings: opaque next links that are bound to their query.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tools.emulator import odata
from tools.emulator.call import Call
from tools.emulator.errors import bad_token
from tools.emulator.sealing import BrokenSeal

T = TypeVar("T")
SKIP_TOKEN = "$skiptoken"  # noqa: S105 - the name of a query option


def open_token(call: Call, purpose: str, token: str) -> dict[str, Any]:
    """What a token of ours holds; an altered one is a breach and a 400."""
    try:
        return call.services.sealer.open(purpose, token)
    except BrokenSeal:
        call.breach("link-altered", call.template)
        raise bad_token() from None


def _without_token(query: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in query.items() if k.lower().removeprefix("$") != "skiptoken"}


def offset(call: Call) -> int:
    """Where the asked page of a listing begins."""
    token = odata.option(call.query, "skiptoken")
    if token is None:
        skip = odata.option(call.query, "skip") or "0"
        return int(skip) if skip.isascii() and skip.isdigit() and len(skip) < 10 else 0
    state = open_token(call, "list", token)
    if state["path"] != call.path.lower() or state["query"] != _without_token(call.query):
        call.breach("link-altered", call.template)
        raise bad_token()
    return int(state["offset"])


def list_page(
    call: Call,
    rows: Sequence[T],
    render: Callable[[T], dict[str, Any]],
    entity: str,
    size: int,
) -> dict[str, Any]:
    """One page of `rows` from where the call's token says, at most `size` long."""
    start = offset(call)
    body: dict[str, Any] = {"@odata.context": call.context(entity)}
    if (odata.option(call.query, "count") or "").lower() == "true":
        body["@odata.count"] = len(rows)
    body["value"] = [render(row) for row in rows[start : start + size]]
    if start + size < len(rows):
        query = _without_token(call.query)
        state = {"path": call.path.lower(), "query": query, "offset": start + size}
        token = call.services.sealer.seal("list", state)
        body["@odata.nextLink"] = call.link(query | {SKIP_TOKEN: token})
    return body
