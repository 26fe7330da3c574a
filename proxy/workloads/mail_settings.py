"""
What belongs to a mailbox and lies in no folder: its settings, inbox rules, colours of categories, and whose mail is focused.

They are parts of the row of the inbox, where the service has the rules, written anew only when one of them changed. It costs
one round trip a session; an application without the right to read them keeps the mail all the same (graph-lessons 28).

Source: Graph pages "user: mailboxSettings", "List rules", "List masterCategories", "List overrides" (2026).
"""

from dataclasses import replace

from engine.catalog import Row
from engine.parts import Part
from proxy.graph.client import GraphClient
from proxy.graph.errors import GraphError, GraphServiceMissing
from proxy.pipeline.outcome import skipped
from proxy.workloads.mailbox_calls import MailboxCalls
from proxy.workloads.members import decode_members, encode_members, without
from proxy.workloads.protocol import Shelf

__all__ = ["read_settings"]

PLACES = {
    "settings": "/mailboxSettings",
    "rules": "/mailFolders/inbox/messageRules",
    "categories": "/outlook/masterCategories",
    "overrides": "/inferenceClassification/overrides",
}
LEFT_OUT = ("@odata.context", "@odata.etag")


async def read_settings(client: GraphClient, user: str, shelf: Shelf, inbox: Row) -> Row | None:
    """
    The row of the inbox with the settings as they are now; None if nothing changed.

    Raises:
        GraphServiceMissing: there is no mailbox.
    """
    calls = MailboxCalls(client, user)
    asked = [calls.page_call("Read the settings of a mailbox", below) for below in PLACES.values()]
    found: dict[str, bytes] = {}
    unread: list[GraphError] = []
    for (role, below), answer in zip(PLACES.items(), await client.batch(asked), strict=True):
        if isinstance(answer, GraphServiceMissing):
            raise answer
        if isinstance(answer, GraphError):
            unread.append(answer)
            continue
        members = without(decode_members(answer), LEFT_OUT)
        if "@odata.nextLink" in members:
            whole = calls.page_call("Read the settings of a mailbox", below)
            members = decode_members(_listing(await calls.all(whole)))
        found[role] = encode_members(members)
    if unread:
        shelf.note(skipped("settings", "", "settings-unreadable", unread[0].message))
    stored = {part.role: part for part in inbox.parts}
    parts = {role: await shelf.store(role, data) for role, data in found.items()}
    if all(_chunks(part) == _chunks(stored.get(role)) for role, part in parts.items()):
        return None
    kept = {**stored, **parts}  # what could not be read this time stays
    return replace(inbox, parts=tuple(kept[role] for role in PLACES if role in kept))


def _chunks(part: Part | None) -> bytes | None:
    return None if part is None else part.chunks


def _listing(entries: list[bytes]) -> bytes:
    return b'{"value":[' + b",".join(entries) + b"]}"
