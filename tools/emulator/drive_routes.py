"""
OneDrive: drives, items, content by pre-authenticated URLs, and change tracking.
"""

import asyncio
import dataclasses
import re
from datetime import UTC, datetime
from typing import Any

from tools.emulator import delta, naming, odata
from tools.emulator.call import Call
from tools.emulator.changelog import Change
from tools.emulator.clock import iso
from tools.emulator.downloads import download_url
from tools.emulator.drive import Drive, Item
from tools.emulator.drive_json import drive_json, item_json
from tools.emulator.errors import GraphError, no_file
from tools.emulator.paging import list_page
from tools.emulator.reply import Reply, json_reply
from tools.emulator.route import Route
from tools.emulator.tenant import User

PAGE_DEFAULT = 200
PAGE_MAX = 1000
LATEST = "latest"
_TOKEN_IN_PATH = re.compile(r"\((?:token=[^)]*)?\)$", re.I)


def owner(call: Call) -> User:
    """The user whose drive the path names."""
    if "user" in call.params:
        return call.user()
    found = call.tenant.drive_owner(call.params["drive"])
    if found is None:
        raise no_file()
    return found


def _drive(call: Call) -> Drive:
    user = owner(call)
    if user.drive is None:
        raise GraphError(404, "ResourceNotFound", "User's mysite not found.")
    call.services.faults.check_owner("files", user.key)
    return user.drive


def _item(call: Call, drive: Drive) -> Item:
    key = call.params.get("item", "root")
    if key.startswith(":"):
        return drive.find(key[1:])
    base, colon, path = key.partition(":/")
    item = drive.item(base)
    for name in filter(None, path.split("/")) if colon else ():
        child = item.children.get(name.lower())
        if child is None:
            raise no_file()
        item = child
    return item


# drives and items


async def get_drive(call: Call) -> Reply:
    """GET /drives/{drive} and /users/{user}/drive"""
    drive = _drive(call)
    body = await asyncio.to_thread(drive_json, call, owner(call), drive)
    body = odata.pick(body, odata.selection(call.query))
    return json_reply({"@odata.context": call.context("drives/$entity")} | body)


async def list_drives(call: Call) -> Reply:
    """GET /users/{user}/drives"""
    drive, user = _drive(call), owner(call)
    select = odata.selection(call.query)
    body = await asyncio.to_thread(drive_json, call, user, drive)
    return json_reply(list_page(call, [body], lambda b: odata.pick(b, select), "drives", 100))


async def get_item(call: Call) -> Reply:
    """GET .../items/{item}, .../root and .../root:/path:"""
    drive = _drive(call)
    item = _item(call, drive)
    call.services.faults.check_item(item.key)
    select = odata.selection(call.query)
    body = await asyncio.to_thread(item_json, call, drive, item, with_path=True, select=select)
    return json_reply({"@odata.context": call.context("driveItems/$entity")} | body)


async def list_children(call: Call) -> Reply:
    """GET .../items/{item}/children"""
    drive = _drive(call)
    rows = sorted(_item(call, drive).children.values(), key=lambda i: i.name.lower())
    select = odata.selection(call.query)
    size = odata.whole(call.query, "top", PAGE_DEFAULT, PAGE_MAX)

    def render(item: Item) -> dict[str, Any]:
        return item_json(call, drive, item, with_path=True, select=select)

    body = await asyncio.to_thread(list_page, call, rows, render, "driveItems", size)
    return json_reply(body)


# content


async def item_content(call: Call) -> Reply:
    """GET .../items/{item}/content: 302 to a pre-authenticated URL"""
    drive = _drive(call)
    item = _item(call, drive)
    call.services.faults.check_item(item.key, content=True)
    if item.content is None:
        raise GraphError(400, "invalidRequest", "A folder has no content.")
    return Reply(302, headers={"Location": download_url(call, drive, item, paid=True)})


# change tracking


async def drive_delta(call: Call) -> Reply:
    """GET .../root/delta"""
    drive = _drive(call)
    plain = _TOKEN_IN_PATH.sub("", call.path)  # links carry the token as an option
    call.request = dataclasses.replace(call.request, path=plain)
    now = _round(call, drive)
    size = now.asked["size"]
    page, token, done = delta.step(call, drive.log, drive.generations, now, size)
    value = await asyncio.to_thread(_entries, call, drive, page, now)
    body: dict[str, Any] = {"@odata.context": call.context("driveItems"), "value": value}
    body["@odata.deltaLink" if done else "@odata.nextLink"] = call.link({"token": token})
    return json_reply(body)


def _round(call: Call, drive: Drive) -> delta.Round:
    token = odata.option(call.query, "token") or call.params.get("token")
    asked = {
        "select": odata.selection(call.query),
        "size": odata.whole(call.query, "top", PAGE_DEFAULT, PAGE_MAX),
    }
    if not token:
        return delta.begin(call, drive.log, drive.generations, drive.key, asked)
    since = drive.log.head if token == LATEST else _sequence_at(drive, token)
    if since is not None:
        return delta.begin(call, drive.log, drive.generations, drive.key, asked, cursor=since)
    if len(call.query) > 1:
        call.breach("link-altered", call.template)
    try:
        return delta.resume(call, drive.generations, drive.key, token)
    except delta.DeadState as dead:
        fresh = delta.begin(call, drive.log, drive.generations, drive.key, asked)
        location = call.link({"token": delta.seal_start(call, fresh)})
        text = "Resync required. Replace any local items with the server's version."
        raise GraphError(
            410, "resyncChangesApplyDifferences", text, {"Location": location}
        ) from dead


def _sequence_at(drive: Drive, token: str) -> int | None:
    """Where a time stamp given as a token stands in the log; None when it is no time stamp."""
    try:
        moment = datetime.fromisoformat(token)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return drive.log.sequence_at(aware.timestamp())


def _entries(
    call: Call, drive: Drive, page: list[Change[str]], now: delta.Round
) -> list[dict[str, Any]]:
    """The page's items; in later rounds the parents of what changed come before it."""
    rows: dict[str, dict[str, Any]] = {}
    parents = not now.first and "deltaexcludeparent" not in call.prefer
    for change in page:
        item = drive.get(change.key)
        if item is None:
            rows[change.key] = {
                "id": change.key,
                "deleted": {"state": "deleted"},
                "parentReference": {"driveId": drive.key, "driveType": "business"},
            }
            continue
        chain = [item]
        while parents and (above := chain[-1].parent) is not None:
            chain.append(above)
        for member in reversed(chain):
            if member.key not in rows:
                rows[member.key] = item_json(
                    call, drive, member, with_path=False, select=now.asked["select"]
                )
    return list(rows.values())


async def site_root(call: Call) -> Reply:
    """GET /sites/root"""
    tenant = call.tenant
    host = f"{tenant.slug}.sharepoint.com"
    body = {
        "@odata.context": call.context("sites/$entity"),
        "id": f"{host},{naming.guid(tenant.seed, 'root site')},{naming.guid(tenant.seed, 'web')}",
        "displayName": tenant.name,
        "name": "",
        "webUrl": f"https://{host}",
        "root": {},
        "siteCollection": {"hostname": host},
        "createdDateTime": iso(1_500_000_000),
    }
    return json_reply(odata.pick(body, odata.selection(call.query)))


_FILES = ("Files.Read.All", "Files.ReadWrite.All", "Sites.Read.All", "Sites.ReadWrite.All")
_SITES = ("Sites.Read.All", "Sites.ReadWrite.All", "Sites.FullControl.All")


def _routes() -> list[Route]:
    routes = [
        Route("/sites/root", site_root, "files", _SITES),
        Route("/users/{user}/drives", list_drives, "files", _FILES, 2),
    ]
    for drive in ("/drives/{drive}", "/users/{user}/drive"):
        item = drive + "/items/{item}"
        routes += [
            Route(drive, get_drive, "files", _FILES),
            Route(drive + "/root", get_item, "files", _FILES),
            Route(drive + "/root/delta", drive_delta, "files", _FILES, 2),
            Route(drive + "/items/root/delta", drive_delta, "files", _FILES, 2),
            Route(drive + "/root/children", list_children, "files", _FILES, 2),
            Route(item, get_item, "files", _FILES),
            Route(item + "/children", list_children, "files", _FILES, 2),
            Route(item + "/content", item_content, "files", _FILES),
        ]
    return routes


ROUTES = _routes()
