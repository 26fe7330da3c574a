"""Protected objects of an organization: its users, by name, group, filter, or all of them."""

import re
from collections.abc import AsyncIterator, Mapping

import msgspec

from proxy.contract import ItemOutcome, ObjectRef, Selection
from proxy.graph.budget import DIRECTORY
from proxy.graph.client import Call, GraphClient, segment
from proxy.graph.errors import GraphNotFound
from proxy.graph.paging import decode_as
from proxy.pipeline.outcome import failed

__all__ = ["discover_users"]

MEMBERS = "id,userPrincipalName,displayName,userType"
PAGE_ITEMS = 999
GROUPS_OF_A_NAME_MAX = 20
GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# Filters other than equality, and lists cast to one type, are "advanced queries" of the directory.
ADVANCED = (("ConsistencyLevel", "eventual"),)


class _User(msgspec.Struct, rename="camel"):
    id: str
    user_principal_name: str | None = None
    display_name: str | None = None
    user_type: str | None = None
    odata_type: str = msgspec.field(default="#microsoft.graph.user", name="@odata.type")


class _Group(msgspec.Struct):
    id: str


_USER = msgspec.json.Decoder(_User)
_GROUP = msgspec.json.Decoder(_Group)


async def discover_users(
    client: GraphClient, wanted: list[str], selection: Selection | None = None
) -> tuple[list[ObjectRef], list[ItemOutcome]]:
    """
    Users to protect, and the names of users and groups that nobody has.

    Args:
        wanted: ids or principal names of users.
        selection: groups and a filter that name further ones, and who is left out.

    Nothing wanted: everybody but guests, who have no data here. Disabled accounts are in: shared mailboxes and people who
    left have one.

    Raises:
        GraphError: the directory cannot be read, or refuses the filter.
    """
    search = _Search(client)
    chosen = selection or Selection()
    for name in wanted:
        await search.named(name)
    for name in chosen.groups:
        await search.group(name)
    if chosen.filter or not (wanted or chosen.groups):
        await search.listed(chosen.filter)
    out = {name.casefold() for name in chosen.without_users}
    found = [u for u in search.found.values() if not {u.id.casefold(), u.name.casefold()} & out]
    return found, search.missing


class _Search:
    def __init__(self, client: GraphClient) -> None:
        self.found: dict[str, ObjectRef] = {}
        self.missing: list[ItemOutcome] = []
        self._client = client

    async def named(self, name: str) -> None:
        url = self._client.url(f"/users/{segment(name)}", {"$select": MEMBERS})
        try:
            body = await self._client.get_bytes(Call(url, DIRECTORY, "Look up a user"), 1 << 20)
        except GraphNotFound as error:
            self.missing.append(failed(name, name, error))
        else:
            self._take(decode_as(_USER, body))

    async def listed(self, filter: str) -> None:
        query = {"$select": MEMBERS, "$top": str(PAGE_ITEMS)}
        if filter:
            query |= {"$filter": filter, "$count": "true"}
        await self._people("/users", query, advanced=bool(filter))

    async def group(self, name: str) -> None:
        try:
            for group in await self._groups(name):
                path = f"/groups/{segment(group)}/transitiveMembers"
                await self._people(path, {"$select": MEMBERS, "$top": str(PAGE_ITEMS)})
        except GraphNotFound as error:
            self.missing.append(failed(name, name, error))

    async def _groups(self, name: str) -> list[str]:
        if GUID.fullmatch(name):
            return [name]
        text = name.replace("'", "''")
        condition = f"{'mail' if '@' in name else 'displayName'} eq '{text}'"
        query = {"$select": "id", "$filter": condition, "$top": str(GROUPS_OF_A_NAME_MAX)}
        found = [decode_as(_GROUP, raw).id async for raw in self._entries("/groups", query)]
        if not found:
            raise GraphNotFound("There is no group of this name.", code="graph-object-missing")
        return found

    async def _people(self, path: str, query: Mapping[str, str], *, advanced: bool = False) -> None:
        async for raw in self._entries(path, query, advanced=advanced):
            user = decode_as(_USER, raw)
            if user.odata_type == "#microsoft.graph.user" and user.user_type != "Guest":
                self._take(user)

    async def _entries(
        self, path: str, query: Mapping[str, str], *, advanced: bool = False
    ) -> AsyncIterator[msgspec.Raw]:
        headers = ADVANCED if advanced else ()
        call = Call(self._client.url(path, query), DIRECTORY, "List users", headers=headers)
        async for page in self._client.pages(call):
            for raw in page.items:
                yield raw

    def _take(self, user: _User) -> None:
        name = user.user_principal_name or user.id
        self.found[user.id] = ObjectRef("user", user.id, name, user.display_name or "")
