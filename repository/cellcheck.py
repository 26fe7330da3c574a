"""
Cells that are lost: what was committed in them does not count any more, and the next collection would take it away.

A cell is never removed and its turn only grows. So a turn that its cell has not reached, seen in a watermark or in any
manifest that is stored, proves that the cell was lost or put back from an older copy. The state alone does not show it.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from engine.commit import CellForm, GenerationForm, cells_behind
from engine.errors import Corruption, NotFound, Unsupported, UsageError
from engine.ids import WriterId
from engine.manifest import ManifestForm
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


def lost_cell(writer: str, turn: int) -> Corruption:
    """The error that says what to do."""
    return Corruption(
        f"{cell_name(WriterId(writer))} is missing or older than turn {turn} of its writer: what was committed in it does "
        "not count; put it back from a copy, or `strongroom repo salvage --force`",
        code="cell-missing",
    )
