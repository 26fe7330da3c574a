"""
From a raw request path to a route: the ways in which Graph lets one call be written.

Double slashes collapse; segments match whatever their case; `users('id')` is `users/id`;
`microsoft.graph.delta` and `delta()` are `delta`; `root:/a/b:/children` names an item by its path.
"""

import re
from urllib.parse import unquote

from tools.emulator import (
    calendar_routes,
    contact_routes,
    drive_routes,
    mail_routes,
    task_routes,
    user_routes,
)
from tools.emulator.route import Route

_DELTA_FORM = re.compile(r"^(?:microsoft\.graph\.)?delta\(token='(.*)'\)$", re.I | re.S)
_KEY_FORM = re.compile(r"^([A-Za-z.]+)\('(.*)'\)$", re.S)
_USERS = ("User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All")
_BASIC = ("User.ReadBasic.All", *_USERS)
_MAIL = ("Mail.Read", "Mail.ReadWrite")
_MAIL_BASIC = ("Mail.ReadBasic.All", "Mail.ReadBasic", *_MAIL)
_FILES = ("Files.Read.All", "Files.ReadWrite.All", "Sites.Read.All", "Sites.ReadWrite.All")
_ORG = ("Organization.Read.All", "Organization.ReadWrite.All", *_USERS)
_SITES = ("Sites.Read.All", "Sites.ReadWrite.All", "Sites.FullControl.All")


def _mail() -> list[Route]:
    user = "/users/{user}"
    folder = user + "/mailFolders/{folder}"
    routes = [
        Route(user + "/mailFolders", mail_routes.list_folders, "mail", _MAIL_BASIC),
        Route(user + "/mailFolders/delta", mail_routes.folders_delta, "mail", _MAIL_BASIC),
        Route(folder, mail_routes.get_folder, "mail", _MAIL_BASIC),
        Route(folder + "/childFolders", mail_routes.list_folders, "mail", _MAIL_BASIC),
        Route(folder + "/messages", mail_routes.list_messages, "mail", _MAIL_BASIC),
        Route(folder + "/messages/delta", mail_routes.messages_delta, "mail", _MAIL_BASIC),
        Route(user + "/messages", mail_routes.list_messages, "mail", _MAIL_BASIC),
    ]
    for above in (user, folder):
        one = above + "/messages/{message}"
        many = one + "/attachments"
        routes += [
            Route(one, mail_routes.get_message, "mail", _MAIL),
            Route(one + "/$value", mail_routes.message_mime, "mail", _MAIL),
            Route(many, mail_routes.list_attachments, "mail", _MAIL),
            Route(many + "/{attachment}", mail_routes.get_attachment, "mail", _MAIL),
            Route(many + "/{attachment}/$value", mail_routes.attachment_content, "mail", _MAIL),
        ]
    return routes


def _files() -> list[Route]:
    routes = [Route("/users/{user}/drives", drive_routes.list_drives, "files", _FILES, 2)]
    for drive in ("/drives/{drive}", "/users/{user}/drive"):
        item = drive + "/items/{item}"
        routes += [
            Route(drive, drive_routes.get_drive, "files", _FILES),
            Route(drive + "/root", drive_routes.get_item, "files", _FILES),
            Route(drive + "/root/delta", drive_routes.drive_delta, "files", _FILES, 2),
            Route(drive + "/items/root/delta", drive_routes.drive_delta, "files", _FILES, 2),
            Route(drive + "/root/children", drive_routes.list_children, "files", _FILES, 2),
            Route(item, drive_routes.get_item, "files", _FILES),
            Route(item + "/children", drive_routes.list_children, "files", _FILES, 2),
            Route(item + "/content", drive_routes.item_content, "files", _FILES),
        ]
    return routes


ROUTES = [
    Route("/organization", user_routes.organization, "identity", _ORG),
    Route("/users", user_routes.list_users, "identity", _BASIC),
    Route("/users/delta", user_routes.users_delta, "identity", _USERS),
    Route("/users/{user}", user_routes.get_user, "identity", _BASIC),
    Route("/sites/root", drive_routes.site_root, "files", _SITES),
    *_mail(),
    *_files(),
    *calendar_routes.ROUTES,
    *contact_routes.ROUTES,
    *task_routes.ROUTES,
]


def _literals(route: Route) -> int:
    return sum(not segment.startswith("{") for segment in route.segments)


# the most literal template wins: `/users/delta` before `/users/{user}`
_BY_LENGTH: dict[int, list[Route]] = {}
for _route in sorted(ROUTES, key=_literals, reverse=True):
    _BY_LENGTH.setdefault(len(_route.segments), []).append(_route)


def find(path: str) -> tuple[Route, dict[str, str]] | None:
    """The route of a path behind the version prefix, with its placeholders; None when unknown."""
    segments, named = _segments(path)
    for route in _BY_LENGTH.get(len(segments), ()):
        params = _match(route.segments, segments)
        if params is not None:
            return route, params | named
    return None


def _match(template: tuple[str, ...], segments: list[str]) -> dict[str, str] | None:
    params = {}
    for wanted, given in zip(template, segments, strict=True):
        if wanted.startswith("{"):
            params[wanted[1:-1]] = given
        elif wanted.lower() != given.lower():
            return None
    return params


def _segments(path: str) -> tuple[list[str], dict[str, str]]:
    """The decoded segments in their plain spelling, and the argument of `delta(token='x')`."""
    found: list[str] = []
    named: dict[str, str] = {}
    pending = [unquote(raw) for raw in path.split("/") if raw]
    while pending:
        segment = pending.pop(0)
        if segment.endswith(":") and len(segment) > 1 and _addresses_items(found):
            found += _by_path(segment[:-1], pending, found)
            continue
        if match := _DELTA_FORM.match(segment):
            found.append("delta")
            named["token"] = match[1]
            continue
        if match := _KEY_FORM.match(segment):
            found += [match[1], match[2].replace("''", "'")]
            continue
        segment = segment.removesuffix("()")
        found.append(segment.removeprefix("microsoft.graph."))
    return found, named


def _addresses_items(found: list[str]) -> bool:
    """True where `root:` or `{item}:` may stand."""
    return bool(found) and (
        found[0].lower() == "drives" or (len(found) > 2 and found[2].lower() == "drive")
    )


def _by_path(base: str, pending: list[str], found: list[str]) -> list[str]:
    """`root:/a/b:` as the segments `items`, `:a/b`; takes the path off `pending`."""
    names = []
    while pending:
        name = pending.pop(0)
        names.append(name.removesuffix(":"))
        if name.endswith(":"):
            break
    path = "/".join(names)
    if base.lower() == "root" and found[-1].lower() != "items":
        return ["items", f":{path}"]
    return [f"{base}:/{path}"]
