"""
The state of a repository: newest generation plus the commits not yet folded into it.

Order matters (docs/format.md, "Commit"): cells first, then the newest generation, then what they name. The other way
round a commit folded in between would be missed.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Mapping
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
from repository.blobstore.ahead import ahead
from repository.blobstore.protocol import BlobStore
from repository.layout import (
    CELLS,
    DAMAGED,
    FORGETS,
    GENERATIONS,
    cell_name,
    cell_writer,
    generation_name,
    generation_number,
    pack_name,
)

_PACK_FORM = re.compile(r"pack/[dm]/([0-9a-f]{2})/\1[0-9a-f]{62}")

Usable = Callable[[ObjectClass, ObjectId], bool]  # of a pack: whether it may be referred to


@dataclass(frozen=True, slots=True)
class State:
    """
    What counts now. `manifests`, `runs` and `points` in a fixed order, each once.

    Attributes:
        damaged: names of packs that could not be repaired: other locations of their chunks are preferred, new ones made.
    """

    generation: GenerationForm
    cells: Mapping[str, CellForm]
    manifests: tuple[str, ...]
    runs: tuple[str, ...]
    points: tuple[str, ...]
    damaged: frozenset[str] = frozenset()

    def usable(self) -> Usable | None:
        """Says of a pack whether it may be referred to: neither condemned nor dead nor damaged. None: all may be."""
        held = self.generation
        if not held.condemned and not held.dead and not self.damaged:
            return None
        return self._usable

    def whole(self) -> Usable | None:
        """Says of a pack whether it is not damaged. None: none is."""
        return self._whole if self.damaged else None

    def _whole(self, object_class: ObjectClass, pack: ObjectId) -> bool:
        return pack_name(object_class, pack) not in self.damaged

    def _usable(self, object_class: ObjectClass, pack: ObjectId) -> bool:
        name = pack_name(object_class, pack)
        held = self.generation
        return name not in held.condemned and name not in held.dead and name not in self.damaged


def damaged_packs(store: BlobStore) -> frozenset[str]:
    """Names of the packs that are marked as damaged; other objects there mean nothing."""
    marked = (blob.name.removeprefix(DAMAGED) for blob in store.list(DAMAGED))
    return frozenset(name for name in marked if _PACK_FORM.fullmatch(name))


def state_of(
    cells: Mapping[str, CellForm], generation: GenerationForm, damaged: frozenset[str]
) -> State:
    """What cells and a generation read after them say together."""
    manifests = dict.fromkeys(generation.manifests)
    runs = dict.fromkeys(generation.runs)
    points = dict.fromkeys(generation.points)
    for commit in unfolded(cells, generation):
        if commit.manifest is not None:
            manifests[commit.manifest] = None
        runs.update(dict.fromkeys(commit.runs))
        points.update(dict.fromkeys(commit.points))
    return State(generation, cells, tuple(manifests), tuple(runs), tuple(points), damaged)


def read_cells(store: BlobStore, keys: KeySet, repository: bytes) -> dict[str, CellForm]:
    """Every writer's cell."""
    cells = {}
    writers = [cell_writer(blob.name) for blob in store.list(CELLS)]
    for writer, take in ahead(store, lambda w: read_cell(store, keys, repository, w), writers):
        cells[str(writer)], _ = take()
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
    """
    The generation with the highest number: listed, known or found by asking for the next one.

    Raises: Corruption(store-rolled-back): the known one is gone, and no higher one is there.
    """
    listed = [generation_number(blob.name) for blob in store.list(GENERATIONS)]
    number = max([known, *listed])
    try:
        newest = (
            GENERATION_ZERO if number == 0 else read_generation(store, keys, repository, number)
        )
    except NotFound as error:
        if number in listed:
            raise
        raise Corruption(
            f"gc/{number}, which this machine has seen, is gone: the store was rolled back or restored from a copy",
            code="store-rolled-back",
        ) from error
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


def missing_generations(names: Iterable[str]) -> list[range]:
    """Numbers below the highest generation among object names that no generation has: there must be none."""
    numbers = [0, *sorted(generation_number(n) for n in names if n.startswith(GENERATIONS))]
    return [range(a + 1, b) for a, b in itertools.pairwise(numbers) if b > a + 1]


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
