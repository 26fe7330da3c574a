"""
The state of a repository: newest generation plus the commits not yet folded into it.

Order matters (docs/format.md, "Commit"): cells first, then the newest generation, then what they name. The other way
round a commit folded in between would be missed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engine.commit import (
    GENERATION_ZERO,
    CellForm,
    GenerationForm,
    decode_cell,
    decode_generation,
    unfolded,
)
from engine.errors import NotFound
from engine.ids import ObjectId
from engine.keys import KeySet
from engine.seal import ObjectClass, open_object
from repository.blobstore.protocol import BlobStore
from repository.layout import (
    CELLS,
    GENERATIONS,
    cell_name,
    cell_writer,
    generation_name,
    generation_number,
    pack_name,
)

Usable = Callable[[ObjectClass, ObjectId], bool]  # of a pack: whether it may be referred to


@dataclass(frozen=True, slots=True)
class State:
    """What counts now. `manifests` and `runs` in a fixed order, each once."""

    generation: GenerationForm
    cells: Mapping[str, CellForm]
    manifests: tuple[str, ...]
    runs: tuple[str, ...]

    def usable(self) -> Usable | None:
        """Says of a pack whether it may be referred to: neither condemned nor dead. None: all may be."""
        held = self.generation
        if not held.condemned and not held.dead:
            return None
        return self._usable

    def _usable(self, object_class: ObjectClass, pack: ObjectId) -> bool:
        name = pack_name(object_class, pack)
        return name not in self.generation.condemned and name not in self.generation.dead


def read_state(store: BlobStore, keys: KeySet, repository: bytes, known: int = 0) -> State:
    """Read cells, then the newest generation; `known` is the highest generation number seen before."""
    cells = {}
    for blob in store.list(CELLS):
        writer = cell_writer(blob.name)
        plain = open_object(
            keys, ObjectClass.CELL, repository, store.get(blob.name), cell_name(writer)
        )
        cells[str(writer)] = decode_cell(plain, writer)
    generation = _newest_generation(store, keys, repository, known)
    commits = unfolded(cells, generation)
    manifests = dict.fromkeys(generation.manifests)
    manifests.update(dict.fromkeys(commit.manifest for commit in commits))
    runs = dict.fromkeys(generation.runs)
    runs.update(dict.fromkeys(run for commit in commits for run in commit.runs))
    return State(generation, cells, tuple(manifests), tuple(runs))


def _newest_generation(
    store: BlobStore, keys: KeySet, repository: bytes, known: int
) -> GenerationForm:
    listed = [generation_number(blob.name) for blob in store.list(GENERATIONS)]
    number = max([known, *listed])
    newest = GENERATION_ZERO if number == 0 else _generation(store, keys, repository, number)
    while True:
        try:
            newest = _generation(store, keys, repository, newest.number + 1)
        except NotFound:
            return newest


def _generation(store: BlobStore, keys: KeySet, repository: bytes, number: int) -> GenerationForm:
    name = generation_name(number)
    plain = open_object(keys, ObjectClass.GENERATION, repository, store.get(name), name)
    return decode_generation(plain, number)
