"""Section "Catalogs": the rows of an entry."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

from tools.reader.content import Content, Part
from tools.reader.folder import Damage
from tools.reader.state import Complain, Entry

BATCH_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Row:
    """One item; times in nanoseconds since 1970."""

    id: bytes
    container: bytes
    name: bytes
    kind: str
    size: int
    created_ns: int
    modified_ns: int
    version: str
    meta: dict[str, Any]
    parts: tuple[Part, ...]


def rows(
    content: Content, entry: Entry, complain: Complain, from_ns: int | None = None
) -> Iterator[Row]:
    """
    What is in an entry: parts from the newest to the oldest, of every id the first row met. Keeps a hash of every id.

    Items from before `from_ns` are expired.
    """
    met: set[bytes] = set()
    for number, part in reversed(list(enumerate(entry.catalog))):
        what = f"{entry.name}/{entry.workload}: catalog part {number}"
        try:
            for raw in _raw_rows(content, part):
                row_hash = blake3(raw["id"]).digest(16)
                if row_hash in met:
                    continue
                met.add(row_hash)
                if raw["removed"] or (from_ns is not None and _is_expired(raw, from_ns)):
                    continue
                try:
                    yield _row(raw)
                except (Damage, ValueError) as error:
                    complain(f"{what}: row {raw['id']!r}: {error}")
        except (Damage, pa.ArrowException, OSError, KeyError) as error:
            complain(f"{what}: {error}; its items are missing, or older than they should be")


def _is_expired(raw: dict[str, Any], from_ns: int) -> bool:
    newest: int = max(raw["created_ns"], raw["modified_ns"])
    return bool(raw["kind"] != "container" and newest != 0 and newest < from_ns)


def _raw_rows(content: Content, part: Part) -> Iterator[dict[str, Any]]:
    """Rows of one Parquet file, which lies in a temporary file meanwhile."""
    missing: list[str] = []
    with tempfile.TemporaryFile() as file:
        for piece in content.read(part, missing):
            file.write(piece)
        if missing:
            raise Damage(missing[0])
        table = pq.ParquetFile(file, pre_buffer=False)
        for batch in table.iter_batches(BATCH_ROWS, use_threads=False):
            yield from batch.to_pylist()


def _row(raw: dict[str, Any]) -> Row:
    raw.pop("removed")
    raw["meta"] = json.loads(raw["meta"] or b"{}")
    raw["parts"] = decode_parts(raw["parts"] or b"\x90")
    return Row(**{name: raw[name] for name in Row.__slots__})


def decode_parts(packed: bytes) -> tuple[Part, ...]:
    """The parts column."""
    try:
        value, end = _unpack(packed, 0)
        if end != len(packed):
            raise Damage("its parts have a tail")
        return tuple(Part(role, size, chunks, recipe) for role, size, chunks, recipe in value)
    except (IndexError, ValueError, TypeError) as error:
        raise Damage(f"its parts are no msgpack of the form wanted: {error}") from error


def _unpack(data: bytes, at: int) -> tuple[Any, int]:
    """A msgpack value of the kinds in use (arrays, texts, binaries, integers from 0) and where it ends."""
    code = data[at]
    at += 1
    if code < 0x80:
        return code, at
    if code & 0xF0 == 0x90:
        return _array(data, at, code & 0x0F)
    if code & 0xE0 == 0xA0:
        return _text(data, at, code & 0x1F)
    # codes of one family follow each other, and their length or value takes 1, 2, 4 or 8 bytes
    families = {0xC4: (0, _binary), 0xCC: (0, _number), 0xD9: (0, _text), 0xDC: (1, _array)}
    for first, (width, take) in families.items():
        width += code - first
        if first <= code and width <= (3 if first == 0xCC else 2):
            end = at + (1 << width)
            return take(data, end, int.from_bytes(data[at:end], "big"))
    raise ValueError(f"code {code:#x}")


def _number(_: bytes, at: int, value: int) -> tuple[int, int]:
    return value, at


def _binary(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    if len(data) < at + size:
        raise IndexError("ends early")
    return data[at : at + size], at + size


def _text(data: bytes, at: int, size: int) -> tuple[str, int]:
    taken, end = _binary(data, at, size)
    return taken.decode(), end


def _array(data: bytes, at: int, count: int) -> tuple[list[Any], int]:
    values: list[Any] = []
    for _ in range(count):
        value, at = _unpack(data, at)
        values.append(value)
    return values, at
