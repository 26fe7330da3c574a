"""What a copied entry lacks of its original: the difference of their catalogs, found column by column."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from engine.catalog import SCHEMA
from repository.catalogs import CONTAINER, Catalog, Totals, expired

VISIBLE = ("container", "name", "kind", "size", "created_ns", "modified_ns", "version", "meta")


@dataclass(frozen=True, slots=True)
class Difference:
    """
    What makes the copy of one entry.

    Attributes:
        rows: of the original, to be written. known: for each the `parts` column that the copy has of it already, or null.
        removed: ids to take away. unchanged: what needs nothing.
    """

    rows: pa.Table
    known: pa.Array
    removed: list[bytes]
    unchanged: Totals

    def __bool__(self) -> bool:
        return self.rows.num_rows > 0 or bool(self.removed)


def live_rows(catalog: Catalog, from_ns: int | None = None) -> pa.Table:
    """The live rows of a catalog as one table, without items that were created and modified before a time."""
    joined = pa.concat_tables([SCHEMA.empty_table(), *catalog.live()]).combine_chunks()
    if from_ns is None:
        return joined
    return joined.filter(pc.invert(expired(joined, from_ns)))


def difference(
    original: pa.Table, copied: pa.Table, base: pa.Table | None, *, resumed: bool
) -> Difference:
    """
    What `copied` lacks of `original`. Rows are equal when all they say is, and the chunks of the original are.

    Chunk ids of two repositories say nothing of each other. So equal content is told by `base`: rows of the same repository
    as `original` that `copied` was made of.

    Args:
        resumed: `copied` is a part of a copy of `original` itself: a row with its version is its copy.
    """
    same, same_base, like_base = _compared(original, copied, base)
    settled = same_base
    if resumed:
        stable = pc.or_(pc.not_equal(original["version"], ""), pc.equal(original["parts"], b""))
        settled = pc.or_(settled, pc.and_(stable, pc.invert(like_base)))
    unchanged = pc.and_(same, settled)
    rows = original.filter(pc.invert(unchanged))
    gone = copied.filter(pc.invert(pc.is_in(copied["id"], original["id"])))
    known = pa.nulls(rows.num_rows, pa.binary())
    if base is not None and not resumed:
        known = _known_parts(rows, copied, base)
    return Difference(rows, known, gone["id"].to_pylist(), totals_of(original.filter(unchanged)))


def totals_of(rows: pa.Table) -> Totals:
    """Items and bytes of rows."""
    sizes = rows["size"].filter(pc.not_equal(rows["kind"], CONTAINER))
    return Totals(len(sizes), pc.sum(sizes).as_py() or 0)


def _compared(
    original: pa.Table, copied: pa.Table, base: pa.Table | None
) -> tuple[pa.ChunkedArray, pa.ChunkedArray, pa.ChunkedArray]:
    """Of each row whether the copy looks the same; whether the base has it, chunks and all; whether it looks the same there."""
    same = alike(original, aligned(original["id"], copied))
    if base is None:
        none = pc.and_(same, False)
        return same, none, none
    there = aligned(original["id"], base)
    like_base = alike(original, there)
    chunks = pc.fill_null(pc.equal(original["parts"], there["parts"]), False)
    return same, pc.and_(like_base, chunks), like_base


def aligned(ids: pa.ChunkedArray, table: pa.Table) -> pa.Table:
    """Rows of `table` by id, in the order of `ids`; nulls where there is none."""
    return table.take(pc.index_in(ids, value_set=table["id"].combine_chunks()))


def alike(rows: pa.Table, others: pa.Table) -> pa.ChunkedArray:
    """Whether two tables look the same, row by row; a null is like nothing."""
    found = pc.equal(rows["size"], others["size"])
    for name in VISIBLE:
        found = pc.and_(found, pc.equal(rows[name], others[name]))
    return pc.fill_null(found, False)


def _known_parts(rows: pa.Table, copied: pa.Table, base: pa.Table) -> pa.Array:
    """
    The copy's parts of rows whose chunks some row of the base has, or null: moved, renamed, or changed in other things.

    A row of the copy vouches for them only if it looks as the one of the base does.
    """
    place = pc.index_in(rows["parts"], value_set=base["parts"].combine_chunks())
    held = base.take(place)
    copies = aligned(held["id"], copied)
    vouched = pc.and_(alike(held, copies), pc.not_equal(rows["parts"], b""))
    return pc.if_else(pc.fill_null(vouched, False), copies["parts"], None).combine_chunks()
