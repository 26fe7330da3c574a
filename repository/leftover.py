"""
What a bucket alone tells with one way to open it: restore points and configuration, whatever of its state is lost.

Read are `config`, the key ring, restore points and manifests, and of cells, generations and forgets those that open; no pack
and no run. Jobs, organizations and retention policies are not in a repository: what was protected is, by name and workload.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from blake3 import blake3

from engine.collection import point_id
from engine.commit import GENERATION_ZERO, CellForm, GenerationForm, decode_forget
from engine.errors import BackupError, Corruption, NotFound, Unsupported
from engine.keys import KeySet
from engine.manifest import EntryForm, ManifestForm, PointForm, decode_manifest
from engine.seal import ObjectClass, open_object
from repository.blobstore.ahead import ahead
from repository.blobstore.protocol import BlobStore
from repository.immutability import immutability_of
from repository.keyring import Keyring
from repository.layout import (
    CELLS,
    FORGETS,
    GENERATIONS,
    MANIFESTS,
    POINTS,
    cell_writer,
    generation_number,
)
from repository.points import Damaged, in_order, read_points
from repository.repository import open_keys
from repository.settings import ConfigForm, Places
from repository.state import damaged_packs, read_cell, read_generation
from repository.unlocking import Credential

Left = dict[str, str]  # name of an object that does not open -> why
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """One way to open the repository; `kind`: passphrase, recovery, recipient, service."""

    id: str
    kind: str
    label: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Protected:
    """A protected object as the newest entry names it, and when its newest entry was committed."""

    kind: str
    id: str
    name: str
    workloads: tuple[str, ...]
    newest: str


@dataclass(slots=True)
class Configuration:
    """
    How a repository was set up and what was decided for it.

    Attributes:
        lock_mode, lock_days: empty and 0 without locks. generation: the newest that opens, 0 if none does; holds and
            items_from_ns (None: no item expired) are those of it. writers: the highest turn seen of each.
        forgotten: ids of restore points that a forget names which no collection took in. packs_marked: damaged, see repair.
    """

    repository: str
    created_at: str
    format: int
    suite: int
    compare_and_swap: bool
    padding: str
    parity: str
    chunker: str
    lock_mode: str
    lock_days: int
    key_epoch: int
    keys: list[KeyFacts]
    generation: int = 0
    holds: dict[str, str] = field(default_factory=dict)
    items_from_ns: int | None = None
    forgotten: list[str] = field(default_factory=list)
    writers: dict[str, int] = field(default_factory=dict)
    packs_marked: list[str] = field(default_factory=list)
    protected: list[Protected] = field(default_factory=list)


@dataclass(slots=True)
class Leftover:
    """What was found: `points` oldest first, without those that a generation calls dead; objects that do not open."""

    configuration: Configuration
    points: list[PointForm] = field(default_factory=list)
    damaged: Left = field(default_factory=dict)


def leftover(store: BlobStore, credential: Credential, places: Places) -> Leftover:
    """
    Look; nothing is written. What of an object cannot be read is left out and named.

    Raises: as of `open_keys`: `config` and a key ring must be there.
    """
    config, keyring = open_keys(store, credential, places)
    uuid, keys = bytes.fromhex(config.repository), keyring.keys
    found = Leftover(_set_up(store, config, keyring))
    facts, damaged = found.configuration, found.damaged
    for cell in readable_cells(store, keys, uuid, damaged).values():
        facts.writers[cell.writer] = cell.turn
    generation = newest_readable(store, keys, uuid, damaged)
    facts.generation, facts.holds = generation.number, dict(generation.holds)
    facts.items_from_ns = generation.items_from_ns
    for writer, turn in generation.watermarks.items():
        facts.writers[writer] = max(turn, facts.writers.get(writer, 0))
    facts.forgotten = sorted(_forgotten(store, keys, uuid, damaged))
    facts.packs_marked = sorted(damaged_packs(store))
    latest: dict[tuple[str, str], tuple[str, EntryForm]] = {}
    workloads: dict[tuple[str, str], set[str]] = {}
    for form in _manifests(store, keys, config.repository, damaged):
        facts.writers[form.writer] = max(form.turn, facts.writers.get(form.writer, 0))
        for entry in form.entries:
            key = entry.object.kind, entry.object.id
            workloads.setdefault(key, set()).add(entry.workload)
            if key not in latest or latest[key][0] < form.created_at:
                latest[key] = form.created_at, entry
    for key, (newest, entry) in sorted(latest.items()):
        kept = tuple(sorted(workloads[key]))
        facts.protected.append(Protected(*key, entry.object.name, kept, newest))
    gone = {name.removeprefix(POINTS) for name in generation.dead if name.startswith(POINTS)}
    names = [blob.name.removeprefix(POINTS) for blob in store.list(POINTS)]
    bad: Damaged = {}
    points = read_points(store, keys, config.repository, uuid, set(names) - gone, bad)
    damaged |= {name: error.message for name, error in bad.items()}
    found.points = in_order(points.values())
    return found


def _set_up(store: BlobStore, config: ConfigForm, keyring: Keyring) -> Configuration:
    held = immutability_of(store, config)
    if held is not None:
        held.keys = keyring.keys
    days = 0 if config.lock is None else config.lock.days
    chunker = config.chunker
    return Configuration(
        config.repository,
        config.created_at,
        config.format,
        config.suite,
        config.compare_and_swap,
        config.padding,
        config.parity,
        f"{chunker.name}, {chunker.min} to {chunker.max} bytes",
        "" if config.lock is None else config.lock.mode,
        days if held is None else held.days(),
        keyring.keys.newest_epoch,
        [KeyFacts(k.id, k.kind, k.label, k.created_at) for k in keyring.ring.keys],
    )


def readable_cells(
    store: BlobStore, keys: KeySet, repository: bytes, damaged: Left
) -> dict[str, CellForm]:
    """The cells that open; the others are put into `damaged`."""
    found: dict[str, CellForm] = {}
    for blob in store.list(CELLS):
        try:
            writer = cell_writer(blob.name)
            found[writer], _ = read_cell(store, keys, repository, writer)
        except (Corruption, Unsupported) as error:
            damaged[blob.name] = error.message
    return found


def newest_readable(
    store: BlobStore, keys: KeySet, repository: bytes, damaged: Left
) -> GenerationForm:
    """The newest generation that opens and holds something; newer ones are put into `damaged`."""
    for blob in sorted(store.list(GENERATIONS), key=lambda b: b.name, reverse=True):
        try:
            number = generation_number(blob.name)
            found = read_generation(store, keys, repository, number)
        except (Corruption, Unsupported) as error:
            damaged[blob.name] = error.message
            continue
        if not found.stub:
            return found
    return GENERATION_ZERO


def _forgotten(store: BlobStore, keys: KeySet, repository: bytes, damaged: Left) -> set[str]:
    def read(name: str) -> tuple[str, ...]:
        plain = open_object(keys, ObjectClass.FORGET, repository, store.get(name), name)
        return decode_forget(plain).points

    named = _each(store, FORGETS, read, damaged)
    return {point_id(point) for points in named for point in points}


def _manifests(
    store: BlobStore, keys: KeySet, repository: str, damaged: Left
) -> Iterator[ManifestForm]:
    uuid = bytes.fromhex(repository)

    def read(name: str) -> ManifestForm:
        stored = store.get(name)
        if blake3(stored).hexdigest() != name.removeprefix(MANIFESTS):
            raise Corruption(f"{name} is damaged", code="object-corrupt")
        plain = open_object(keys, ObjectClass.MANIFEST, uuid, stored)
        return decode_manifest(plain, repository, keys.signing_seed)

    return _each(store, MANIFESTS, read, damaged)


def _each(store: BlobStore, prefix: str, read: Callable[[str], T], damaged: Left) -> Iterator[T]:
    """What is read of each object below a prefix; one that is gone since is passed over."""
    names = [blob.name for blob in store.list(prefix)]
    for name, take in ahead(store, read, names):
        try:
            yield take()
        except NotFound:
            continue
        except BackupError as error:
            damaged[name] = error.message
