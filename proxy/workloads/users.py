"""Protected objects of an organization: its users."""

import msgspec

from proxy.contract import ItemOutcome, ObjectRef
from proxy.graph.budget import DIRECTORY
from proxy.graph.client import Call, GraphClient, segment
from proxy.graph.errors import GraphNotFound
from proxy.graph.paging import decode_as
from proxy.pipeline.outcome import failed

__all__ = ["discover_users"]

MEMBERS = "id,userPrincipalName,displayName,userType"
PAGE_ITEMS = 999


class _User(msgspec.Struct, rename="camel"):
    id: str
    user_principal_name: str | None = None
    display_name: str | None = None
    user_type: str | None = None


_DECODER = msgspec.json.Decoder(_User)


async def discover_users(
    client: GraphClient, wanted: list[str]
) -> tuple[list[ObjectRef], list[ItemOutcome]]:
    """
    Users to protect, and the names among `wanted` that nobody has.

    Args:
        wanted: ids or principal names; empty: everybody but guests, who have no data here.

    Disabled accounts are in: shared mailboxes and people who left have one.
    """
    if wanted:
        return await _named(client, wanted)
    url = client.url("/users", {"$select": MEMBERS, "$top": str(PAGE_ITEMS)})
    call = Call(url, DIRECTORY, "List users")
    found = []
    async for page in client.pages(call):
        users = [decode_as(_DECODER, raw) for raw in page.items]
        found += [_reference(user) for user in users if (user.user_type or "") != "Guest"]
    return found, []


async def _named(
    client: GraphClient, wanted: list[str]
) -> tuple[list[ObjectRef], list[ItemOutcome]]:
    found: dict[str, ObjectRef] = {}
    missing: list[ItemOutcome] = []
    for name in wanted:
        url = client.url(f"/users/{segment(name)}", {"$select": MEMBERS})
        try:
            body = await client.get_bytes(Call(url, DIRECTORY, "Look up a user"), 1 << 20)
        except GraphNotFound as error:
            missing.append(failed(name, name, error))
            continue
        user = _reference(decode_as(_DECODER, body))
        found[user.id] = user
    return list(found.values()), missing


def _reference(user: _User) -> ObjectRef:
    return ObjectRef("user", user.id, user.user_principal_name or user.id, user.display_name or "")
