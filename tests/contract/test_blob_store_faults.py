"""
Object storage over a faulty way keeps the protocol of repository/blobstore/protocol.py.

A call either gives the right result, or an error that is true: Conflict only if something else is there, Unavailable only if
nothing is promised. See tests/fixtures/http_faults.py for the faults.
"""

import os
from collections.abc import Iterator
from typing import get_args

import pytest

from engine.errors import BackupError, Conflict, NotFound, Throttled, Unavailable, UsageError
from repository import ambient
from repository.blobstore.azure import open_azure
from repository.blobstore.protocol import BlobInfo
from repository.blobstore.remote import Patience, RemoteStore
from repository.blobstore.s3 import open_s3
from tests.fixtures.http_faults import Fault, FaultyWay, at_random, faulty_way, first, no_fault
from tests.fixtures.object_servers import ObjectServer

pytestmark = pytest.mark.slow

QUICK = Patience(
    repetitions_max=4, pause_s=0.01, pause_s_max=0.05, connect_s=2, answer_s=0.15, transfer_s=20
)
PASSING: tuple[Fault, ...] = tuple(f for f in get_args(Fault) if f not in ("none", "403"))
READ_FAULTS = tuple(f for f in PASSING if f not in ("409", "412", "late", "doubled", "none"))
LARGE = os.urandom(1_200_000)
SEED = 20261124


@pytest.fixture(params=["s3", "azure"])
def server(request: pytest.FixtureRequest) -> ObjectServer:
    server: ObjectServer = request.getfixturevalue(
        {"s3": "seaweed", "azure": "azurite"}[request.param]
    )
    return server


@pytest.fixture
def way(server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyWay]:
    with faulty_way(server.port) as way:
        for name, value in server.through(way.port).items():
            monkeypatch.setenv(name, value)
        yield way


def opened(server: ObjectServer, address: str | None = None) -> RemoteStore:
    open_ = open_s3 if server.scheme == "s3" else open_azure
    return open_(address or server.address(), QUICK)


@pytest.fixture
def store(server: ObjectServer, way: FaultyWay) -> RemoteStore:
    return opened(server)


@pytest.mark.parametrize("fault", PASSING)
def test_a_put_counts_once(store: RemoteStore, way: FaultyWay, fault: Fault) -> None:
    """A put that meets a fault is done, by bytes and by spool; others' bytes are refused and change nothing."""
    for name, data in (("small", b"content"), ("large", LARGE), ("empty", b"")):
        way.schedule = first(fault, "PUT")
        if name == "small":
            store.put_new(name, data)
        else:
            with store.spool() as spool:
                spool.write(data)
                spool.put(name)
        way.schedule = first(fault, "PUT")
        with pytest.raises(Conflict) as caught:
            store.put_new(name, b"other")
        assert caught.value.code == "blob-exists"
        for late in way.late:
            late.join()
        way.schedule = no_fault
        assert store.get(name) == data
    assert fault in way.faults


@pytest.mark.parametrize("fault", PASSING)
def test_a_swap_counts_once(store: RemoteStore, way: FaultyWay, fault: Fault) -> None:
    """A swap that meets a fault is done, its tag is that of the content; stale ones are refused; late ones change nothing."""
    tags: list[str | None] = [None]
    for turn in range(3):
        way.schedule = first(fault, "PUT")
        tags.append(store.replace("cell", b"turn %d" % turn, tags[-1]))
        assert store.get_tagged("cell") == (b"turn %d" % turn, tags[-1])
        for stale in tags[:-1]:
            way.schedule = first(fault, "PUT")
            with pytest.raises(Conflict) as caught:
                store.replace("cell", b"stale", stale)
            assert caught.value.code == "blob-changed"
    for late in way.late:
        late.join()
    assert store.get_tagged("cell") == (b"turn 2", tags[-1])


@pytest.mark.parametrize("fault", READ_FAULTS)
def test_reads_are_repeated(store: RemoteStore, way: FaultyWay, fault: Fault) -> None:
    """Reads and listings that meet a fault give what is there; what is absent is absent."""
    store.put_new("a/large", LARGE)
    store.put_new("a/small", b"0123456789")

    def met(method: str = "GET") -> None:
        way.schedule = first(fault, method)

    met()
    assert store.get("a/large") == LARGE
    met()
    assert store.get_range("a/large", 100_000, 900_000) == LARGE[100_000:1_000_000]
    met()
    assert store.get_range("a/small", -3, 2) == b"78"
    met()
    assert store.get_tagged("a/small")[0] == b"0123456789"
    met("HEAD")
    assert store.size("a/large") == len(LARGE)
    met()
    assert list(store.list("a/")) == [BlobInfo("a/large", len(LARGE)), BlobInfo("a/small", 10)]
    met()
    with pytest.raises(NotFound):
        store.get("absent")


@pytest.mark.parametrize("fault", [f for f in PASSING if f not in ("409", "412")])
def test_deletions_are_repeated(
    store: RemoteStore, server: ObjectServer, way: FaultyWay, fault: Fault
) -> None:
    """A deletion that meets a fault is done."""
    store.put_new("waste", b"x")
    way.schedule = first(fault, "DELETE" if server.scheme == "s3" else "POST")
    store.delete("waste")
    assert fault in way.faults
    assert list(store.list("")) == []


def test_refused_rights_are_not_tried_again(store: RemoteStore, way: FaultyWay) -> None:
    """403 ends every call at once: waiting does not help."""
    way.schedule = lambda request: "403"
    for call in (
        lambda: store.get("a"),
        lambda: store.put_new("a", b"x"),
        lambda: store.replace("a", b"x", None),
        lambda: list(store.list("")),
    ):
        way.clear()
        with pytest.raises(BackupError) as caught:
            call()
        assert caught.value.code == "store-denied"
        assert len(way.asked) == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [("503", "store-throttled"), ("refused", "store-unavailable")],
)
def test_patience_ends(store: RemoteStore, way: FaultyWay, fault: Fault, code: str) -> None:
    """A service that stays away is Unavailable, after a bounded number of requests, with nothing of its answers in the text."""
    way.schedule = lambda request: fault
    for call in (
        lambda: store.get("a"),
        lambda: store.put_new("a", b"x"),
        lambda: list(store.list("")),
        lambda: store.delete("a"),
        lambda: store.has("a"),
    ):
        way.clear()
        with pytest.raises(Unavailable) as caught:
            call()
        assert caught.value.code == code
        assert isinstance(caught.value, Throttled) == (fault == "503")
        assert "Code" not in caught.value.message
        assert len(way.asked) <= 20


def test_a_wrong_address_is_told_soon(
    store: RemoteStore, way: FaultyWay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look at a store does not wait as long as later work does."""
    store._patience = Patience()
    way.schedule = lambda request: "refused"
    waited: list[float] = []
    monkeypatch.setattr(ambient, "pause", waited.append)
    with pytest.raises(Unavailable):
        store.has("config")
    assert 0 < sum(waited) < 3


def test_random_faults_never_make_a_wrong_state(
    server: ObjectServer, store: RemoteStore, way: FaultyWay
) -> None:
    """
    A model in memory and the store agree after every call, whatever met it; an Unavailable write is either done or not.
    """
    way.schedule = at_random(SEED, 0.3, tuple(f for f in PASSING if f != "stuck"))
    held: dict[str, bytes] = {}
    for number in range(60):
        name, data = f"x/{number % 7}", b"%d" % number + os.urandom(4)
        try:
            if number % 3:
                expected = store.get_tagged(name)[1] if name in held else None
                store.replace(name, data, expected)
            else:
                store.put_new(name, data)
            held[name] = data
        except Conflict:
            assert name in held
            assert number % 3 == 0
        except Unavailable:
            found = None if name not in [b.name for b in store.list("x/")] else store.get(name)
            assert found in (held.get(name), data)
            if found is not None:
                held[name] = found
    for late in way.late:
        late.join()
    way.schedule = no_fault
    assert {blob.name: store.get(blob.name) for blob in store.list("")} == held


@pytest.mark.parametrize(
    ("status", "refusal", "code"),
    [
        (404, "NoSuchBucket", "bucket-not-found"),
        (404, "ContainerNotFound", "bucket-not-found"),
        (400, "AuthorizationHeaderMalformed", "store-region"),
        (301, "PermanentRedirect", "store-region"),
        (400, "ExpiredToken", "credentials-expired"),
        (401, "InvalidAuthenticationInfo", "credentials-refused"),
        (403, "SignatureDoesNotMatch", "credentials-refused"),
        (403, "AuthenticationFailed", "credentials-refused"),
        (409, "BlobImmutableDueToPolicy", "blob-locked"),
        (501, "NotImplemented", "store-unfit"),
    ],
)
def test_refusals_say_what_to_do(
    store: RemoteStore, way: FaultyWay, status: int, refusal: str, code: str
) -> None:
    """What no waiting mends ends every call at once, with its own code; no object is taken for absent because its bucket is."""
    way.schedule = lambda request: (status, refusal)
    calls = [lambda: store.get("a"), lambda: store.put_new("a", b""), lambda: store.has("a")]
    if code != "blob-locked":
        calls.append(lambda: list(store.list("")))
    for call in calls:
        way.clear()
        with pytest.raises(BackupError) as caught:
            call()
        assert caught.value.code == code
        assert refusal not in caught.value.message
        assert len(way.asked) == 1 or status == 501  # obstore repeats every 5xx of a listing


@pytest.mark.parametrize("server", ["azure"], indirect=True)
def test_a_missing_container(server: ObjectServer, way: FaultyWay) -> None:
    """A container that the account lacks is told from an object that it lacks, by the real service."""
    with pytest.raises(UsageError) as caught:
        opened(server, "az://nosuchcontainer/x").has("config")
    assert caught.value.code == "bucket-not-found"
