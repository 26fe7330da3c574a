"""
Every lock store keeps the protocol of repository/blobstore/locks.py: in memory, S3 (SeaweedFS), Azure.

Azure is the account of this process (fixtures/azure_wire.py), or a real one with STRONGROOM_TEST_AZURE.
"""

import base64
import hashlib
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from azure.core.pipeline.transport import HttpTransport
from azure.storage.blob import generate_container_sas

from engine.errors import Conflict, Denied, Locked, NotFound, Unsupported, UsageError
from repository.blobstore.addresses import create_store
from repository.blobstore.around import Passage, around
from repository.blobstore.azure import open_azure
from repository.blobstore.limited import Limit, Limits
from repository.blobstore.local import LocalStore
from repository.blobstore.locks import (
    BucketState,
    Lock,
    Lockable,
    LockMode,
    LockStore,
    Version,
    lock_store,
)
from repository.blobstore.locks_memory import VersionedMemoryStore
from repository.blobstore.protocol import BlobStore
from repository.blobstore.s3 import open_s3
from repository.blobstore.traced import Trace
from tests.fixtures.azure_blobs import Container, Policy
from tests.fixtures.http_faults import Fault, Request, faulty_way, first
from tests.fixtures.locks import AzureInProcess, Clock, azure_in_process, locked_bucket
from tests.fixtures.object_servers import (
    AZURE_ACCOUNT,
    AZURE_KEY,
    REAL_AZURE,
    ObjectServer,
    s3_environment,
)

KINDS = ["memory", "limited", "traced", "azure", pytest.param("s3", marks=pytest.mark.slow)]
PASSAGES: dict[str, Callable[[], Passage] | None] = {
    "memory": None,
    "limited": lambda: Limit(Limits(10**11, 10**5)),
    "traced": Trace,
}


class Medium:
    """A store with locks, and a way to let time pass."""

    def __init__(
        self, store: BlobStore, wait: Callable[[float], None], *, has_markers: bool = True
    ) -> None:
        assert isinstance(store, Lockable)
        self.has_markers = has_markers
        self.store: BlobStore = store
        self.lockable: Lockable = store
        self.locks: LockStore = lock_store(store)
        self.wait = wait

    def in_seconds(self, seconds: float, mode: LockMode = "compliance") -> Lock:
        until = self.locks.now() + timedelta(seconds=seconds)
        return Lock(mode, until.replace(microsecond=0))

    def locking(self, lock: Lock) -> BlobStore:
        return self.lockable.locking(lambda name: lock if name.startswith("pack/") else None)

    def versions(self, prefix: str = "") -> list[Version]:
        return list(self.locks.versions(prefix))


@pytest.fixture(params=KINDS)
def medium(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Medium:
    if request.param in PASSAGES:
        clock = Clock()
        held = VersionedMemoryStore(clock)
        passage = PASSAGES[request.param]
        return Medium(around(held, passage()) if passage else held, clock.advance)
    if request.param == "azure" and REAL_AZURE in os.environ:
        real: ObjectServer = request.getfixturevalue("azurite")
        return Medium(create_store(real.address()), time.sleep, has_markers=False)
    if request.param == "azure":
        azure: AzureInProcess = request.getfixturevalue("azure_wire")
        use(azure.server, monkeypatch)
        store = create_store(azure.address("locked"))
        return Medium(store, azure.clock.advance, has_markers=False)
    server: ObjectServer = request.getfixturevalue("seaweed")
    use(server, monkeypatch)
    return Medium(create_store(locked_bucket(server)), time.sleep)


def use(server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)


def test_what_is_created_under_the_policy_is_locked(medium: Medium) -> None:
    """Objects are locked from their creation, by bytes, spool and swap, small and large; others are not."""
    lock = medium.in_seconds(3600)
    store = medium.locking(lock)
    large = os.urandom(1_500_000)
    store.put_new("pack/small", b"content")
    with store.spool() as spool:
        spool.write(large)
        spool.put("pack/large")
    store.put_new("other", b"x")
    store.replace("sess/cell", b"x", None)
    tag = store.replace("pack/swapped", b"1", None)
    store.replace("pack/swapped", b"2", tag)
    for version in medium.versions("pack/swapped"):
        assert medium.locks.lock_of("pack/swapped", version.version_id) == lock
    assert medium.locks.lock_of("pack/small") == lock
    assert medium.locks.lock_of("pack/large") == lock
    assert medium.locks.lock_of("other") is None
    assert medium.locks.lock_of("sess/cell") is None
    assert store.get("pack/large") == large
    with pytest.raises(Conflict):
        store.put_new("pack/small", b"others")
    assert len(medium.versions("pack/small")) == 1


@pytest.mark.parametrize("mode", ["compliance", "governance"])
def test_locks_only_grow(medium: Medium, mode: LockMode) -> None:
    """Extending changes what ends earlier, leaves what ends later, locks what was not locked; a mode is never weakened."""
    first, later = medium.in_seconds(3600, mode), medium.in_seconds(7200, mode)
    store = medium.locking(first)
    store.put_new("pack/a", b"1")
    store.put_new("bare", b"2")
    assert medium.locks.extend(["pack/a"], later, least=first) == 0
    assert medium.locks.extend(["pack/a", "bare", "absent"], later, least=later) == 2
    assert medium.locks.extend(["pack/a", "bare"], first) == 0
    assert medium.locks.lock_of("pack/a") == later == medium.locks.lock_of("bare")
    longest = medium.in_seconds(9000, "governance")
    medium.locks.extend(["pack/a"], longest)
    assert medium.locks.lock_of("pack/a") == Lock(mode, longest.until)


@pytest.mark.parametrize("mode", ["compliance", "governance"])
def test_a_locked_version_stays_until_its_end(medium: Medium, mode: LockMode) -> None:
    """It survives deletions, by marker and by version; once the lock has ended it goes with all that lay over it."""
    store = medium.locking(medium.in_seconds(3, mode))
    store.put_new("pack/a", b"kept")
    with pytest.raises(Locked) as caught:
        store.delete("pack/a")
    assert caught.value.code == "blob-locked"
    assert store.get("pack/a") == b"kept"
    medium.store.delete("pack/a")
    with pytest.raises(NotFound):
        store.get("pack/a")
    latest, first = medium.versions("pack/a")
    assert (latest.is_deletion, latest.is_latest) == (True, True)
    assert (first.is_deletion, first.is_latest, first.size) == (False, False, 4)
    assert medium.locks.lock_of("pack/a", first.version_id) is not None
    with pytest.raises(NotFound):
        medium.locks.lock_of("pack/a")
    with pytest.raises(Locked):
        medium.locks.delete_version(first)
    assert medium.locks.read_version(first, 1, 100) == b"ept"
    medium.locks.delete_version(latest)
    if medium.has_markers:
        assert store.get("pack/a") == b"kept"
    else:  # made up where there are none: it tells what is hidden, and stays as long as that
        assert [v.is_deletion for v in medium.versions("pack/a")] == [True, False]
    medium.wait(4.5)
    store.delete("pack/a")
    assert medium.versions("pack/a") == []


def test_versions(medium: Medium) -> None:
    """All versions come by name, of each the latest first, with times of the store; each can be read in ranges."""
    began = medium.locks.now() - timedelta(seconds=2)
    tag = None
    for turn in range(3):
        tag = medium.store.replace("sess/cell", b"turn %d" % turn, tag)
    medium.store.put_new("sess/b", b"")
    found = medium.versions("sess/")
    assert [(v.name, v.size) for v in found] == [("sess/b", 0)] + 3 * [("sess/cell", 6)]
    assert [v.is_latest for v in found] == [True, True, False, False]
    assert [medium.locks.read_version(v, 0, 99) for v in found] == [
        b"",
        b"turn 2",
        b"turn 1",
        b"turn 0",
    ]
    assert medium.locks.read_version(found[-1], 5, 1) == b"0"
    assert medium.locks.read_version(found[-1], 6, 1) == b""
    for version in found:
        assert began <= version.written <= medium.locks.now() + timedelta(seconds=2)
    gone = found[-1]
    medium.locks.delete_version(gone)
    medium.locks.delete_version(gone)
    with pytest.raises(NotFound):
        medium.locks.read_version(gone, 0, 1)
    medium.lockable.locking(lambda name: None).delete("sess/cell")
    assert [v.name for v in medium.versions()] == ["sess/b"]


def test_the_state_of_the_bucket(medium: Medium) -> None:
    """Versions and locks are on, nothing is locked by itself; the store's time is near ours."""
    assert medium.locks.bucket_state() == BucketState(
        versioning=True, object_lock=True, default_lock=False
    )
    assert abs((medium.locks.now() - datetime.now(UTC)).total_seconds()) < 60


@pytest.mark.slow
def test_a_bucket_without_locks_says_so(
    seaweed: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket that was made without Object Lock has neither versions nor locks."""
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)
    state = lock_store(create_store(seaweed.address())).bucket_state()
    assert (state.versioning, state.object_lock) == (False, False)


def test_what_cannot_lock_says_so(tmp_path: Path) -> None:
    """A local folder is Unsupported."""
    with pytest.raises(Unsupported) as caught:
        lock_store(LocalStore.create(tmp_path / "store"))
    assert caught.value.code == "locks-unsupported"


# -- what only Azure does -----------------------------------------------------------------------------


def on_azure(azure: AzureInProcess, monkeypatch: pytest.MonkeyPatch) -> Medium:
    use(azure.server, monkeypatch)
    store = create_store(azure.address("locked"))
    return Medium(store, azure.clock.advance, has_markers=False)


def test_containers_of_azure_tell_what_they_keep(
    azure_wire: AzureInProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locks and a default policy from the container's properties, versions without locks from an object, once there is one."""
    use(azure_wire.server, monkeypatch)
    until = azure_wire.clock() + timedelta(days=9)
    azure_wire.account.containers["default"] = Container(True, True, Policy("locked", until))
    for container, before, after in (
        ("locked", BucketState(True, True, False), BucketState(True, True, False)),
        ("versioned", BucketState(False, False, False), BucketState(True, False, False)),
        ("plain", BucketState(False, False, False), BucketState(False, False, False)),
        ("default", BucketState(True, True, True), BucketState(True, True, True)),
    ):
        store = create_store(azure_wire.address(container))
        assert lock_store(store).bucket_state() == before, container
        store.put_new("config", b"x")
        assert lock_store(store).bucket_state() == after, container
    with pytest.raises(UsageError) as caught:
        lock_store(create_store(azure_wire.address("absent"))).bucket_state()
    assert caught.value.code == "bucket-not-found"


def test_a_shared_access_signature_of_the_container_is_enough(
    azure_wire: AzureInProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`rcwli` writes with locks and extends them, also by a connection string; without `i` what is locked is refused."""
    use(azure_wire.server, monkeypatch)
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    now = datetime.now(UTC)
    for rights, kept in (("rcwli", True), ("rcwl", False)):
        signature = generate_container_sas(
            *(AZURE_ACCOUNT, "locked", AZURE_KEY),
            permission=rights,
            start=now - timedelta(hours=1),
            expiry=now + timedelta(hours=1),
        )
        endpoint = azure_wire.server.environment["AZURE_STORAGE_ENDPOINT"]
        ways = (
            {"AZURE_STORAGE_SAS_TOKEN": f"?{signature}"},
            {
                "AZURE_STORAGE_CONNECTION_STRING": f"BlobEndpoint={endpoint};SharedAccessSignature={signature}"
            },
        )
        for way in ways:
            with monkeypatch.context() as patch:
                for name, value in way.items():
                    patch.setenv(name, value)
                medium = Medium(open_azure(azure_wire.address("locked")), azure_wire.clock.advance)
                lock = medium.in_seconds(3600)
                medium.store.put_new("free", b"x")
                if not kept:
                    with pytest.raises(Denied):
                        medium.locking(lock).put_new("pack/a", b"x")
                    continue
                medium.locking(lock).put_new("pack/a", b"x")
                assert medium.locks.lock_of("pack/a") == lock
                assert medium.locks.extend(["pack/a", "free"], lock) == 1


def test_a_service_that_does_not_hide_what_is_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Microsoft says both, that what is locked can be deleted into a previous version and that it cannot: either is fine."""
    with azure_in_process(refuses_hiding=True) as azure:
        medium = on_azure(azure, monkeypatch)
        store = medium.locking(medium.in_seconds(3))
        store.put_new("pack/a", b"kept")
        for delete in (store.delete, medium.store.delete):
            with pytest.raises(Locked):
                delete("pack/a")
        assert store.get("pack/a") == b"kept"
        medium.wait(4)
        store.delete("pack/a")
        assert medium.versions() == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["lost", "doubled", "refused", "503"])
def test_both_halves_of_a_deletion_survive_a_bad_way(
    azure_wire: AzureInProcess, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    """The latest version becomes a previous one and then goes, whichever of the two answers is lost: nothing stays hidden."""
    monkeypatch.setattr(HttpTransport, "sleep", lambda transport, duration: None)
    with faulty_way(azure_wire.server.port) as way:
        for name, value in azure_wire.server.through(way.port).items():
            monkeypatch.setenv(name, value)
        store = create_store(azure_wire.address("locked"))
        medium = Medium(store, azure_wire.clock.advance, has_markers=False)
        for half in (1, 2):
            medium.store.put_new("a", b"x")
            seen = [0]

            def schedule(request: Request, half: int = half, seen: list[int] = seen) -> Fault:
                seen[0] += request.method == "DELETE"
                return fault if (request.method, seen[0]) == ("DELETE", half) else "none"

            way.schedule = schedule
            medium.lockable.locking(lambda name: None).delete("a")
            assert medium.versions() == []
        assert fault in way.faults


@pytest.mark.parametrize("fault", ["lost", "doubled", "late", "lying-500"])
def test_a_locked_write_counts_once(
    azure_wire: AzureInProcess, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    """Whatever becomes of its answer there is one version, with its lock."""
    with faulty_way(azure_wire.server.port) as way:
        for name, value in azure_wire.server.through(way.port).items():
            monkeypatch.setenv(name, value)
        store = create_store(azure_wire.address("locked"))
        medium = Medium(store, azure_wire.clock.advance, has_markers=False)
        lock = medium.in_seconds(3600)
        way.schedule = first(fault, "PUT")
        medium.locking(lock).put_new("pack/a", b"content")
        for late in way.late:
            late.join()
        assert fault in way.faults
        assert [medium.locks.lock_of(v.name, v.version_id) for v in medium.versions()] == [lock]


def test_a_version_that_was_written_meanwhile_stays(
    azure_wire: AzureInProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleting what was the latest version when it was listed takes that one away and not the one that came since."""
    medium = on_azure(azure_wire, monkeypatch)
    tag = medium.store.replace("cell", b"one", None)
    (first,) = medium.versions("cell")
    medium.store.replace("cell", b"two", tag)
    medium.locks.delete_version(first)
    assert medium.store.get("cell") == b"two"
    assert [v.size for v in medium.versions("cell")] == [3]


# -- what only S3 asks --------------------------------------------------------------------------------


class _Sink(BaseHTTPRequestHandler):
    """Takes every write and keeps its headers."""

    headers_seen: ClassVar[list[dict[str, str]]] = []

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.headers_seen.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def test_a_lock_travels_signed_and_with_a_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Amazon takes a lock only in signed headers and with a checksum of the content; what is not locked carries neither."""
    _Sink.headers_seen.clear()
    with HTTPServer(("127.0.0.1", 0), _Sink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, value in s3_environment(server.server_port).items():
            monkeypatch.setenv(name, value)
        lock = Lock("governance", datetime(2030, 1, 3, tzinfo=UTC))
        store = open_s3("s3://bucket/x").locking(lambda name: lock if name == "pack/a" else None)
        store.put_new("pack/a", b"content")
        store.put_new("other", b"content")
        server.shutdown()
    locked, free = _Sink.headers_seen
    assert locked["x-amz-object-lock-mode"] == "GOVERNANCE"
    assert locked["x-amz-object-lock-retain-until-date"] == "2030-01-03T00:00:00Z"
    digest = base64.b64encode(hashlib.sha256(b"content").digest()).decode()
    assert locked["x-amz-checksum-sha256"] == digest
    signed = locked["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert {name for name in locked if name.startswith("x-amz-")} <= set(signed)
    assert locked["if-none-match"] == "*"
    assert not [name for name in free if "lock" in name or "checksum" in name]
