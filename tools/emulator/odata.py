"""
The OData query options and preferences that listings understand.
"""

import re
from collections.abc import Mapping
from typing import Any

from tools.emulator.errors import GraphError

_PREFERENCE = re.compile(r'([\w.\-]+)(?:\s*=\s*(?:"([^"]*)"|([^,;\s]*)))?')
_CLAUSE = re.compile(r"^\s*(\w+)\s+eq\s+(?:'((?:[^']|'')*)'|(true|false))\s*$", re.I)


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
    return [name.strip().lower() for name in text.split(",") if name.strip()]


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
    """Whether `body` fulfils a filter of `name eq value` clauses joined by `and`; else 400."""
    for clause in re.split(r"\s+and\s+", text, flags=re.I):
        match = _CLAUSE.match(clause)
        if match is None:
            raise GraphError(400, "Request_UnsupportedQuery", "Unsupported Query.")
        value = next((v for k, v in body.items() if k.lower() == match[1].lower()), None)
        wanted: object
        if match[3] is not None:
            wanted = match[3].lower() == "true"
        else:
            wanted = match[2].replace("''", "'").lower()
            value = value.lower() if isinstance(value, str) else value
        if value != wanted:
            return False
    return True
