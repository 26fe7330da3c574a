"""
Where every chunk is: a local cache of the runs that the state names.

LMDB holds it (one environment for a path in a process, never across a fork). It is rebuilt from the runs on the store when it
is lost or when the machine went down without closing it; a killed process leaves it whole.
"""

import fcntl
import os
import shutil
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import lmdb

from engine.errors import Unavailable
from engine.frame import Codec, FrameInfo
from engine.ids import ChunkId, ObjectId
from engine.run import Run
from engine.seal import ObjectClass
from repository.ambient import boot_id

MAP_BYTES_MAX = 1 << 38  # sparse; 256 GiB of address space
_CHUNK = struct.Struct("<IIII")  # run number, frame, offset, length
_FRAME_KEY = struct.Struct(">II")
_FRAME = struct.Struct("<32sB16sQIIIIIB32s")
READERS_MAX = 512
READERS_TABLE_BYTES = 64 * 1024  # more than LMDB wants for them
_MARKER = "opened-in-boot"


@dataclass(frozen=True, slots=True)
class Location:
    """Where a chunk's bytes are."""

    pack: ObjectId
    object_class: ObjectClass
    frame: FrameInfo
    offset: int
    length: int


class Index:
    """Chunk id to location over all named runs. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._closed = False
        self._environment = _acquire(folder)
        try:
            self._chunks = self._environment.open_db(b"chunks")
            self._frames = self._environment.open_db(b"frames")
            self._runs = self._environment.open_db(b"runs")
        except lmdb.Error as error:
            _release(folder)
            raise unusable(folder, error) from error

    def close(self) -> None:
        """Let go of the cache; it stays for the next time. A second time does nothing."""
        if not self._closed:
            self._closed = True
            _release(self._folder)

    def sync(self, named: Sequence[str], load: Callable[[str], Run]) -> None:
        """Make the cache hold exactly the named runs; `load` reads one from the store."""
        try:
            self._sync(named, load)
        except lmdb.Error as error:
            raise unusable(self._folder, error) from error

    def _sync(self, named: Sequence[str], load: Callable[[str], Run]) -> None:
        with self._environment.begin(db=self._runs) as transaction:
            held = {bytes(k).decode() for k, _ in transaction.cursor()}
        wanted = set(named)
        if held - wanted:
            self._clear()
            held = set()
        for run in named:
            if run not in held:
                self._add(run, load(run))
                held.add(run)

    def _clear(self) -> None:
        with self._environment.begin(write=True) as transaction:
            for database in (self._chunks, self._frames, self._runs):
                transaction.drop(database, delete=False)

    def _add(self, name: str, run: Run) -> None:
        with self._environment.begin(write=True) as transaction:
            if transaction.get(name.encode(), db=self._runs) is not None:
                return
            number: int = transaction.stat(self._runs)["entries"]
            frames = []
            for ordinal, frame in enumerate(run.frames):
                pack, object_class = run.packs[frame.pack]
                frames.append(
                    (_FRAME_KEY.pack(number, ordinal), _encode(pack, object_class, frame.info))
                )
            chunks = [
                (chunk.chunk, _CHUNK.pack(number, chunk.frame, chunk.offset, chunk.length))
                for chunk in run.chunks
            ]
            transaction.cursor(db=self._frames).putmulti(frames, append=False)
            transaction.cursor(db=self._chunks).putmulti(chunks, overwrite=False)
            transaction.put(name.encode(), _FRAME_KEY.pack(number, len(chunks)), db=self._runs)

    def locate(self, chunk: ChunkId) -> Location | None:
        """Where a chunk is, or None."""
        with self._environment.begin(db=self._chunks) as transaction:
            value = transaction.get(chunk)
            if value is None:
                return None
            number, frame, offset, length = _CHUNK.unpack(value)
            record = transaction.get(_FRAME_KEY.pack(number, frame), db=self._frames)
        if record is None:
            return None
        pack, object_class, info = _decode(record)
        return Location(pack, object_class, info, offset, length)

    def locations(self) -> Iterator[tuple[ChunkId, Location]]:
        """Every chunk with its location, by id."""
        with self._environment.begin() as transaction:
            for chunk, value in transaction.cursor(db=self._chunks):
                number, frame, offset, length = _CHUNK.unpack(value)
                record = transaction.get(_FRAME_KEY.pack(number, frame), db=self._frames)
                assert record is not None, "frames are written with their chunks"
                pack, object_class, info = _decode(record)
                yield ChunkId(bytes(chunk)), Location(pack, object_class, info, offset, length)

    def count(self) -> int:
        """Number of distinct chunks."""
        with self._environment.begin(db=self._chunks) as transaction:
            return int(transaction.stat(self._chunks)["entries"])


def _encode(pack: ObjectId, object_class: ObjectClass, info: FrameInfo) -> bytes:
    return _FRAME.pack(
        bytes.fromhex(pack),
        object_class,
        info.identity,
        info.offset,
        info.stored_bytes,
        info.plain_bytes,
        info.ordinal,
        info.epoch,
        info.dictionary,
        info.codec,
        info.salt,
    )


def _decode(record: bytes) -> tuple[ObjectId, ObjectClass, FrameInfo]:
    pack, object_class, identity, offset, stored, plain, ordinal, epoch, dictionary, codec, salt = (
        _FRAME.unpack(record)
    )
    info = FrameInfo(
        identity, offset, stored, plain, ordinal, epoch, dictionary, Codec(codec), salt
    )
    return ObjectId(pack.hex()), ObjectClass(object_class), info


_open_environments: dict[Path, tuple[lmdb.Environment, int]] = {}
_registry_lock = threading.Lock()


def _acquire(folder: Path) -> lmdb.Environment:
    """One environment for a path in this process, counted."""
    with _registry_lock:
        environment, users = _open_environments.get(folder, (None, 0))
        if environment is None:
            environment = _open(folder)
        _open_environments[folder] = (environment, users + 1)
        return environment


def _release(folder: Path) -> None:
    with _registry_lock:
        environment, users = _open_environments[folder]
        if users > 1:
            _open_environments[folder] = (environment, users - 1)
            return
        del _open_environments[folder]
        try:
            environment.sync(True)
        except lmdb.Error:
            (folder / _MARKER).unlink(missing_ok=True)  # not whole: read from the store again
        environment.close()


def _open(folder: Path) -> lmdb.Environment:
    """
    Open or make the cache.

    Nothing is synced while it is used, so it is only trusted when the machine has not gone down since it was opened:
    the marker keeps the boot in which that was.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(folder.with_name(folder.name + ".lock"), "ab") as lock:
            # two processes that open at once must not take each other's new folder for a stale one
            fcntl.flock(lock, fcntl.LOCK_EX)
            return _open_locked(folder)
    except (OSError, lmdb.Error) as error:
        raise unusable(folder, error) from error


def _open_locked(folder: Path) -> lmdb.Environment:
    marker = folder / _MARKER
    if folder.exists() and (not marker.exists() or marker.read_text() != boot_id()):
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True, mode=0o700)
    marker.write_text(boot_id())
    try:
        return _environment(folder)
    except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError):
        for file in folder.glob("*.mdb"):
            file.unlink()
        return _environment(folder)


def _environment(folder: Path) -> lmdb.Environment:
    with open(folder / "lock.mdb", "ab") as readers:
        # LMDB maps this file and writes to its holes; on a full disk that would end the process (SIGBUS)
        os.posix_fallocate(readers.fileno(), 0, READERS_TABLE_BYTES)
    environment = lmdb.open(
        str(folder),
        map_size=MAP_BYTES_MAX,
        max_dbs=3,
        sync=False,
        metasync=False,
        max_readers=READERS_MAX,
    )
    environment.reader_check()
    return environment


def unusable(folder: Path, error: Exception) -> Unavailable:
    """The cache fails (full disk, no right): one line that says what to do."""
    return Unavailable(
        f"the index cache {folder} cannot be used ({error}): "
        "free some space or choose another --cache-dir",
        code="cache-unavailable",
    )
