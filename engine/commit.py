"""
The writer's part of the commit protocol, as pure functions over cells (docs/format.md, "Commit").

A cell belongs to one writer for ever and changes only by compare-and-swap. Its turn number only grows, so that no content
of a cell ever occurs twice. State = newest generation plus, of every cell, the commits above that cell's watermark.
"""

import itertools
from collections.abc import Mapping
from typing import Literal

import msgspec

from engine.errors import Corruption, Fenced
from engine.limits import CELL_COMMITS_MAX
from engine.manifest import Count, Hex64


class CommitForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One commit: the turn, its manifest and every run uploaded in the turn."""

    turn: Count
    manifest: Hex64
    runs: tuple[Hex64, ...]


class CellForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of `sess/<writer>`: commits not yet folded, in order of their turns."""

    writer: str
    turn: Count
    state: Literal["idle", "active", "revoked", "closed"]
    commits: tuple[CommitForm, ...]


class GenerationForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of `gc/<n>`: what a collector made of the generations before and the commits it folded."""

    number: Count
    manifests: tuple[Hex64, ...]
    watermarks: dict[str, int]
    runs: tuple[Hex64, ...]
    condemned: dict[str, int]
    dead: tuple[str, ...]
    forgotten: tuple[str, ...] = ()


GENERATION_ZERO = GenerationForm(0, (), {}, (), {}, ())


def encode(form: CellForm | GenerationForm) -> bytes:
    """Plain bytes of a cell or a generation."""
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


def begin(cell: CellForm | None, writer: str, watermark: int) -> CellForm:
    """
    The cell with which a writer begins its next turn.

    A left-over active turn of the same writer ends thereby; commits at or below the watermark are folded and go.
    Fenced if the cell was closed for ever.
    """
    if cell is None:
        return CellForm(writer, 1, "active", ())
    if cell.state == "closed":
        raise Fenced("this writer was closed for ever; use another identity", code="writer-closed")
    kept = tuple(commit for commit in cell.commits if commit.turn > watermark)
    if len(kept) >= CELL_COMMITS_MAX:
        raise Fenced("too many commits wait for a collection", code="cell-full")
    return CellForm(writer, cell.turn + 1, "active", kept)


def commit(cell: CellForm, manifest: str, runs: tuple[str, ...], *, go_on: bool) -> CellForm:
    """
    The cell that commits the active turn; with `go_on` the same swap begins the next one.

    Fenced if the turn is not active.
    """
    if cell.state != "active":
        raise Fenced("the turn was revoked", code="turn-revoked")
    commits = (*cell.commits, CommitForm(cell.turn, manifest, runs))
    if go_on:
        return CellForm(cell.writer, cell.turn + 1, "active", commits)
    return CellForm(cell.writer, cell.turn, "idle", commits)


def rest(cell: CellForm) -> CellForm:
    """The cell of a writer that ends an active turn without a commit."""
    return CellForm(cell.writer, cell.turn, "idle", cell.commits)


def has_committed(cell: CellForm, turn: int, manifest: str) -> bool:
    """Whether the cell shows the commit of `turn` (the answer to a lost answer)."""
    return any(c.turn == turn and c.manifest == manifest for c in cell.commits)


def unfolded(cells: Mapping[str, CellForm], generation: GenerationForm) -> list[CommitForm]:
    """Commits that count besides the generation: above their cell's watermark."""
    return [
        commit
        for writer in sorted(cells)
        for commit in cells[writer].commits
        if commit.turn > generation.watermarks.get(writer, 0)
    ]
