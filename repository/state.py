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
    ForgetForm,
    GenerationForm,
    decode_cell,
    decode_forget,
    decode_generation,
    unfolded,
)
from engine.errors import Corruption, NotFound
from engine.ids import ObjectId, WriterId
from engine.keys import KeySet
from engine.seal import ObjectClass, open_object
from repository.blobstore.protocol import BlobStore
from repository.layout import (
    CELLS,
    FORGETS,
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
    """What counts now. `manifests`, `runs` and `points` in a fixed order, each once."""

    generation: GenerationForm
    cells: Mapping[str, CellForm]
    manifests: tuple[str, ...]
    runs: tuple[str, ...]
    points: tuple[str, ...]

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
    cells = read_cells(store, keys, repository)
    return state_of(cells, newest_generation(store, keys, repository, known))


def state_of(cells: Mapping[str, CellForm], generation: GenerationForm) -> State:
    """What cells and a generation read after them say together."""
    manifests = dict.fromkeys(generation.manifests)
    runs = dict.fromkeys(generation.runs)
    points = dict.fromkeys(generation.points)
    for commit in unfolded(cells, generation):
        if commit.manifest is not None:
            manifests[commit.manifest] = None
        runs.update(dict.fromkeys(commit.runs))
        points.update(dict.fromkeys(commit.points))
    return State(generation, cells, tuple(manifests), tuple(runs), tuple(points))


def read_cells(store: BlobStore, keys: KeySet, repository: bytes) -> dict[str, CellForm]:
    """Every writer's cell."""
    cells = {}
    for blob in store.list(CELLS):
        writer = cell_writer(blob.name)
        cells[str(writer)], _ = read_cell(store, keys, repository, writer)
    return cells


def read_cell(
    store: BlobStore, keys: KeySet, repository: bytes, writer: WriterId
) -> tuple[CellForm, str]:
    """One writer's cell and its tag. NotFound before its first turn."""
    name = cell_name(writer)
    stored, tag = store.get_tagged(name)
    plain = open_object(keys, ObjectClass.CELL, repository, stored, name)
    return decode_cell(plain, writer), tag


def newest_generation(
    store: BlobStore, keys: KeySet, repository: bytes, known: int = 0
) -> GenerationForm:
    """The generation with the highest number: listed, known or found by asking for the next one."""
    listed = [generation_number(blob.name) for blob in store.list(GENERATIONS)]
    number = max([known, *listed])
    newest = GENERATION_ZERO if number == 0 else read_generation(store, keys, repository, number)
    while True:
        try:
            newest = read_generation(store, keys, repository, newest.number + 1)
        except NotFound:
            break
    if newest.stub:
        raise Corruption(
            f"gc/{newest.number} was emptied and the one after it is gone: put it back from a copy",
            code="generation-missing",
        )
    return newest


def read_generation(
    store: BlobStore, keys: KeySet, repository: bytes, number: int
) -> GenerationForm:
    """`gc/<number>`; a stub if it is an old one. NotFound."""
    name = generation_name(number)
    plain = open_object(keys, ObjectClass.GENERATION, repository, store.get(name), name)
    return decode_generation(plain, number)


def read_forgets(store: BlobStore, keys: KeySet, repository: bytes) -> dict[str, ForgetForm]:
    """Forgets that no generation has taken in yet, by object name."""
    found = {}
    for blob in store.list(FORGETS):
        try:
            plain = open_object(
                keys, ObjectClass.FORGET, repository, store.get(blob.name), blob.name
            )
        except NotFound:
            continue  # taken in since
        found[blob.name] = decode_forget(plain)
    return found
