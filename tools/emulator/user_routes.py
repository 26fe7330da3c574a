"""
The directory: organization and users.
"""

from typing import Any

from tools.emulator import delta, odata
from tools.emulator.call import Call
from tools.emulator.changelog import Change
from tools.emulator.clock import iso
from tools.emulator.errors import GraphError
from tools.emulator.paging import list_page
from tools.emulator.reply import Reply, json_reply
from tools.emulator.route import Route
from tools.emulator.tenant import User

_USUAL = [
    "businessphones", "displayname", "givenname", "jobtitle", "mail", "mobilephone",
    "officelocation", "preferredlanguage", "surname", "userprincipalname",
]  # fmt: skip
_LATEST = "latest"
_TOKEN_LIFE = 7 * 86_400.0  # virtual seconds a directory sync state lives


def user_json(user: User, select: list[str] | None) -> dict[str, Any]:
    """A user with the selected properties, or the usual ones."""
    body = {"id": user.key, "userPrincipalName": user.upn} | user.profile
    return odata.pick(body, _USUAL if select is None else select)


def units(call: Call) -> int:
    """Directory resource units of a users call."""
    listing = call.template.endswith("users") or call.template.endswith("delta")
    cost = 2 if listing else 1
    cost -= odata.option(call.query, "select") is not None
    cost -= odata.whole(call.query, "top", 100, 999) < 20
    return max(1, cost)


async def list_users(call: Call) -> Reply:
    """GET /users"""
    select = odata.selection(call.query)
    rows = list(call.tenant.users.values())
    if text := odata.option(call.query, "filter"):
        rows = [row for row in rows if odata.matches(_whole(row), text)]
    size = odata.whole(call.query, "top", 100, 999)
    return json_reply(list_page(call, rows, lambda u: user_json(u, select), "users", size))


def _whole(user: User) -> dict[str, Any]:
    return {"id": user.key, "userPrincipalName": user.upn} | user.profile


async def get_user(call: Call) -> Reply:
    """GET /users/{user}"""
    body = user_json(call.user(), odata.selection(call.query))
    return json_reply({"@odata.context": call.context("users/$entity")} | body)


async def users_delta(call: Call) -> Reply:
    """GET /users/delta"""
    tenant = call.tenant
    generations, log = tenant.user_generations, tenant.user_log
    token = odata.option(call.query, "deltatoken") or odata.option(call.query, "skiptoken")
    if token is None or token == _LATEST:
        asked = {"select": odata.selection(call.query)}
        cursor = log.head if token else 0
        now = delta.begin(call, log, generations, "users", asked, cursor=cursor)
    else:
        try:
            now = delta.resume(call, generations, "users", token)
            if call.services.clock.now() - now.issued > _TOKEN_LIFE:
                raise delta.DeadState(now.generation, generations.highest)
        except delta.DeadState as dead:
            raise _gone(call) from dead
    page, token, done = delta.step(call, log, generations, now, 100)
    body: dict[str, Any] = {
        "@odata.context": call.context("users"),
        "value": [_entry(call, change, now.asked["select"]) for change in page],
    }
    kind = "$deltatoken" if done else "$skiptoken"
    body["@odata.deltaLink" if done else "@odata.nextLink"] = call.link({kind: token})
    return json_reply(body)


def _entry(call: Call, change: Change[str], select: list[str] | None) -> dict[str, Any]:
    user = call.tenant.users.get(change.key)
    if user is None:
        return {"id": change.key, "@removed": {"reason": "changed"}}
    return user_json(user, select)


def _gone(call: Call) -> GraphError:
    location = call.link({"$deltatoken": ""})
    text = "Resync required. The sync state is too old."
    return GraphError(410, "SyncStateNotFound", text, {"Location": location})


async def organization(call: Call) -> Reply:
    """GET /organization"""
    tenant = call.tenant
    row = {
        "id": tenant.key,
        "displayName": tenant.name,
        "createdDateTime": iso(1_500_000_000),
        "verifiedDomains": [
            {
                "capabilities": "Email, OfficeCommunicationsOnline",
                "isDefault": True,
                "isInitial": True,
                "name": tenant.domain,
                "type": "Managed",
            }
        ],
    }
    select = odata.selection(call.query)
    return json_reply(list_page(call, [row], lambda r: odata.pick(r, select), "organization", 100))


_READ = ("User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All")
_BASIC = ("User.ReadBasic.All", *_READ)
_ORGANIZATION = ("Organization.Read.All", "Organization.ReadWrite.All", *_READ)

ROUTES = [
    Route("/organization", organization, "identity", _ORGANIZATION),
    Route("/users", list_users, "identity", _BASIC),
    Route("/users/delta", users_delta, "identity", _READ),
    Route("/users/{user}", get_user, "identity", _BASIC),
]
