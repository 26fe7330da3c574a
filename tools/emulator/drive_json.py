"""
Drives and their items as Graph writes them in JSON.
"""

import mimetypes
from typing import Any
from urllib.parse import quote

from tools.emulator import naming, odata
from tools.emulator.call import Call
from tools.emulator.clock import iso
from tools.emulator.downloads import download_url, web_root
from tools.emulator.drive import Drive, Item
from tools.emulator.tenant import User

_QUOTA = 1 << 40


def _identity(call: Call, key: str) -> dict[str, Any]:
    user = call.tenant.users.get(key)
    if user is None:
        return {"user": {"displayName": "System Account"}}
    name = user.profile.get("displayName", user.upn)
    return {"user": {"email": user.upn, "id": user.key, "displayName": name}}


def drive_json(call: Call, user: User, drive: Drive) -> dict[str, Any]:
    """A drive with its quota."""
    used = drive.root.size()
    return {
        "id": drive.key,
        "name": "OneDrive",
        "description": "",
        "driveType": "business",
        "webUrl": web_root(call, user) + "/Documents",
        "createdDateTime": iso(drive.created),
        "lastModifiedDateTime": iso(drive.root.modified),
        "createdBy": {"user": {"displayName": "System Account"}},
        "owner": _identity(call, user.key),
        "quota": {
            "deleted": 0,
            "remaining": _QUOTA - used,
            "state": "normal",
            "total": _QUOTA,
            "used": used,
        },
    }


def item_json(
    call: Call, drive: Drive, item: Item, *, with_path: bool, select: list[str] | None = None
) -> dict[str, Any]:
    """A drive item; delta answers leave the path out, as the service does."""
    tag = naming.guid(call.tenant.seed, drive.key, item.key).upper()
    user = call.tenant.users[drive.owner]
    body: dict[str, Any] = {
        "id": item.key,
        "name": item.name,
        "createdDateTime": iso(item.created),
        "lastModifiedDateTime": iso(item.modified),
        "eTag": f'"{{{tag}}},{item.version}"',
        "cTag": f'"c:{{{tag}}},{item.content_version}"',
        "size": item.size(),
        "webUrl": f"{web_root(call, user)}/Documents/{quote(item.path)}".rstrip("/"),
        "createdBy": _identity(call, drive.owner),
        "lastModifiedBy": _identity(call, item.editor),
        "fileSystemInfo": {
            "createdDateTime": iso(item.created),
            "lastModifiedDateTime": iso(item.modified),
        },
        "parentReference": _parent(drive, item, with_path=with_path),
    }
    if item.content is None:
        body["folder"] = {"childCount": len(item.children)}
    else:
        kind = mimetypes.guess_type(item.name)[0] or "application/octet-stream"
        body["file"] = {"mimeType": kind, "hashes": {"quickXorHash": item.content.quick_xor}}
        if select is None or "@microsoft.graph.downloadurl" in select:
            body["@microsoft.graph.downloadUrl"] = download_url(call, drive, item, paid=False)
    if item.parent is None:
        body["root"] = {}
    if item.special:
        body["specialFolder"] = {"name": item.special}
    if item.shared:
        body["shared"] = {"scope": "users"}
    return odata.pick(body, select)


def _parent(drive: Drive, item: Item, *, with_path: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "driveType": "business",
        "driveId": drive.key,
        "siteId": drive.site,
    }
    if item.parent is not None:
        body["id"] = item.parent.key
        if item.parent.parent is not None:
            body["name"] = item.parent.name
        if with_path:
            path = quote(item.parent.path)
            body["path"] = f"/drives/{drive.key}/root:" + (f"/{path}" if path else "")
    return body
