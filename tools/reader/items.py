"""Everything that is no directory tree: every part of an item as a file, and a `catalog.jsonl` with the rows."""

import base64
import json
import os
import re
from collections.abc import Iterable
from typing import Any

from blake3 import blake3

from tools.reader.catalog import Row
from tools.reader.content import Content
from tools.reader.folder import Damage
from tools.reader.output import printable, write_part
from tools.reader.state import Complain

NAME_BYTES_MAX = 120


def safe_name(name: str | bytes, unique: str | bytes) -> str:
    """`<name with nothing a file system could mind>~<8 hex of the hash of what makes it unique>`."""
    text = name.decode(errors="replace") if isinstance(name, bytes) else name
    kept = re.sub(r"[^\w .@+=,()\[\]-]|^[. ]+", "_", text).encode()[:NAME_BYTES_MAX]
    mark = blake3(unique.encode() if isinstance(unique, str) else unique).hexdigest()[:8]
    return f"{kept.decode(errors='ignore')}~{mark}"


def write_items(rows: Iterable[Row], content: Content, base: bytes, complain: Complain) -> None:
    """All items of an entry below a folder that is there; what fails is named, the rest goes on."""
    with open(os.path.join(base, b"catalog.jsonl"), "x", encoding="utf-8") as catalog:
        for row in rows:
            item = safe_name(row.name, row.id)
            parts: list[dict[str, Any]] = []
            for part in row.parts:
                file_name = _free_name(base, item, part.role)
                told: dict[str, Any] = {"role": part.role, "size": part.size, "file": file_name}
                try:
                    write_part(content, part, os.path.join(base, os.fsencode(file_name)))
                except (Damage, OSError) as error:
                    complain(f"{printable(row.name)} ({file_name}): {error}")
                    told["damaged"] = str(error)
                parts.append(told)
            catalog.write(json.dumps(_document(row, parts), ensure_ascii=False) + "\n")


def _free_name(base: bytes, item: str, role: str) -> str:
    """`<item>.<role>`; numbered where eight digits of a hash did not tell two items apart, or a role occurs twice."""
    safe_role = re.sub(r"[^0-9A-Za-z_-]", "_", role)
    file_name, number = f"{item}.{safe_role}", 1
    while os.path.lexists(os.path.join(base, os.fsencode(file_name))):
        number += 1
        file_name = f"{item}~{number}.{safe_role}"
    return file_name


def _document(row: Row, parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": _text(row.id),
        "container": _text(row.container),
        "name": _text(row.name),
        "kind": row.kind,
        "size": row.size,
        "created_ns": row.created_ns,
        "modified_ns": row.modified_ns,
        "version": row.version,
        "meta": row.meta,
        "parts": parts,
    }


def _text(value: bytes) -> str | dict[str, str]:
    """Text where it is text."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}
