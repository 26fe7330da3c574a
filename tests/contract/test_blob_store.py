"""Every blob store keeps the protocol of repository/blobstore/protocol.py; so do limits, traces and faults around one."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import BackupError, Conflict, NotFound, UsageError
from repository.blobstore import local
from repository.blobstore.addresses import create_store, open_store
from repository.blobstore.local import LocalStore
from repository.blobstore.memory import MemoryStore
from repository.blobstore.protocol import BlobStore
from repository.blobstore.remote import RemoteStore
from tests.fixtures.faults import FaultStore
from tests.fixtures.locks import AzureInProcess
from tests.fixtures.object_servers import ObjectServer

RACERS = 8
RACES, RACES_OF_SERVERS = 5, 2  # SeaweedFS takes a second to let the losers go


def no_nameless_files(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: str | Path, flags: int, *more: int, **named: int | None) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "no O_TMPFILE here")
        return real(path, flags, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(local.os, "open", refuse)


LOCAL_KINDS = [
    *("memory", "local", "local-named-spools", "fault-memory", "fault-local"),
    *("limited-local", "traced-local"),
]
SERVERS = {"s3": "seaweed", "azure": "azurite"}  # kind -> fixture
IN_PROCESS = ["azure-wire"]  # verified here and by test_azure_wire.py


@pytest.fixture(
    params=[
        *LOCAL_KINDS,
        *IN_PROCESS,
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in SERVERS),
    ]
)
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> BlobStore:
    kind: str = request.param
    if kind in SERVERS:
        server: ObjectServer = request.getfixturevalue(SERVERS[kind])
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        return create_store(server.address())
    if kind == "azure-wire":
        azure: AzureInProcess = request.getfixturevalue("azure_wire")
        for name, value in azure.server.environment.items():
            monkeypatch.setenv(name, value)
        return create_store(azure.server.address())
    if kind == "limited-local":
        return create_store(f"file://{tmp_path}/store?bandwidth=100G&requests=100000")
    if kind == "traced-local":
        monkeypatch.setenv("STRONGROOM_TRACE", "1")
        return create_store(str(tmp_path / "store"))
    if kind == "local-named-spools":
        no_nameless_files(monkeypatch)
    inner: BlobStore = MemoryStore() if "memory" in kind else LocalStore.create(tmp_path / "store")
    return FaultStore(inner) if kind.startswith("fault") else inner


def race(action: Callable[[int], object]) -> list[int]:
    """Numbers of the racers whose action did not raise Conflict."""
    won: list[int] = []
    broken: list[BaseException] = []
    start = threading.Barrier(RACERS)

    def run(number: int) -> None:
        start.wait()
        try:
            action(number)
        except Conflict:
            return
        except BaseException as error:  # noqa: BLE001 - asserted below
            broken.append(error)
            return
        won.append(number)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(RACERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not broken
    return won


def races(store: BlobStore) -> int:
    return RACES_OF_SERVERS if isinstance(store, RemoteStore) else RACES


def names(store: BlobStore, prefix: str = "") -> list[str]:
    return [blob.name for blob in store.list(prefix)]


def test_put_and_get_give_the_same_bytes(store: BlobStore) -> None:
    """Bytes come back as they were put, the empty object and a large one too."""
    big = os.urandom(3_000_001)
    for name, data in (("a", b""), ("b/c/d", b"x"), ("b/big", big)):
        store.put_new(name, data)
        assert store.get(name) == data
        assert store.size(name) == len(data)


def test_put_new_never_replaces(store: BlobStore) -> None:
    """A second put of a name is a Conflict and changes nothing; nothing else appears."""
    store.put_new("a/b", b"first")
    with pytest.raises(Conflict) as caught:
        store.put_new("a/b", b"second")
    assert caught.value.code == "blob-exists"
    assert store.get("a/b") == b"first"
    assert names(store) == ["a/b"]


def test_of_racing_puts_one_wins(store: BlobStore) -> None:
    """Of writers that create one name at once exactly one succeeds, and its bytes are there, whole."""
    for attempt in range(races(store)):
        name = f"x/{attempt}"
        won = race(lambda n, name=name: store.put_new(name, bytes([n]) * 100_000))  # type: ignore[misc]
        assert len(won) == 1
        assert store.get(name) == bytes(won) * 100_000


def test_of_racing_swaps_one_wins(store: BlobStore) -> None:
    """Of writers that swap one object from the same content exactly one succeeds, at creation and later."""
    tag: str | None = None
    for _ in range(races(store)):
        won = race(lambda n, tag=tag: store.replace("cell", b"%d" % n + os.urandom(9), tag))  # type: ignore[misc]
        assert len(won) == 1
        data, tag = store.get_tagged("cell")
        assert data.startswith(b"%d" % won[0])


def test_swap_needs_the_expected_content(store: BlobStore) -> None:
    """A swap with a stale tag, with absent expected where something is, or with a tag where nothing is, is a Conflict."""
    with pytest.raises(Conflict):
        store.replace("cell", b"x", "0" * 64)
    first = store.replace("cell", b"one", None)
    assert store.get_tagged("cell") == (b"one", first)
    second = store.replace("cell", b"two", first)
    for stale in (None, first, "0" * 64):
        with pytest.raises(Conflict) as caught:
            store.replace("cell", b"three", stale)
        assert caught.value.code == "blob-changed"
    assert store.get_tagged("cell") == (b"two", second)
    assert names(store) == ["cell"]


def test_absent_objects_are_not_found(store: BlobStore) -> None:
    """Every way of reading an absent name, a folder, or a name below an object is NotFound(blob-not-found)."""
    store.put_new("folder/object", b"x")
    for name in ("absent", "folder", "folder/absent", "folder/object/below"):
        for read in (
            store.get,
            store.size,
            store.get_tagged,
            lambda n: store.get_range(n, 0, 1),
        ):
            with pytest.raises(NotFound) as caught:
                read(name)
            assert caught.value.code == "blob-not-found"


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, 3, b"012"),
        (4, 100, b"456789"),
        (10, 5, b""),
        (99, 5, b""),
        (-3, 3, b"789"),
        (-3, 2, b"78"),
        (-99, 4, b"0123"),
        (2, 0, b""),
    ],
)
def test_ranges(store: BlobStore, offset: int, length: int, expected: bytes) -> None:
    """A range is cut at the end of the object; a negative offset counts from it."""
    store.put_new("object", b"0123456789")
    assert store.get_range("object", offset, length) == expected


def test_listing_is_by_prefix_and_in_order(store: BlobStore) -> None:
    """A listing holds exactly the names that begin with the prefix, in order of their bytes, with sizes."""
    all_names = ["a-b", "a.b", "a/b", "a/b-c/d", "a/bc", "a/c/d/e", "b", "config", "pack/d/00/x"]
    for number, name in enumerate(reversed(all_names)):
        store.put_new(name, bytes(number))
    assert names(store) == sorted(all_names)
    for prefix in ("", "a", "a/", "a/b", "a/b-", "a/b/", "pack/d/0", "config/", "zz", "zz/y/"):
        assert names(store, prefix) == sorted(n for n in all_names if n.startswith(prefix))
    assert {blob.name: blob.size for blob in store.list("")}["b"] == 2


def test_a_spool_becomes_an_object_when_it_is_put(store: BlobStore) -> None:
    """Before put nothing is there; after it all bytes are; put is create-only."""
    with store.spool() as spool:
        spool.write(b"one ")
        spool.write(b"")
        spool.write(b"two")
        assert names(store) == []
        spool.put("x/y")
    assert store.get("x/y") == b"one two"
    with store.spool() as spool:
        spool.write(b"other")
        with pytest.raises(Conflict):
            spool.put("x/y")
    assert store.get("x/y") == b"one two"


def test_a_spool_that_is_left_leaves_nothing(store: BlobStore, tmp_path: Path) -> None:
    """A spool left without put, by an error too, leaves no object and no file."""
    with pytest.raises(RuntimeError), store.spool() as spool:  # noqa: PT012
        spool.write(b"lost")
        raise RuntimeError
    with store.spool() as spool:
        spool.write(b"lost")
    assert names(store) == []
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    "name",
    ["", "/", "/etc/passwd", "..", "../x", "a/../b", "a//b", "a/", ".hidden", "a/.b", "A", "a b", "ä",
     "a\0b", "a\n", "a" * 1025],
)  # fmt: skip
def test_bad_names_are_refused(store: BlobStore, name: str, tmp_path: Path) -> None:
    """Names that climb, are absolute, empty, hidden, too long or of other characters are refused by every call."""
    calls: list[Callable[[], object]] = [
        lambda: store.get(name),
        lambda: store.get_range(name, 0, 1),
        lambda: store.get_tagged(name),
        lambda: store.size(name),
        lambda: store.put_new(name, b"x"),
        lambda: store.replace(name, b"x", None),
    ]
    for call in calls:
        with pytest.raises(UsageError) as caught:
            call()
        assert caught.value.code == "bad-blob-name"
    with store.spool() as spool, pytest.raises(UsageError):
        spool.put(name)
    assert names(store) == []


# -- what only the local disk has --------------------------------------------------------------------


def test_local_listing_does_not_climb(tmp_path: Path) -> None:
    """A prefix cannot lead out of the store."""
    store = LocalStore.create(tmp_path / "store")
    (tmp_path / "secret").write_text("x")
    for prefix in ("../", "a/../../", "/etc/"):
        with pytest.raises(UsageError):
            list(store.list(prefix))


def test_local_listing_leaves_out_foreign_files(tmp_path: Path) -> None:
    """Files that no put could have made, unfinished ones and the lock are no objects."""
    store = LocalStore.create(tmp_path / "store")
    store.replace("sess/one", b"x", None)
    for foreign in ("sess/.nfs0001", ".DS_Store", "sess/Thumbs.db", "tmp/left-over"):
        (store.root / foreign).write_bytes(b"x")
    assert names(store) == ["sess/one"]


def test_local_store_without_its_tmp_folder_is_written(tmp_path: Path) -> None:
    """A copy made by a tool that drops empty folders takes writes and swaps."""
    store = LocalStore.create(tmp_path / "store")
    (store.root / "tmp").rmdir()
    store.put_new("a", b"x")
    (store.root / "tmp").rmdir()
    store.replace("cell", b"x", None)
    assert names(store) == ["a", "cell"]


def test_local_failing_writes_leave_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails at sync leaves the old content and no unfinished file."""
    store = LocalStore.create(tmp_path / "store")
    tag = store.replace("cell", b"old", None)

    def fail(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(local.os, "fsync", fail)
    for write in (
        lambda: store.replace("cell", b"new", tag),
        lambda: store.put_new("other", b"new"),
    ):
        with pytest.raises(BackupError) as caught:
            write()
        assert caught.value.code == "store-full"
    assert store.get("cell") == b"old"
    assert names(store) == ["cell"]
    assert list((store.root / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.EROFS, "store-denied"), (errno.EACCES, "store-denied"), (errno.EIO, "store-unavailable"),
     (errno.EDQUOT, "store-full"), (errno.ENOENT, "blob-not-found"), (errno.EEXIST, "blob-exists")],
)  # fmt: skip
def test_operating_system_errors_are_translated(number: int, code: str) -> None:
    """Each error of the disk has the class that says what to do."""
    assert local.translated(OSError(number, os.strerror(number)), "x").code == code


def test_a_local_store_loads_no_driver_of_a_service(tmp_path: Path) -> None:
    """A command on a path does not pay for obstore, boto3 and azure-storage-blob."""
    code = (
        "import sys; from repository.blobstore.addresses import create_store; create_store(sys.argv[1]);"
        "sys.exit(bool({'obstore', 'boto3', 'azure'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "new")], check=True)


def test_addresses(tmp_path: Path) -> None:
    """A path, a file URL; what is not there, not empty or impossible says so; odd paths are paths."""
    store = create_store(str(tmp_path / "a#b [c"))
    store.put_new("config", b"x")
    assert names(open_store(f"file://{tmp_path}/a#b [c")) == ["config"]
    for address, code in (
        ("", "bad-address"),
        ("s3://UPPER/x", "bad-address"),
        ("az://container/a b", "bad-address"),
        ("s3://bucket/x?secret=y", "bad-address"),
        ("s3://bucket/x?endpoint=https://user:password@host", "bad-address"),
        ("az://container/x?region=y", "bad-address"),
        ("s3://bucket/x?endpoint=http://192.0.2.1", "endpoint-insecure"),
        ("s3://bucket/x?endpoint=http://192.0.2.1&bandwidth=1M", "endpoint-insecure"),
        ("s3://bucket/x?bandwidth=fast", "bad-limit"),
        (f"file://{tmp_path}/a?requests=0", "bad-limit"),
        ("//[x", "repository-not-found"),
        (str(tmp_path / ("x" * 300)), "store-unavailable"),
        (str(tmp_path), "repository-not-found"),
    ):
        with pytest.raises(BackupError) as caught:
            open_store(address)
        assert caught.value.code == code
    with pytest.raises(Conflict) as caught_conflict:
        create_store(str(tmp_path))
    assert caught_conflict.value.code == "store-not-empty"


def test_a_deleted_object_is_gone_and_a_second_time_is_no_error(store: BlobStore) -> None:
    """The collector may repeat itself; nothing else is touched."""
    store.put_new("run/a", b"1")
    store.put_new("run/b", b"2")
    store.delete("run/a")
    store.delete("run/a")
    assert names(store, "run/") == ["run/b"]
    with pytest.raises(NotFound):
        store.get("run/a")


def test_spools_of_killed_writers_go_with_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where files have no nameless form: a left one is taken away, one that somebody writes is not."""
    no_nameless_files(monkeypatch)
    store = LocalStore.create(tmp_path / "store")
    left = tmp_path / "store" / "tmp" / "left.spool"
    left.write_bytes(b"half a pack")
    with store.spool() as open_one:
        open_one.write(b"whole")
        assert not left.exists()
        with store.spool():
            pass
        open_one.put("pack/one")
    assert store.get("pack/one") == b"whole"
    assert not list((tmp_path / "store" / "tmp").iterdir())
