"""
The writer's part of the commit protocol, as pure functions over cells (docs/format.md, "Commit").

A cell belongs to one writer for ever and changes only by compare-and-swap. Its turn number only grows, so that no content
of a cell ever occurs twice. State = newest generation plus, of every cell, the commits above that cell's watermark.
The collector's part is `engine.collection`.
"""

import itertools
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from engine.errors import Corruption, Fenced
from engine.limits import CELL_COMMITS_MAX
from engine.manifest import Count, EntryRef, Hex64

PointName = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}-[0-9a-f]{16}$")]


class CommitForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    One commit: the turn, its manifest and every run uploaded in the turn.

    `manifest` is None where a turn had no entries: a collector's copies, a restore point. `points`: objects `point/<name>`.
    """

    turn: Count
    manifest: Hex64 | None
    runs: tuple[Hex64, ...]
    points: tuple[PointName, ...] = ()


class CellForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of `sess/<writer>`: commits not yet folded, in order of their turns."""

    writer: str
    turn: Count
    state: Literal["idle", "active", "revoked", "closed"]
    commits: tuple[CommitForm, ...]


class LineageForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry whose parents are not those its manifest names, because some of these are no longer live."""

    entry: EntryRef
    parents: tuple[EntryRef, ...]


class GenerationForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """
    Content of `gc/<n>`: what a collector made of the generations before and the commits it folded.

    Attributes:
        manifests: the live ones. dropped: of them, the numbers of the entries that are not live.
        lineage: parents of live entries, where they differ from the manifest's.
        points: names of the live restore points. holds: id of a point that no rule may take away -> why.
        watermarks: writer -> highest folded turn. runs: the index.
        condemned: object -> number of the generation that condemned it. dead: objects that anyone may delete.
        items_from_ns: items created and modified before are expired, None: none are.
        stub: an old generation whose content was taken away.
    """

    number: Count
    manifests: tuple[Hex64, ...] = ()
    dropped: dict[Hex64, tuple[Count, ...]] = {}
    lineage: tuple[LineageForm, ...] = ()
    points: tuple[PointName, ...] = ()
    holds: dict[str, str] = {}
    watermarks: dict[str, Count] = {}
    runs: tuple[Hex64, ...] = ()
    condemned: dict[str, Count] = {}
    dead: tuple[str, ...] = ()
    items_from_ns: int | None = None
    stub: bool = False


class ForgetForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of `forget/<id>`: ids of restore points to drop, and from when on items are kept."""

    points: tuple[str, ...] = ()
    items_from_ns: int | None = None


GENERATION_ZERO = GenerationForm(0)


def encode(form: CellForm | GenerationForm | ForgetForm) -> bytes:
    """Plain bytes of a cell, a generation or a forget."""
    return msgspec.json.encode(form)


def decode_cell(plain: bytes, writer: str) -> CellForm:
    """Reverse of `encode` for the cell of `writer`. Corruption otherwise."""
    try:
        cell = msgspec.json.decode(plain, type=CellForm)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corruption("a write session cell cannot be read", code="cell-corrupt") from error
    turns = [commit.turn for commit in cell.commits]
    ordered = all(a < b for a, b in itertools.pairwise(turns))
    if cell.writer != writer or not ordered or (turns and turns[-1] > cell.turn):
        raise Corruption("a write session cell breaks its order", code="cell-corrupt")
    return cell


def decode_generation(plain: bytes, number: int) -> GenerationForm:
    """Reverse of `encode` for `gc/<number>`. Corruption otherwise."""
    try:
        generation = msgspec.json.decode(plain, type=GenerationForm)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corruption("a generation cannot be read", code="generation-corrupt") from error
    if generation.number != number:
        raise Corruption("a generation has a wrong number", code="generation-corrupt")
    return generation


def decode_forget(plain: bytes) -> ForgetForm:
    """Reverse of `encode` for a forget. Corruption otherwise."""
    try:
        return msgspec.json.decode(plain, type=ForgetForm)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corruption("a forget cannot be read", code="forget-corrupt") from error


def begin(cell: CellForm | None, writer: str, watermark: int) -> CellForm:
    """
    The cell with which a writer begins its next turn.

    A left-over active turn of the same writer ends thereby; commits at or below the watermark are folded and go. The turn
    lies above the watermark, also where the cell is behind it (lost, or put back from an older copy): else what it commits
    would not count. Fenced if the cell was closed for ever.
    """
    if cell is None:
        return CellForm(writer, watermark + 1, "active", ())
    if cell.state == "closed":
        raise Fenced("this writer was closed for ever; use another identity", code="writer-closed")
    kept = tuple(commit for commit in cell.commits if commit.turn > watermark)
    if len(kept) >= CELL_COMMITS_MAX:
        raise Fenced("too many commits wait for a collection", code="cell-full")
    return CellForm(writer, max(cell.turn, watermark) + 1, "active", kept)


def commit(cell: CellForm, made: CommitForm, watermark: int, *, go_on: bool) -> CellForm:
    """
    The cell that commits the active turn; with `go_on` the same swap begins the next one. Folded commits go.

    Fenced if the turn is not active.
    """
    if cell.state != "active" or made.turn != cell.turn:
        raise Fenced("the turn was revoked", code="turn-revoked")
    commits = (*(commit for commit in cell.commits if commit.turn > watermark), made)
    if len(commits) > CELL_COMMITS_MAX:
        raise Fenced("too many commits wait for a collection", code="cell-full")
    if go_on:
        return CellForm(cell.writer, cell.turn + 1, "active", commits)
    return CellForm(cell.writer, cell.turn, "idle", commits)


def rest(cell: CellForm) -> CellForm:
    """The cell of a writer that ends an active turn without a commit."""
    return CellForm(cell.writer, cell.turn, "idle", cell.commits)


def revoke(cell: CellForm) -> CellForm:
    """The cell whose active turn a collector ends; its commits stay."""
    return CellForm(cell.writer, cell.turn, "revoked", cell.commits)


def has_committed(cell: CellForm, made: CommitForm) -> bool:
    """Whether the cell shows this commit (the answer to a lost answer)."""
    return made in cell.commits


def ended_turn(cell: CellForm | None) -> int:
    """The highest turn of a cell that is over, committed or not; 0 without a cell."""
    if cell is None:
        return 0
    return cell.turn - 1 if cell.state == "active" else cell.turn


def cells_behind(cells: Mapping[str, CellForm], turns: Mapping[str, int]) -> tuple[str, ...]:
    """
    Writers whose cells are not there or have not reached a turn that was seen of them.

    Cells are never removed and their turns only grow: such a one was lost, or put back from an older copy.
    """
    return tuple(
        writer
        for writer, turn in sorted(turns.items())
        if turn and (writer not in cells or cells[writer].turn < turn)
    )


def unfolded(cells: Mapping[str, CellForm], generation: GenerationForm) -> list[CommitForm]:
    """Commits that count besides the generation: above their cell's watermark."""
    return [
        commit
        for writer in sorted(cells)
        for commit in cells[writer].commits
        if commit.turn > generation.watermarks.get(writer, 0)
    ]
