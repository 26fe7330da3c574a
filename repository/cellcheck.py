"""
Cells and newest generations that are lost: what was committed in them, or folded by them, does not count any more, and the
next collection would take it away. The state alone does not show it; what else is stored proves it.

A cell is never removed and its turn only grows. So a turn that its cell has not reached, seen in a watermark or in any
manifest that is stored, proves that the cell was lost or put back from an older copy.

A restore point is written after the manifests it names were committed, and an entry after those of its parents. So a manifest
that one of them names was committed; where the cell of its writer has ended that turn and names it no more, it was folded; and
where the turn lies above the watermark, and nothing names the manifest, the generation that folded it is lost.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from engine.commit import CellForm, GenerationForm, cells_behind, ended_turn
from engine.errors import Corruption, NotFound, Unsupported, UsageError
from engine.ids import WriterId
from engine.manifest import ManifestForm, PointForm
from repository.blobstore.ahead import ahead
from repository.layout import MANIFESTS, cell_name, manifest_name
from repository.state import read_cell

if TYPE_CHECKING:
    from repository.repository import Repository


class CellCheck:
    """Looks for lost cells of one repository. Manifests that were read once are kept, as far as they say whose they are."""

    def __init__(self, repository: "Repository") -> None:
        self._repository = repository
        self._turns: dict[str, tuple[str, int]] = {}  # of manifests that the state does not name

    def lost(
        self,
        cells: Mapping[str, CellForm],
        generation: GenerationForm,
        manifests: Mapping[str, ManifestForm],
        listed: Iterable[str],
    ) -> dict[str, int]:
        """
        Writers whose cells are lost, and the highest turn that was seen of each.

        Args:
            cells: as read before `generation`. manifests: that were read already. listed: names of objects; what is a
                manifest among them, not dead and not read yet is read, and passed over if it cannot be.
        """
        turns = self._seen(manifests, generation, listed)
        for writer, turn in generation.watermarks.items():
            turns[writer] = max(turn, turns.get(writer, 0))
        return {w: turns[w] for w in cells_behind(cells, turns) if not self._has_gone_on(w, turns)}

    def lost_generation(
        self,
        cells: Mapping[str, CellForm],
        generation: GenerationForm,
        manifests: Mapping[str, ManifestForm],
        points: Iterable[PointForm],
    ) -> dict[str, tuple[str, int]]:
        """
        Manifests, with writer and turn, that were committed and folded by a generation which is gone. After `lost`.

        Args:
            cells: as read before `generation`. manifests: those of the state. points: any that are stored.
        """
        refs = {item.entry for point in points for item in point.entries}
        refs.update(ref for form in manifests.values() for e in form.entries for ref in e.parents)
        found = {}
        for manifest in {ref.manifest for ref in refs} - manifests.keys():
            writer, turn = self._turns.get(manifest_name(manifest), ("", 0))
            if turn > generation.watermarks.get(writer, 0) and turn <= ended_turn(
                cells.get(writer)
            ):
                found[manifest] = writer, turn
        return found

    def lost_turn(self, writer: str) -> int:
        """The highest turn of one writer that a stored manifest shows and its cell has not reached, else 0."""
        repository = self._repository
        listed = (blob.name for blob in repository.store.list(MANIFESTS))
        turns = self._seen(repository.entries.manifests, repository.state.generation, listed)
        return 0 if self._has_gone_on(writer, turns) else turns[writer]

    def _seen(
        self,
        manifests: Mapping[str, ManifestForm],
        generation: GenerationForm,
        listed: Iterable[str],
    ) -> dict[str, int]:
        """Highest turn of each writer that manifests show, those besides `manifests` read where they are not dead."""
        known = {*map(manifest_name, manifests), *generation.dead}
        self._read(n for n in listed if n.startswith(MANIFESTS) and n not in known)
        turns: dict[str, int] = {}
        named = ((form.writer, form.turn) for form in manifests.values())
        for writer, turn in (*named, *self._turns.values()):
            turns[writer] = max(turn, turns.get(writer, 0))
        return turns

    def _read(self, names: Iterable[str]) -> None:
        wanted = sorted(set(names) - self._turns.keys())
        repository = self._repository
        for name, take in ahead(
            repository.store, lambda n: repository.load_manifest(n.removeprefix(MANIFESTS)), wanted
        ):
            try:
                form = take()
            except (Corruption, NotFound, Unsupported, UsageError):
                continue  # damaged or foreign: it says nothing
            self._turns[name] = form.writer, form.turn

    def _has_gone_on(self, writer: str, turns: Mapping[str, int]) -> bool:
        """Whether the cell has reached the turn by now: cells are read before generation and listing."""
        if writer not in turns:
            return True
        repository = self._repository
        try:
            cell, _ = read_cell(
                repository.store, repository.keys, repository.uuid, WriterId(writer)
            )
        except NotFound:
            return False
        return not cells_behind({writer: cell}, {writer: turns[writer]})


def lost_generation(number: int, manifests: Mapping[str, tuple[str, int]]) -> Corruption:
    """The error that says what to do; `number`: of the newest generation that is there."""
    manifest, (writer, turn) = min(manifests.items())
    return Corruption(
        f"a generation after gc/{number} is gone: {manifest_name(manifest)[:25]}... was committed in turn {turn} of {writer} "
        "and nothing names it; put it back from a copy, or `strongroom repo salvage --force`",
        code="generation-lost",
    )


def lost_cell(writer: str, turn: int) -> Corruption:
    """The error that says what to do."""
    return Corruption(
        f"{cell_name(WriterId(writer))} is missing or older than turn {turn} of its writer: what was committed in it does "
        "not count; put it back from a copy, or `strongroom repo salvage --force`",
        code="cell-missing",
    )
