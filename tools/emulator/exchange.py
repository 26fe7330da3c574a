"""
What all calls on Exchange share: preferences, page sizes, and rounds of change tracking.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from tools.emulator import delta, extended, odata
from tools.emulator.call import Call
from tools.emulator.changelog import ChangeLog, Generations
from tools.emulator.clock import iso
from tools.emulator.errors import GraphError
from tools.emulator.paging import list_page
from tools.emulator.reply import Reply, json_reply

PAGE_DEFAULT = 10
PAGE_MAX = 1000
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Feed:
    """One collection whose changes are tracked; tokens are bound to `name`."""

    name: str
    log: ChangeLog[str]
    generations: Generations


def wants_immutable(call: Call) -> bool:
    """True when the client asked for immutable ids."""
    return call.prefer.get("idtype", "").lower() == "immutableid"


def applied(call: Call) -> dict[str, str]:
    """The header that says which preferences were understood; empty without any."""
    prefer = call.prefer
    found = []
    if wants_immutable(call):
        found.append('IdType="ImmutableId"')
    if prefer.get("outlook.body-content-type", "").lower() == "text":
        found.append('outlook.body-content-type="text"')
    if zone := prefer.get("outlook.timezone"):
        found.append(f'outlook.timezone="{zone}"')
    if "odata.maxpagesize" in prefer:
        found.append(f"odata.maxpagesize={odata.page_size(prefer, PAGE_DEFAULT, PAGE_MAX)}")
    return {"Preference-Applied": ", ".join(found)} if found else {}


def page_size(call: Call, default: int = PAGE_DEFAULT) -> int:
    """Entries on a page; `$top` on a listing of Exchange is noted in the ledger."""
    if odata.option(call.query, "top") is not None:
        call.services.ledger.note("top-on-exchange-listing")
    size = odata.whole(call.query, "top", default, PAGE_MAX)
    return odata.page_size(call.prefer, size, PAGE_MAX)


def delta_round(call: Call, feed: Feed, asked: dict[str, Any]) -> delta.Round:
    """Begin or resume a round; Exchange says 410 SyncStateNotFound for a dead state."""
    token = odata.option(call.query, "deltatoken") or odata.option(call.query, "skiptoken")
    if token is None:
        return delta.begin(call, feed.log, feed.generations, feed.name, asked)
    if len(call.query) > 1:
        call.breach("link-altered", call.template)
    try:
        return delta.resume(call, feed.generations, feed.name, token)
    except delta.DeadState as dead:
        text = (
            f"The sync state generation is not found; generation={dead.generation};"
            f"[highest={dead.highest}]."
        )
        raise GraphError(410, "SyncStateNotFound", text) from dead


def delta_body(
    call: Call, entity: str, value: list[dict[str, Any]], token: str, done: bool
) -> dict[str, Any]:
    """A page of a round, with the link to go on."""
    kind, option = ("deltaLink", "$deltatoken") if done else ("nextLink", "$skiptoken")
    return {
        "@odata.context": call.context(entity),
        "value": value,
        f"@odata.{kind}": call.link({option: token}),
    }


def delta_page(
    call: Call,
    feed: Feed,
    entity: str,
    asked: dict[str, Any],
    entries: Callable[[str, delta.Round], Iterable[dict[str, Any]]],
) -> dict[str, Any]:
    """
    One page of a round whose entries are made of changed keys.

    Args:
        asked: what the first call of the round wanted; later calls get the same.
        entries: the entries for one changed key, given the key and the round.
    """
    now = delta_round(call, feed, asked | {"size": page_size(call)})
    size = odata.page_size(call.prefer, now.asked["size"], PAGE_MAX)
    page, token, done = delta.step(call, feed.log, feed.generations, now, size)
    value = [entry for change in page for entry in entries(change.key, now)]
    return delta_body(call, entity, value, token, done)


def removed(key: str) -> dict[str, Any]:
    """The entry of an id that left its collection."""
    return {"id": key, "@removed": {"reason": "deleted"}}


def listing(
    call: Call,
    rows: list[T],
    render: Callable[[T], dict[str, Any]],
    entity: str,
    properties: Callable[[T], Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """
    One page of a listing with `$filter`, `$orderby` and `$select` done on what is rendered.

    `properties` gives the MAPI properties of a row, where rows have such.
    """
    if text := odata.option(call.query, "filter"):
        if properties is not None:
            wanted, text = extended.split_filter(text)
            rows = [row for row in rows if wanted.items() <= properties(row).items()]
        if text:
            rows = [row for row in rows if odata.matches(render(row), text)]
    if text := odata.option(call.query, "orderby"):
        rows = odata.order(rows, text, render)
    select = odata.wanted(call.query)
    size = page_size(call)

    def whole(row: T) -> dict[str, Any]:
        body = render(row)
        if properties is not None:
            body |= expanded(call, properties(row))
        return odata.pick(body, select)

    return list_page(call, rows, whole, entity, size)


def expanded(call: Call, properties: Mapping[str, str]) -> dict[str, Any]:
    """The MAPI properties that `$expand` asks for, as a member of an answer; empty without any."""
    names = extended.expanded(odata.option(call.query, "expand") or "") or []
    found = [{"id": name, "value": properties[name]} for name in names if name in properties]
    return {"singleValueExtendedProperties": found} if found else {}


def one(call: Call, body: dict[str, Any], entity: str) -> Reply:
    """The answer with one object and its context, `$select` and `$expand` done."""
    picked = odata.pick(body, odata.wanted(call.query))
    return json_reply({"@odata.context": call.context(entity)} | picked, headers=applied(call))


def moment(call: Call) -> str:
    """Now, as Graph writes it."""
    return iso(call.now)


def encoded(value: dict[str, Any]) -> bytes:
    """A JSON object as bytes."""
    return msgspec.json.encode(value)
