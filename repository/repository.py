"""
One repository: the object that everything else holds.

It reads the state (cells, generation, runs, manifests), keeps the index in step with it, and hands out readers, write
sessions, catalogs and restore points. Thread-safe; one refresh at a time.
"""

import fcntl
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

from blake3 import blake3

from engine.collection import View, kept_points
from engine.commit import CellForm, GenerationForm
from engine.errors import BackupError, Conflict, Corruption, NotFound
from engine.ids import WriterId, writer_id
from engine.keys import SALT_BYTES, KdfCost
from engine.manifest import EntryRef, ManifestForm, PointForm, decode_manifest, part_from
from engine.parts import Part
from engine.run import decode_run
from engine.seal import ObjectClass, open_object, seal_object
from repository import ambient
from repository.blobstore.addresses import create_store, open_store
from repository.blobstore.ahead import ahead
from repository.blobstore.protocol import BlobStore
from repository.cellcheck import CellCheck
from repository.entries import Entries, Entry
from repository.immutability import immutability_of, require_kept, require_lockable
from repository.index import Index
from repository.keyring import Keyring, found_ring, new_key_set, open_keyring, ring_name
from repository.layout import CONFIG, PROBE, RUNS, manifest_name, parse_pack_name, run_name
from repository.points import Damaged, PointDraft, in_order, read_points, resolve_point
from repository.reader import Reader
from repository.settings import (
    ConfigForm,
    LockForm,
    Padding,
    Parity,
    Places,
    default_places,
    new_config,
    read_config,
)
from repository.state import (
    State,
    Usable,
    damaged_packs,
    newest_generation,
    read_cells,
    read_forgets,
    state_of,
)
from repository.unlocking import Credential, check_passphrase, passphrase_key
from repository.witness import Witness, state_unusable

if TYPE_CHECKING:
    from repository.catalogs import Catalog
    from repository.collector import CollectLimits, CollectProgress, CollectReport
    from repository.ledger import Level, Rolling
    from repository.session import WriteSession
    from repository.verify import Progress, VerifyReport

# catalogs, sessions and verification are imported by the methods that need them: they bring Arrow, which takes longer to
# load than all the rest, and a command that looks at no catalog starts without it

REFRESH_ATTEMPTS_MAX = 5
IDENTITIES_MAX = 64
RUN_AHEAD_BYTES_MAX = 4 * 1024 * 1024  # stored; larger runs are read one by one


class Repository:
    """See the module head. Made by `create_repository` and `open_repository`."""

    def __init__(
        self,
        store: BlobStore,
        keyring: Keyring,
        config: ConfigForm,
        places: Places,
        *,
        lenient: bool = False,
    ) -> None:
        self.immutability = immutability_of(store, config)
        if self.immutability is not None:
            self.immutability.keys = keyring.keys
            store = self.immutability.store
        self.store = store
        self.keyring = keyring
        self.keys = keyring.keys
        self.config = config
        self.id = config.repository
        self.uuid = bytes.fromhex(config.repository)
        self._state_dir = places.state_dir / self.id
        self._witness = Witness(self._state_dir / "seen.json")
        self.ledger_path = self._state_dir / "verified.json"
        self.scratch = places.cache_dir / self.id  # caches, and what a collection needs meanwhile
        self.index = Index(self.scratch / "index")
        self.reader = Reader(store, self.keys, self.uuid, self.index, self._renew, self._whole)
        self.entries = Entries()
        self._lock = threading.RLock()
        self._state: State | None = None
        self._lenient = lenient
        self.lost_runs: dict[
            str, BackupError
        ] = {}  # named and unreadable; a lenient opening alone goes on
        try:
            self.refresh()
        except BaseException:
            self.index.close()
            raise

    @property
    def state(self) -> State:
        """The state as of the newest refresh."""
        assert self._state is not None
        return self._state

    def close(self) -> None:
        """Let go of the local cache."""
        self.index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- state -----------------------------------------------------------------------------------

    def refresh(self) -> State:
        """Read the state anew and bring index and entries in step. Corruption if something named is missing."""
        with self._lock:
            for attempt in range(1, REFRESH_ATTEMPTS_MAX + 1):
                state = self._read_state()
                try:
                    apart = [parse_pack_name(name)[1] for name in state.damaged]
                    self.index.sync(self._readable(state.runs), self.load_runs, apart)
                    self._take_manifests(state, last_attempt=attempt == REFRESH_ATTEMPTS_MAX)
                    break
                except NotFound as error:
                    # a newer generation may have replaced it between the reads
                    if attempt == REFRESH_ATTEMPTS_MAX:
                        raise _missing(error) from error
            self._witness.check(state)
            self._state = state
            return state

    def take_own(self, cell: CellForm) -> None:
        """
        Follow an own swap that adds nothing but restore points to the state, without reading anything.

        All else stays as it was read: nothing is to be decided by it before the next refresh.
        """
        with self._lock:
            before = self.state
            cells = {**before.cells, cell.writer: cell}
            state = state_of(cells, before.generation, before.damaged)
            self._witness.check(state)
            self._state = state

    def _read_state(self) -> State:
        cells = read_cells(self.store, self.keys, self.uuid)  # before the generation
        return state_of(cells, self.newest_generation(), damaged_packs(self.store))

    def newest_generation(self) -> GenerationForm:
        """The newest generation. Corruption(store-rolled-back) if this machine has seen a newer one."""
        try:
            return newest_generation(self.store, self.keys, self.uuid, self._witness.generation)
        except Corruption as error:
            if error.code == "store-rolled-back":
                raise self._witness.rolled_back() from error
            raise

    def _readable(self, runs: Sequence[str]) -> Sequence[str]:
        """The runs to take in: of a lenient opening those that can be read, the others are put into `lost_runs`."""
        if not self._lenient:
            return runs
        self.lost_runs = {}
        for run in runs:
            try:
                decode_run(self.load_run(run))
            except (Corruption, NotFound) as error:
                self.lost_runs[run] = error
        return [run for run in runs if run not in self.lost_runs]

    def _whole(self) -> Usable | None:
        return None if self._state is None else self._state.whole()

    def _renew(self) -> bool:
        """Read the state anew; whether a collector has published since."""
        before = self.state.generation.number
        return self.refresh().generation.number != before

    def _take_manifests(self, state: State, *, last_attempt: bool) -> None:
        """Entries of the live manifests. A damaged one locks nobody out of the others: its entries say so."""
        known = self.entries.manifests
        if self._state is None or self._state.generation.number != state.generation.number:
            fresh = Entries(state.generation)
        else:
            fresh = self.entries
        missing = [manifest for manifest in state.manifests if manifest not in fresh.manifests]
        for manifest, take in ahead(
            self.store, lambda m: known.get(m) or self.load_manifest(m), missing
        ):
            try:
                fresh.add(manifest, take())
            except Corruption as error:
                fresh.damaged[manifest] = error
            except NotFound as error:
                if not last_attempt:
                    raise
                fresh.damaged[manifest] = _missing(error)
        self.entries = fresh

    def _load_sealed(self, object_class: ObjectClass, name: str) -> bytes:
        stored = self.store.get(name)
        if blake3(stored).hexdigest() != name.rpartition("/")[2]:
            raise Corruption(f"{name} is damaged", code="object-corrupt")
        return open_object(self.keys, object_class, self.uuid, stored)

    def load_run(self, run: str) -> bytes:
        """Plain bytes of an index run. NotFound, Corruption."""
        return self._load_sealed(ObjectClass.RUN, run_name(run))

    def load_runs(self, runs: Sequence[str]) -> Iterator[bytes]:
        """Plain bytes of runs, in order; of many behind a network the small ones are read ahead. NotFound, Corruption."""
        early: set[str] = set()
        if len(runs) > self.store.calls_at_once() > 1:
            sizes = {blob.name: blob.size for blob in self.store.list(RUNS)}
            early = {run for run in runs if sizes.get(run_name(run), 0) <= RUN_AHEAD_BYTES_MAX}
        taken = ahead(self.store, self.load_run, (run for run in runs if run in early))
        for run in runs:
            yield next(taken)[1]() if run in early else self.load_run(run)

    def store_sealed(
        self, object_class: ObjectClass, plain: bytes, name: Callable[[str], str]
    ) -> str:
        """Store a run or manifest; its id."""
        salt = ambient.random_bytes(SALT_BYTES)
        stored = seal_object(self.keys, object_class, self.uuid, salt, plain)
        made = blake3(stored).hexdigest()
        self.store.put_new(name(made), stored)
        return made

    def load_manifest(self, manifest: str) -> ManifestForm:
        """Read and check one manifest."""
        plain = self._load_sealed(ObjectClass.MANIFEST, manifest_name(manifest))
        return decode_manifest(plain, self.id, self.keys.signing_seed)

    def lost_cells(self, listed: Iterable[str], check: CellCheck) -> dict[str, int]:
        """Writers whose cells are lost, and turns that they had, as far as the names `listed` show. See `CellCheck.lost`."""
        state = self.state
        return check.lost(state.cells, state.generation, self.entries.manifests, listed)

    def named_entry(self, ref: EntryRef) -> Entry:
        """
        The entry that a restore point names. It counts, even where a generation dropped it while the point was committed.

        Raises: as `Entries.get`.
        """
        try:
            return self.entries.get(ref)
        except NotFound as error:
            try:
                form = self.load_manifest(ref.manifest)
            except NotFound:
                raise error from None
            if ref.index >= len(form.entries):
                raise
            return Entry(ref, form.created_at, form.entries[ref.index])

    # -- reading ---------------------------------------------------------------------------------

    def catalog(self, entry: Entry, columns: Sequence[str] | None = None) -> "Catalog":
        """Merged rows of an entry, or some columns of them."""
        from repository.catalogs import Catalog

        since = self.state.generation.items_from_ns
        return Catalog.load(entry.form.catalog, self.reader, columns, since)

    def checkpoint(self, entry: Entry) -> bytes | None:
        """The checkpoint stored with an entry."""
        form = entry.form.checkpoint
        return None if form is None else self.reader.read_all(part_from(form))

    def read(self, part: Part) -> Iterator[bytes]:
        """Plain bytes of a part, chunk by chunk, each checked."""
        return self.reader.read(part)

    def read_all(self, part: Part) -> bytes:
        """Plain bytes of a part."""
        return self.reader.read_all(part)

    def points(self, damaged: Damaged | None = None) -> list[PointForm]:
        """
        All restore points that can be read, oldest first; the others are put into `damaged`.

        One that was forgotten is left out, though it goes with the next collection only.
        """
        forgets = read_forgets(self.store, self.keys, self.uuid)
        view = View(forgets, self.state.cells, self.state.generation, ())
        found = self.read_points(kept_points(view), {} if damaged is None else damaged)
        return in_order(found.values())

    def read_points(self, points: Iterable[str], damaged: Damaged) -> dict[str, PointForm]:
        """Restore points by the names of their objects; those that cannot be read are put into `damaged`."""
        return read_points(self.store, self.keys, self.id, self.uuid, points, damaged)

    def point(self, text: str) -> PointForm:
        """The restore point that a POINT argument names."""
        damaged: Damaged = {}
        return resolve_point(self.points(damaged), text, damaged)

    def seal_point(self, draft: PointDraft) -> PointForm:
        """Write the restore point of a job session in a turn of its own, see `WriteSession.seal_point`."""
        with self.write_session() as session:
            return session.seal_point(draft)

    def verify(
        self,
        level: "Level" = "directory",
        progress: "Progress | None" = None,
        rolling: "Rolling | None" = None,
        *,
        everything: bool = False,
    ) -> "VerifyReport":
        """Check what is stored, see `repository.verify`. The state is read anew first."""
        from repository.verify import verify

        self.refresh()
        return verify(self, level, progress, rolling, everything=everything)

    # -- what goes -------------------------------------------------------------------------------

    def forget(self, points: Sequence[str], *, items_from_ns: int | None = None) -> None:
        """
        Ask the next collection to drop restore points, and items created and modified before a time.

        Args:
            points: ids. items_from_ns: since 1970; a collection never takes it back.

        Raises: NotFound: there is no such point. Conflict: one is held.
        """
        from repository.forgets import forget

        forget(self, points, items_from_ns)

    def hold(self, point: str, reason: str) -> None:
        """Keep a restore point whatever is forgotten; it is held when this returns. NotFound."""
        from repository.forgets import hold

        hold(self, point, reason)

    def release(self, point: str) -> None:
        """End the hold of a restore point. NotFound if it is not held."""
        from repository.forgets import release

        release(self, point)

    @property
    def holds(self) -> Mapping[str, str]:
        """Ids of the restore points that are held, and why."""
        return self.state.generation.holds

    def collect(
        self,
        *,
        dry_run: bool = False,
        limits: "CollectLimits | None" = None,
        progress: "CollectProgress | None" = None,
    ) -> "CollectReport":
        """Give back the space of what nothing needs, see `repository.collector`."""
        from repository.collector import Collector

        return Collector(self, limits, progress).run(dry_run=dry_run)

    # -- writing ---------------------------------------------------------------------------------

    def write_session(
        self, identity: str | None = None, scope: str | None = None
    ) -> "WriteSession":
        """
        Begin a write session.

        Args:
            identity: the writer's permanent name; by default one of this machine's command line identities, which is
                free. Conflict if the identity is in use by another process of this machine.
            scope: name or id of the scope that all it stores belongs to. NotFound, ScopeClosed.
        """
        from repository.session import WriteSession

        self.keys = self.keyring.renewed()  # whoever rotated wants new data under the new epoch
        chosen = None if not scope else self.keyring.scope(scope)
        if chosen is not None:
            self.keyring.require_scope_open(chosen.id)
        try:
            writer, lock = self._identity(identity)
        except OSError as error:
            raise state_unusable(self._state_dir, error) from error
        try:
            return WriteSession(self, writer, lock.close, chosen)
        except BaseException:
            lock.close()
            raise

    def is_abandoned(self, writer: str) -> bool:
        """Whether a writer is one of this machine's and no process uses it: its turn will not go on."""
        path = self._state_dir / "identities" / writer
        if not path.is_file():
            return False
        lock = _try_lock(path)
        if lock is None:
            return False
        lock.close()
        return True

    def _identity(self, identity: str | None) -> tuple[WriterId, IO[bytes]]:
        folder = self._state_dir / "identities"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if identity is not None:
            lock = _try_lock(folder / writer_id(identity))
            if lock is None:
                raise Conflict(
                    f"writer {identity} is in use by another process", code="writer-busy"
                )
            return writer_id(identity), lock
        for path in sorted(folder.glob("cli-*")):
            lock = _try_lock(path)
            if lock is not None:
                return writer_id(path.name), lock
        if len(list(folder.iterdir())) >= IDENTITIES_MAX:
            raise Conflict("too many writers run on this machine", code="writer-busy")
        path = folder / f"cli-{secrets.token_hex(8)}"
        lock = _try_lock(path)
        if lock is None:
            raise Conflict("a fresh identity is in use", code="writer-busy")
        return writer_id(path.name), lock


def _missing(error: NotFound) -> Corruption:
    return Corruption(
        f"an object that the repository names is missing: {error}", code="object-missing"
    )


def _try_lock(path: Path) -> IO[bytes] | None:
    """The file of an identity, locked for this process; None if it is in use."""
    file = open(path, "ab")  # noqa: SIM115 - it stays open as long as the lock is held
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def create_repository(
    address: str,
    passphrase: str,
    *,
    places: Places | None = None,
    cost: KdfCost | None = None,
    padding: Padding = "padme",
    parity: Parity | None = None,
    lock: LockForm | None = None,
) -> Repository:
    """
    Make an empty repository at `address` and open it.

    Args:
        parity: whether packs can be repaired from their own bytes; by default on a local disk only.
        lock: how its objects are locked; by default not at all.

    Raises:
        Conflict: something is there. UsageError: the passphrase is too short. Unsupported: the store cannot lock.
    """
    check_passphrase(passphrase)
    initialize(create_store(address), passphrase, cost or KdfCost(), padding, parity, lock)
    return open_repository(address, passphrase, places)


def initialize(
    store: BlobStore,
    passphrase: str,
    cost: KdfCost,
    padding: Padding = "padme",
    parity: Parity | None = None,
    lock: LockForm | None = None,
) -> None:
    """Make an empty repository on a store that is empty."""
    if lock is not None:
        require_lockable(store)
    repository = ambient.random_bytes(16)
    swaps = probe_compare_and_swap(store)
    if parity is None:
        parity = "off" if store.local_folder() is None else "on"
    config = new_config(
        repository.hex(),
        ambient.now(),
        compare_and_swap=swaps,
        padding=padding,
        parity=parity,
        lock=lock,
    )
    held = immutability_of(store, read_config(config, store.describe()))
    store = store if held is None else held.store
    keys = new_key_set(blake3(config).digest())
    found_ring(store, keys, passphrase_key(passphrase, cost=cost), repository)
    if lock is not None:
        require_kept(store, ring_name(1), lock.mode)
    store.put_new(CONFIG, config)  # last: without it there is no repository


def open_repository(
    address: str, credential: Credential, places: Places | None = None
) -> Repository:
    """
    Open the repository at `address`.

    Args:
        credential: passphrase or typed recovery secret, private key of a recipient, or key of a key service.

    Raises:
        NotFound, UsageError: there is none. Denied: no key fits. Unsupported: a newer program's. Corruption.
    """
    return open_on(open_store(address), credential, places or default_places())


def open_on(
    store: BlobStore, credential: Credential, places: Places, *, lenient: bool = False
) -> Repository:
    """
    Open the repository on a store; errors as of `open_repository`.

    Args:
        lenient: go on without runs that cannot be read, to look and to repair. Never to write: what they name seems absent.
    """
    config, keyring = open_keys(store, credential, places)
    return Repository(store, keyring, config, places, lenient=lenient)


def open_keys(
    store: BlobStore, credential: Credential, places: Places
) -> tuple[ConfigForm, Keyring]:
    """Configuration and keys alone: to look at keys and change them, whatever the state is in."""
    stored = store.get(CONFIG)
    config = read_config(stored, store.describe())
    uuid = bytes.fromhex(config.repository)
    held = immutability_of(store, config)
    written = store if held is None else held.store
    keyring = open_keyring(written, credential, uuid, places.state_dir / config.repository)
    if held is not None:
        held.keys = keyring.keys
    if keyring.keys.config_digest != blake3(stored).digest():
        raise Corruption(
            "the config of the repository was changed or damaged: put it back from a copy",
            code="config-corrupt",
        )
    return config, keyring


def probe_compare_and_swap(store: BlobStore) -> bool:
    """Whether of two racing swaps of one object exactly one wins, at creation and at replacement."""
    first = _race(store, None)
    return first is not None and _race(store, first) is not None


def _race(store: BlobStore, expected: str | None) -> str | None:
    """Two writers swap the probe at once: the winner's tag if there is exactly one."""
    won: list[str] = []
    failed: list[BackupError] = []

    def swap(data: bytes) -> None:
        try:
            won.append(store.replace(PROBE, data, expected))
        except Conflict:
            pass
        except BackupError as error:
            failed.append(error)

    racers = [threading.Thread(target=swap, args=(secrets.token_bytes(16),)) for _ in range(2)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    if failed:
        raise failed[0]
    return won[0] if len(won) == 1 else None
