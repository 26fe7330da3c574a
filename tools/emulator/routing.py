"""
From a raw request path to a route: the ways in which Graph lets one call be written.

Double slashes collapse; segments match whatever their case; `users('id')` is `users/id`;
`microsoft.graph.delta` and `delta()` are `delta`; `root:/a/b:/children` names an item by its path.
"""

import re
from urllib.parse import unquote

from tools.emulator import (
    attachment_routes,
    calendar_routes,
    contact_routes,
    contact_writes,
    drive_routes,
    event_writes,
    export_routes,
    folder_writes,
    groups,
    mail_routes,
    mailbox_routes,
    message_writes,
    settings_routes,
    task_routes,
    task_writes,
    user_routes,
)
from tools.emulator.errors import GraphError
from tools.emulator.route import Route

_DELTA_FORM = re.compile(r"^(?:microsoft\.graph\.)?delta\(token='(.*)'\)$", re.I | re.S)
_KEY_FORM = re.compile(r"^([A-Za-z.]+)\('(.*)'\)$", re.S)

ROUTES = [
    *attachment_routes.ROUTES,
    *calendar_routes.ROUTES,
    *contact_routes.ROUTES,
    *contact_writes.ROUTES,
    *drive_routes.ROUTES,
    *event_writes.ROUTES,
    *export_routes.ROUTES,
    *folder_writes.ROUTES,
    *groups.ROUTES,
    *mail_routes.ROUTES,
    *mailbox_routes.ROUTES,
    *message_writes.ROUTES,
    *settings_routes.ROUTES,
    *task_routes.ROUTES,
    *task_writes.ROUTES,
    *user_routes.ROUTES,
]


def _literals(route: Route) -> int:
    return sum(not segment.startswith("{") for segment in route.segments)


# the most literal template wins: `/users/delta` before `/users/{user}`
_BY_LENGTH: dict[int, list[Route]] = {}
for _route in sorted(ROUTES, key=_literals, reverse=True):
    _BY_LENGTH.setdefault(len(_route.segments), []).append(_route)


def find(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """
    The route of a path behind the version prefix, with its placeholders; None when unknown.

    Raises:
        GraphError: 405, the path is known but not with this method.
    """
    segments, named = _segments(path)
    known = False
    for route in _BY_LENGTH.get(len(segments), ()):
        params = _match(route.segments, segments)
        if params is not None and route.method == method:
            return route, params | named
        known = known or params is not None
    if known:
        text = "Specified HTTP method is not allowed for the request target."
        raise GraphError(405, "Request_BadRequest", text)
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
