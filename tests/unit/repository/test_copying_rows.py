"""What a copy lacks of its original: against a slow oracle, and what may be reused."""

import random

import pyarrow as pa
import pytest

from engine.catalog import SCHEMA, Row, rows_of, table_of
from engine.parts import REFERENCE_BYTES, Part
from repository.copying_parts import KnownParts
from repository.copying_rows import VISIBLE, Difference, difference

SOURCE, TARGET = b"s", b"t"


def part(content: int, side: bytes) -> Part:
    """A part of one chunk, whose id says what it holds and in which repository."""
    chunk = (side + b"%d" % content).ljust(32, b".") + (7).to_bytes(4, "little")
    assert len(chunk) == REFERENCE_BYTES
    return Part("content", 7, chunk)


def random_row(rng: random.Random, side: bytes, row_id: bytes) -> Row:
    content = rng.randrange(5)
    version = rng.choice(("", "1", "2"))
    parts = (part(content, side),) if content else ()
    kind = "file" if content else "container"
    name = rng.choice((b"n", b"m"))
    return Row(row_id, b"", name, kind, 7, version=version, parts=parts)


def visible(row: Row | None) -> tuple[object, ...] | None:
    return None if row is None else tuple(getattr(row, name) for name in VISIBLE)


def applied(copied: dict[bytes, Row], found: Difference) -> dict[bytes, Row]:
    """The copy with a difference written to it; parts that are not known are stored under the ids of the target."""
    made = {i: row for i, row in copied.items() if i not in found.removed}
    table = found.rows.set_column(SCHEMA.get_field_index("parts"), "parts", found.known)
    for row, known in zip(rows_of(found.rows), table["parts"].to_pylist(), strict=True):
        if known is None and row.parts:
            stored = tuple(
                Part(p.role, p.size, p.chunks.replace(SOURCE, TARGET, 1)) for p in row.parts
            )
        else:
            one = table_of([row]).set_column(9, "parts", pa.array([known or b""], pa.binary()))
            stored = next(rows_of(one)).parts
        made[row.id] = Row(*(getattr(row, n) for n in SCHEMA.names[:9]), stored)
    return made


@pytest.mark.parametrize("seed", range(60))
def test_the_copy_becomes_the_original(seed: int) -> None:
    """After any two states of the original, and any holes in the copy: all rows equal, each content the right one."""
    rng = random.Random(seed)
    ids = [b"r%d" % n for n in range(rng.randrange(1, 8))]
    base = {i: random_row(rng, SOURCE, i) for i in ids if rng.random() < 0.8}
    copied = {
        i: Row(*(getattr(row, n) for n in SCHEMA.names[:9]),
               tuple(Part(p.role, p.size, p.chunks.replace(SOURCE, TARGET, 1)) for p in row.parts))
        for i, row in base.items()
        if rng.random() < 0.9
    }  # fmt: skip
    original = {
        i: base[i] if i in base and rng.random() < 0.5 else random_row(rng, SOURCE, i)
        for i in ids
        if rng.random() < 0.8
    }
    found = difference(
        table_of(original.values()),
        table_of(copied.values()),
        table_of(base.values()) if rng.random() < 0.8 else None,
        resumed=False,
    )
    made = applied(copied, found)
    assert {i: visible(row) for i, row in made.items()} == {
        i: visible(row) for i, row in original.items()
    }
    for i, row in made.items():
        expected = [p.chunks.replace(SOURCE, TARGET, 1) for p in original[i].parts]
        assert [p.chunks for p in row.parts] == expected


@pytest.mark.parametrize("seed", range(60))
def test_any_part_of_a_copy_becomes_the_original(seed: int) -> None:
    """The same from a half copy: rows of the base, or already of the original, as long as a version means a content."""
    rng = random.Random(seed)
    ids = [b"r%d" % n for n in range(rng.randrange(1, 8))]
    base = {i: random_row(rng, SOURCE, i) for i in ids if rng.random() < 0.8}
    original = {
        i: base[i] if i in base and rng.random() < 0.5 else random_row(rng, SOURCE, i)
        for i in ids
        if rng.random() < 0.8
    }
    half = {}
    for i in ids:
        row = original.get(i, base.get(i)) if rng.random() < 0.5 else base.get(i)
        if row is not None:
            stored = (Part(p.role, p.size, p.chunks.replace(SOURCE, TARGET, 1)) for p in row.parts)
            half[i] = Row(*(getattr(row, n) for n in SCHEMA.names[:9]), tuple(stored))
    found = difference(
        table_of(original.values()), table_of(half.values()), table_of(base.values()), resumed=True
    )
    made = applied(half, found)
    assert made.keys() == original.keys()
    for i, row in made.items():
        assert visible(row) == visible(original[i])
        assert [p.chunks for p in row.parts] == [
            p.chunks.replace(SOURCE, TARGET, 1) for p in original[i].parts
        ]


def test_parts_are_known_within_a_generation_and_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collection of the target makes all unknown; beyond the bound the longest unused ones go."""
    monkeypatch.setattr("repository.copying_parts.PARTS_KNOWN_BYTES_MAX", 2000)
    known = KnownParts()
    parts = [part(n, SOURCE) for n in range(6)]
    for one in parts:
        known.put((one.chunks, b""), one, 3)
        assert known.get((parts[0].chunks, b""), 3) == parts[0]
    assert known.get((parts[1].chunks, b""), 3) is None
    assert known.get((parts[5].chunks, b""), 3) == parts[5]
    assert known.get((parts[5].chunks, b""), 4) is None
    known.put((parts[1].chunks, b""), parts[1], 4)
    assert known.get((parts[5].chunks, b""), 4) is None
