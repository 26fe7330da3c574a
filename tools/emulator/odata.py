"""
The OData query options and preferences that listings understand.
"""

import operator
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from tools.emulator.errors import GraphError

_PREFERENCE = re.compile(r'([\w.\-]+)(?:\s*=\s*(?:"([^"]*)"|([^,;\s]*)))?')
_CLAUSE = re.compile(r"^\s*([\w/]+)\s+(eq|ne|gt|ge|lt|le)\s+('(?:[^']|'')*'|[\w.:+\-]+)\s*$", re.I)
_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?$", re.I)
_ORDERS = {"gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le}


def option(query: Mapping[str, str], name: str) -> str | None:
    """The value of `$name`, with or without the dollar sign, whatever its case."""
    for key, value in query.items():
        if key.lower().removeprefix("$") == name:
            return value
    return None


def whole(query: Mapping[str, str], name: str, default: int, highest: int) -> int:
    """A positive number such as `$top`, capped at `highest`; 400 when it is none."""
    text = option(query, name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) == 0:
        raise GraphError(400, "BadRequest", f"Invalid value '{text[:40]}' for ${name}.")
    return min(int(text), highest)


def selection(query: Mapping[str, str]) -> list[str] | None:
    """The names of `$select` in lower case, None when everything is wanted."""
    text = option(query, "select")
    if text is None or not text.strip():
        return None
    names = (name.strip().lower() for name in text.split(","))
    # Members of derived types are named with their type: microsoft.graph.fileAttachment/contentId
    return [re.sub(r"^microsoft\.graph\.\w+/", "", name) for name in names if name]


def expansion(query: Mapping[str, str]) -> list[str]:
    """The names of `$expand` in lower case, without what is asked of each in brackets."""
    text = re.sub(r"\([^()]*\)", "", option(query, "expand") or "")
    names = (name.strip().lower().partition("/")[0] for name in text.split(","))
    return [name for name in names if name]


def wanted(query: Mapping[str, str]) -> list[str] | None:
    """What `$select` and `$expand` ask for together, None when everything is wanted."""
    select = selection(query)
    return None if select is None else select + expansion(query)


def pick(body: Mapping[str, Any], select: list[str] | None) -> dict[str, Any]:
    """Keep what was selected, the id and annotations."""
    if select is None:
        return dict(body)
    keep = set(select)
    return {
        name: value
        for name, value in body.items()
        if name == "id" or "@" in name or name.lower() in keep
    }


def preferences(header: str) -> dict[str, str]:
    """The `Prefer` header as names in lower case and values."""
    found = {}
    for match in _PREFERENCE.finditer(header):
        found[match[1].lower()] = match[2] if match[2] is not None else (match[3] or "")
    return found


def page_size(prefer: Mapping[str, str], default: int, highest: int) -> int:
    """`odata.maxpagesize`, capped; `default` when absent or no number."""
    text = prefer.get("odata.maxpagesize", "")
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) == 0:
        return default
    return min(int(text), highest)


def matches(body: Mapping[str, Any], text: str) -> bool:
    """
    Whether `body` fulfils a filter of clauses `path op value` joined by `and`; else 400.

    Operators are eq, ne, gt, ge, lt, le; values are strings in quotes, times, numbers, booleans
    and null. Words are compared whatever their case.
    """
    for clause in re.split(r"\s+and\s+", text, flags=re.I):
        match = _CLAUSE.match(clause)
        if match is None:
            raise GraphError(400, "Request_UnsupportedQuery", "Unsupported Query.")
        value, wanted = _comparable(_at(body, match[1])), _literal(match[3])
        name = match[2].lower()
        if name in ("eq", "ne"):
            if (value == wanted) != (name == "eq"):
                return False
        elif type(value) is not type(wanted) or not _ORDERS[name](value, wanted):
            return False
    return True


def order(rows: list[Any], text: str, render: Callable[[Any], Mapping[str, Any]]) -> list[Any]:
    """`rows` sorted as `$orderby` says, by one or more paths; what has no value comes first."""
    found = list(rows)
    for term in reversed(text.split(",")):
        path, _, way = term.strip().partition(" ")
        keys = {id(row): _sortable(_at(render(row), path)) for row in found}
        found.sort(key=lambda row: keys[id(row)], reverse=way.strip().lower() == "desc")
    return found


def _sortable(value: Any) -> tuple[bool, Any]:
    known = _comparable(value)
    return known is not None, known if isinstance(known, datetime) else str(known)


def _at(body: Mapping[str, Any], path: str) -> Any:
    """The value at a path such as `start/dateTime`, names in any case; None where there is none."""
    here: Any = body
    for name in path.split("/"):
        if not isinstance(here, Mapping):
            return None
        here = next((v for k, v in here.items() if k.lower() == name.lower()), None)
    return here


def _literal(text: str) -> Any:
    if text.startswith("'"):
        return _comparable(text[1:-1].replace("''", "'"))
    if text.lower() in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[text.lower()]
    if text.isdigit():
        return int(text)
    return _comparable(text)


def _comparable(value: Any) -> Any:
    """Times as times, words in small letters, all else as it is."""
    if not isinstance(value, str):
        return value
    if _TIME.match(value):
        moment = datetime.fromisoformat(value[:19])
        return moment.replace(tzinfo=UTC)
    return value.lower()
