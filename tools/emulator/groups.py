"""
Groups of the directory, and what it answers about them: listing, members, members of members.
"""

import dataclasses
from typing import Any

from tools.emulator import naming, odata
from tools.emulator.call import Call
from tools.emulator.errors import no_user
from tools.emulator.paging import list_page
from tools.emulator.reply import Reply, json_reply
from tools.emulator.route import Route
from tools.emulator.tenant import Tenant, User
from tools.emulator.user_routes import user_json


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """A group; `members` are ids of users and groups."""

    key: str
    name: str
    mail: str
    members: tuple[str, ...]


def add_group(tenant: Tenant, name: str, members: list[str]) -> Group:
    """Make a group of users (ids or principal names) and groups (names)."""
    keys = []
    for member in members:
        group = next((g for g in tenant.groups.values() if g.name == member), None)
        keys.append(group.key if group else tenant.user(member).key)
    key = naming.guid(tenant.seed, "group", tenant.slug, name)
    mail = f"{name.lower().replace(' ', '-')}@{tenant.domain}"
    made = tenant.groups[key] = Group(key, name, mail, tuple(keys))
    return made


def _json(group: Group) -> dict[str, Any]:
    return {
        "id": group.key,
        "displayName": group.name,
        "mail": group.mail,
        "mailEnabled": True,
        "securityEnabled": False,
        "groupTypes": ["Unified"],
    }


def _group(call: Call) -> Group:
    found: Group | None = call.tenant.groups.get(call.params["group"].lower())
    if found is None:
        raise no_user(call.params["group"])
    return found


async def list_groups(call: Call) -> Reply:
    """GET /groups"""
    rows = [_json(group) for group in call.tenant.groups.values()]
    if text := odata.option(call.query, "filter"):
        rows = [row for row in rows if odata.matches(row, text)]
    select = odata.selection(call.query)
    size = odata.whole(call.query, "top", 100, 999)
    return json_reply(list_page(call, rows, lambda r: odata.pick(r, select), "groups", size))


async def get_group(call: Call) -> Reply:
    """GET /groups/{group}"""
    body = odata.pick(_json(_group(call)), odata.selection(call.query))
    return json_reply({"@odata.context": call.context("groups/$entity")} | body)


async def list_members(call: Call) -> Reply:
    """GET /groups/{group}/members and transitiveMembers"""
    found = _members(call.tenant, _group(call), call.template.endswith("transitiveMembers"))
    select = odata.selection(call.query)

    def render(one: User | Group) -> dict[str, Any]:
        if isinstance(one, Group):
            return {"@odata.type": "#microsoft.graph.group"} | odata.pick(_json(one), select)
        return {"@odata.type": "#microsoft.graph.user"} | user_json(one, select)

    size = odata.whole(call.query, "top", 100, 999)
    return json_reply(list_page(call, found, render, "directoryObjects", size))


def _members(tenant: Tenant, group: Group, nested: bool) -> list[User | Group]:
    found: dict[str, User | Group] = {}
    waiting = list(group.members)
    while waiting:
        key = waiting.pop(0)
        one = tenant.groups.get(key) or tenant.users.get(key)
        if one is None or key in found:
            continue
        found[key] = one
        if nested and isinstance(one, Group):
            waiting += one.members
    return list(found.values())


_MEMBERS = ("GroupMember.Read.All", "Group.Read.All", "Directory.Read.All")

ROUTES = [
    Route("/groups", list_groups, "identity", _MEMBERS),
    Route("/groups/{group}", get_group, "identity", _MEMBERS),
    Route("/groups/{group}/members", list_members, "identity", _MEMBERS),
    Route("/groups/{group}/transitiveMembers", list_members, "identity", _MEMBERS),
]
