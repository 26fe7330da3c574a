"""Scopes: keys of one organization in a shared repository, with them, without, and after they were destroyed."""

import random
from pathlib import Path

import pytest

from engine.checkedjson import decode_checked
from engine.errors import (
    BackupError,
    Conflict,
    Denied,
    NotFound,
    ScopeClosed,
    Unavailable,
    Unsupported,
    UsageError,
)
from engine.keyring import RingForm
from repository import Places, PointDraft, Repository, new_point_id
from repository.blobstore.memory import MemoryStore
from repository.collector import CollectLimits
from repository.keyservice import FileKeyService
from repository.repository import initialize
from repository.scopes import (
    add_scope,
    attach_scope,
    destroy_scope,
    point_state,
    scope_contents,
    scope_state,
)
from repository.unlocking import passphrase_key
from repository.unlocking import service_key as key_of_service
from tests.fixtures.crash import clone
from tests.fixtures.faults import FaultStore
from tests.fixtures.repositories import (
    CHEAP,
    PASSPHRASE,
    OpenRepository,
    commit_files,
    contents,
    object_key,
)
from tests.fixtures.scopes import CONTOSO, FABRIKAM, Kept, put, service_key, with_scopes

SECOND = "second passphrase"
NOW = CollectLimits(wait_s=0.0, poll_s=0.01)


def noise(seed: int, size: int = 200_000) -> bytes:
    return random.Random(seed).randbytes(size)


def same_files(name: str) -> dict[str, bytes]:
    """The same contents in every scope, and one that is its own."""
    return {"same": noise(1), "own": f"of {name}".encode() * 50}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kms"


@pytest.fixture
def kept(repository: Repository, folder: Path) -> Kept:
    """Two scopes and what is in none, written by this machine, which was told of both keys."""
    repository.keyring.add(passphrase_key(SECOND, cost=CHEAP))
    return with_scopes(repository, folder, same_files)


def destroy(repository: Repository, folder: Path, name: str) -> None:
    scope = repository.keyring.scope(name)
    destroy_scope(repository.keyring, scope, service_key(folder, name.lower()))


def files_of(repository: Repository, point: str) -> dict[str, bytes]:
    (entry,) = repository.point(point).entries
    return contents(repository, repository.named_entry(entry.entry))


def codes(repository: Repository, kept: Kept) -> dict[str, str]:
    """By scope: empty if its restore point gives back what was put there, else the code of the error."""
    found = {}
    for name, point in kept.points.items():
        try:
            assert files_of(repository, point) == kept.files[name]
            found[name] = ""
        except BackupError as error:
            found[name] = error.code
    return found


def epochs_of(repository: Repository) -> dict[str, set[int]]:
    """Of every pack the epochs of its frames, as the index says."""
    found: dict[str, set[int]] = {}
    for number in range(1, repository.keys.next_epoch):
        for pack in repository.index.packs_sealed_in({number}):
            found.setdefault(pack, set()).add(number)
    return found


def test_each_scope_is_sealed_and_named_by_its_own_keys(
    store: MemoryStore, repository: Repository, kept: Kept
) -> None:
    """The same content lies in the repository once for each scope, under its epoch; everything restores."""
    assert codes(repository, kept) == {FABRIKAM: "", CONTOSO: "", "": ""}
    ring = repository.keyring.ring
    assert {s.name: s.epoch for s in ring.key_set.scopes.values()} == {FABRIKAM: 2, CONTOSO: 3}
    assert sorted(next(iter(e)) for e in epochs_of(repository).values()) == [1, 1, 2, 2, 3, 3]
    assert repository.index.chunk_bytes() > 3 * len(noise(1))
    assert repository.keys.newest_epoch == 1  # what all can open
    assert repository.verify("drill").ok
    repository.keyring.rotate()
    assert repository.keyring.keys.newest_epoch == 4  # numbers of scopes are not used again
    before = repository.index.count()
    put(repository, FABRIKAM, kept.files[FABRIKAM])
    more = repository.index.count() - before
    assert more < 4  # its own content is found again: a new catalog, a checkpoint


def test_a_machine_without_the_key_reads_the_rest(
    store: MemoryStore, repository: Repository, kept: Kept, folder: Path, open_repo: OpenRepository
) -> None:
    """It lists, verifies and says what is closed; once it is told where the key is, it reads."""
    other = open_repo(store)
    assert codes(other, kept) == {FABRIKAM: "scope-closed", CONTOSO: "scope-closed", "": ""}
    states = {p.name: point_state(other, p) for p in other.points()}
    assert states == {FABRIKAM: "closed", CONTOSO: "closed", "shared": ""}
    report = other.verify("drill")
    assert (report.ok, [(c.name, c.state, c.points) for c in report.closed]) == (
        True,
        [(n, "closed", [kept.points[n]]) for n in (CONTOSO, FABRIKAM)],
    )
    assert report.closed_frames > 3
    with pytest.raises(ScopeClosed):
        other.write_session("v", FABRIKAM)
    attach_scope(other.keyring, service_key(folder, "fabrikam"))
    assert codes(other, kept) == {FABRIKAM: "", CONTOSO: "scope-closed", "": ""}
    assert [c.name for c in other.verify("read").closed] == [CONTOSO]
    with pytest.raises(NotFound):
        attach_scope(other.keyring, service_key(folder, "nobody"))


def test_a_machine_is_told_once(
    store: MemoryStore,
    repository: Repository,
    kept: Kept,
    places: Places,
    open_repo: OpenRepository,
    folder: Path,
) -> None:
    """Where the keys are is remembered in the state folder; a folder that is away closes the scope."""
    again = open_repo(store, places)
    assert codes(again, kept) == {FABRIKAM: "", CONTOSO: "", "": ""}
    told = (places.state_dir / repository.id / "scopes.json").read_text()
    assert str(folder / "fabrikam") in told
    folder.rename(folder.with_name("elsewhere"))
    assert codes(open_repo(store, places), kept)[FABRIKAM] == "scope-closed"


def test_a_shredded_scope_is_gone_and_nothing_else(
    store: MemoryStore, repository: Repository, kept: Kept, folder: Path, open_repo: OpenRepository
) -> None:
    """Its points show as shredded, a verification finds no damage, the others restore byte for byte, the name is free again."""
    held = scope_contents(repository, repository.keyring.scope(FABRIKAM))
    assert (held.points, held.objects, held.items) == ([kept.points[FABRIKAM]], 1, 2)
    destroy(repository, folder, FABRIKAM)
    for other in (repository, open_repo(store)):
        attach_scope(other.keyring, service_key(folder, "contoso"))
        assert codes(other, kept) == {FABRIKAM: "scope-shredded", CONTOSO: "", "": ""}
        assert [point_state(other, p) for p in other.points()] == ["shredded", "", ""]
        for level in ("listing", "directory", "read", "drill"):
            report = other.verify(level)
            assert (report.ok, report.lost, report.points_affected) == (True, [], [])
            assert [(c.name, c.state) for c in report.closed] == [(FABRIKAM, "shredded")]
        with pytest.raises(NotFound):
            other.keyring.scope(FABRIKAM)
    with pytest.raises(Denied) as caught:
        add_scope(repository.keyring, FABRIKAM, service_key(folder, "fabrikam"))
    assert caught.value.code == "key-service-destroyed"
    add_scope(repository.keyring, FABRIKAM, service_key(folder, "fabrikam-2"))
    put(repository, FABRIKAM, {"new": b"begun anew"})
    assert codes(repository, kept)[FABRIKAM] == "scope-shredded"


def test_what_was_copied_before_opens_nothing(
    store: MemoryStore, repository: Repository, kept: Kept, folder: Path, open_repo: OpenRepository
) -> None:
    """All of the store, old rings too, put back: every passphrase opens it, and nothing of the scope."""
    before = clone(store)
    destroy(repository, folder, FABRIKAM)
    for passphrase in (PASSPHRASE, SECOND):
        machine = open_repo(clone(before), credential=passphrase)
        attach_scope(machine.keyring, service_key(folder, "contoso"))
        assert codes(machine, kept) == {FABRIKAM: "scope-closed", CONTOSO: "", "": ""}
        with pytest.raises(ScopeClosed) as caught:
            attach_scope(machine.keyring, service_key(folder, "fabrikam"))
        assert caught.value.code == "scope-shredded"
        scope = machine.keyring.scope(FABRIKAM)
        assert scope.wrapped  # the ring has what the destroyed key alone would open
        assert scope.epoch not in machine.keyring.ring.key_set.epochs


@pytest.mark.parametrize("shred", [False, True])
def test_forgotten_points_of_a_closed_scope(
    store: MemoryStore,
    repository: Repository,
    kept: Kept,
    folder: Path,
    open_repo: OpenRepository,
    shred: bool,
) -> None:
    """
    A collection without the key keeps all of a closed scope, though no point names it; of a shredded one nothing is left.
    """
    if shred:
        destroy(repository, folder, FABRIKAM)
    collecting = open_repo(store)
    scoped = collecting.index.packs_sealed_in({2})
    collecting.collect(limits=NOW)
    assert collecting.index.packs_sealed_in({2}) == scoped  # a point names it
    collecting.forget([kept.points[FABRIKAM]])
    collecting.collect(limits=NOW)
    stored = {blob.name.rpartition("/")[2] for blob in store.list("pack/")}
    assert stored.isdisjoint(scoped) if shred else scoped <= stored
    assert collecting.verify("read").ok
    entry = next(iter(collecting.entries.heads("user", FABRIKAM, "files")), None)
    assert (entry is None) == shred
    reading = open_repo(store)
    attach_scope(reading.keyring, service_key(folder, "contoso"))
    if not shred:
        attach_scope(reading.keyring, service_key(folder, "fabrikam"))
        assert entry is not None
        assert contents(reading, reading.entries.get(entry.ref)) == kept.files[FABRIKAM]
    assert codes(reading, kept) == {FABRIKAM: "point-not-found", CONTOSO: "", "": ""}


@pytest.mark.parametrize("has_key", [False, True])
def test_compaction_moves_frames_of_a_scope_as_they_are(
    store: MemoryStore,
    repository: Repository,
    kept: Kept,
    folder: Path,
    open_repo: OpenRepository,
    has_key: bool,
) -> None:
    """
    With the key and without: what is copied stays under the epoch of its scope, restores, and goes with its key.

    With the key what is not needed goes; a second collection finds nothing to copy.
    """
    names = [f"{n:02d}" for n in range(12)]
    for number, name in enumerate(names):  # small packs, which are made one
        put(repository, FABRIKAM, {name: noise(100 + number, 70_000)})
    collecting = repository if has_key else open_repo(store)
    copied = collecting.collect(limits=NOW)
    assert copied.copied_packs > 8
    again = collecting.collect(limits=NOW)
    assert again.copied_packs == 0
    assert 2 in {epoch for epochs in epochs_of(collecting).values() for epoch in epochs}
    reading = open_repo(store)
    for name in ("fabrikam", "contoso"):
        attach_scope(reading.keyring, service_key(folder, name))
    assert codes(reading, kept) == {FABRIKAM: "", CONTOSO: "", "": ""}
    newest = reading.points()[-1]
    assert files_of(reading, newest.id)["11"] == noise(111, 70_000)
    assert reading.verify("read").ok
    destroy(reading, folder, FABRIKAM)
    with pytest.raises(ScopeClosed):
        files_of(reading, newest.id)


def test_a_frame_of_a_scope_is_never_taken_apart(
    store: MemoryStore, repository: Repository, kept: Kept, folder: Path, open_repo: OpenRepository
) -> None:
    """A little of one frame is needed: it is copied whole under its own key, and none of its chunks under another."""
    first = put(repository, CONTOSO, {f"{n:02d}": noise(300 + n, 30_000) for n in range(60)})
    with repository.write_session("w", CONTOSO) as writer:  # one file of them is left
        head = repository.entries.heads("user", CONTOSO, "files")[0]
        slice_ = writer.open_slice(object_key(CONTOSO), "files", "s", parents=(head.ref,))
        row = repository.catalog(head).get(b"03")
        assert row is not None
        slice_.advance([row], b"mark")
        slice_.finish()
        commit = writer.commit()
        assert commit is not None
        draft = PointDraft(new_point_id(), CONTOSO, "s", "success", (commit.entries[slice_],))
        last = writer.seal_point(draft).id
    (chunk,) = {bytes(part.chunks[:32]) for part in row.parts}
    repository.forget([first, kept.points[CONTOSO]])
    report = repository.collect(limits=NOW)
    assert (report.copied_packs, repository.collect(limits=NOW).copied_packs) == (1, 0)
    assert files_of(repository, last) == {"03": noise(303, 30_000)}
    assert chunk in split(repository.index.ids_sealed_in({3}))
    assert chunk not in split(repository.index.ids_sealed_in({1, 2}))
    assert len(split(repository.index.ids_sealed_in({3}))) > 10  # the rest of its frame came along
    destroy(repository, folder, CONTOSO)
    with pytest.raises(ScopeClosed):
        files_of(repository, last)


def split(ids: bytes) -> set[bytes]:
    return {ids[at : at + 32] for at in range(0, len(ids), 32)}


def test_a_writer_that_began_before_the_shredding_commits_nothing(
    store: MemoryStore, repository: Repository, kept: Kept, folder: Path, open_repo: OpenRepository
) -> None:
    """It is told why; what it had committed before is shredded like the rest; writers elsewhere go on."""
    other = open_repo(store)
    attach_scope(other.keyring, service_key(folder, "fabrikam"))
    with other.write_session("late", FABRIKAM) as late, repository.write_session("w") as writer:
        commit_files(other, late, {"before": b"b"}, object_key(FABRIKAM))
        slice_ = late.open_slice(object_key("x"), "files", "s")
        slice_.finish()
        destroy(repository, folder, FABRIKAM)
        manifests = sorted(blob.name for blob in store.list("manifest/"))
        with pytest.raises(ScopeClosed) as caught:
            late.commit()
        assert caught.value.code == "scope-shredded"
        assert sorted(blob.name for blob in store.list("manifest/")) == manifests
        with pytest.raises(ScopeClosed):
            late.commit()
        commit_files(repository, writer, {"after": b"a"}, object_key("shared"))
    assert repository.verify("read").ok
    assert other.refresh().manifests == repository.refresh().manifests


def test_a_commit_that_overtakes_the_shredding_is_shredded(
    store: MemoryStore, repository: Repository, kept: Kept, folder: Path, open_repo: OpenRepository
) -> None:
    """Between the writer's last look and the swap of its cell: what it commits is whole, and as unreadable as the rest."""
    between = FaultStore(store)
    other = open_repo(between)
    attach_scope(other.keyring, service_key(folder, "fabrikam"))

    def shred(operation: str, name: str) -> None:
        if operation == "put_new" and name.startswith("manifest/"):
            between.on_operation = lambda operation, name: None
            destroy(repository, folder, FABRIKAM)

    with other.write_session("late", FABRIKAM) as late:
        between.on_operation = shred
        entry = commit_files(other, late, {"late": b"l"}, object_key(FABRIKAM))
        with pytest.raises(ScopeClosed):
            late.seal_point(PointDraft(new_point_id(), "late", "s", "success", (entry.ref,)))
    assert codes(open_repo(store), kept) == {
        FABRIKAM: "scope-shredded",
        CONTOSO: "scope-closed",
        "": "",
    }
    assert repository.verify("read").ok
    repository.forget([kept.points[FABRIKAM]])
    repository.collect(limits=NOW)
    assert repository.entries.heads("user", FABRIKAM, "files") == []
    assert repository.index.packs_sealed_in({2}) == set()


def test_the_service_key_alone_stops_writers(
    repository: Repository, kept: Kept, folder: Path
) -> None:
    """Destroyed at the service by its owner: the next commit is refused before any ring says so; `destroy` notes it then."""
    with repository.write_session("w", FABRIKAM) as writer:
        slice_ = writer.open_slice(object_key("x"), "files", "s")
        slice_.finish()
        FileKeyService(folder).destroy("fabrikam")
        with pytest.raises(ScopeClosed) as caught:
            writer.commit()
        assert caught.value.code == "scope-shredded"
    scope = repository.keyring.scope(FABRIKAM)
    assert scope_state(repository.keyring, scope)[0] == "closed"
    destroy(repository, folder, FABRIKAM)
    assert codes(repository, kept)[FABRIKAM] == "scope-shredded"


def test_an_object_does_not_change_its_scope_unnoticed(
    repository: Repository, kept: Kept, folder: Path
) -> None:
    """What is kept in a scope is refused elsewhere; what was in none begins anew in one; so does what was shredded."""
    heads = repository.entries.heads("user", FABRIKAM, "files")
    for scope in ("", CONTOSO):
        with repository.write_session("w", scope) as writer:
            with pytest.raises(UsageError) as caught:
                writer.scope.ground(heads)
            assert caught.value.code == "scope-mixed"
            with pytest.raises(UsageError):
                writer.open_slice(object_key(FABRIKAM), "files", "s", previous=heads[0])
    with repository.write_session("w", FABRIKAM) as writer:
        assert writer.scope.ground(heads) == heads[0]
        outside = repository.entries.heads("user", "shared", "files")
        assert writer.scope.ground(outside) is None
        with pytest.raises(UsageError):
            writer.open_slice(object_key("shared"), "files", "s", previous=outside[0])
    destroy(repository, folder, FABRIKAM)
    with repository.write_session("w") as writer:
        assert writer.scope.ground(heads) is None


def test_programs_before_scopes_refuse(
    store: MemoryStore, repository: Repository, kept: Kept, folder: Path
) -> None:
    """A ring with scopes needs a newer program, also after they are shredded; one without is as it always was."""
    for scope in (FABRIKAM, CONTOSO):
        name = max(n for n in store.objects if n.startswith("keys/"))
        with pytest.raises(Unsupported):
            decode_checked(store.objects[name], RingForm, "key-corrupt", "the key ring")
        destroy(repository, folder, scope)
    fresh = MemoryStore()
    initialize(fresh, PASSPHRASE, CHEAP)
    stored = fresh.objects["keys/0000000001-a"]
    assert decode_checked(stored, RingForm, "key-corrupt", "the key ring").strongroom == 1


def test_a_service_key_wraps_one_thing(repository: Repository, kept: Kept, folder: Path) -> None:
    """Names are not given twice, and a key that ends a scope ends nothing else of the repository."""
    for name, service, code in (
        (FABRIKAM, "third", "scope-exists"),
        ("Third", "fabrikam", "scope-service-shared"),
        ("", "third", "scope-name"),
        ("a\nb", "third", "scope-name"),
    ):
        with pytest.raises((Conflict, UsageError)) as caught:
            add_scope(repository.keyring, name, service_key(folder, service))
        assert caught.value.code == code
    assert not (folder / "third.key").exists()
    with pytest.raises(Conflict):
        repository.keyring.add(key_of_service(service_key(folder, "fabrikam")))


# -- the key service ---------------------------------------------------------------------------------


def test_a_destroyed_key_stays_destroyed(tmp_path: Path) -> None:
    """No version opens, none is made under its name; once more does nothing; what is missing is not destroyed."""
    service = FileKeyService(tmp_path)
    service.make("k")
    service.make("k")
    path = tmp_path / "k.key"
    before, wrapped = path.read_bytes(), service.wrap("k", bytes(32))
    service.destroy("k")
    first = path.read_bytes()
    service.destroy("k")
    assert path.read_bytes() == first != before
    for call in (
        lambda: service.unwrap("k", wrapped),
        lambda: service.wrap("k", bytes(32)),
        lambda: service.make("k"),
    ):
        with pytest.raises(Denied) as caught:
            call()
        assert caught.value.code == "key-service-destroyed"
    with pytest.raises(Unavailable):
        service.destroy("missing")
    assert list(tmp_path.iterdir()) == [path]


def test_a_destruction_that_was_cut_off_is_finished(tmp_path: Path) -> None:
    """Overwritten and not yet replaced, the key opens nothing, and the next attempt ends it."""
    service = FileKeyService(tmp_path)
    service.make("k")
    path = tmp_path / "k.key"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(BackupError):
        service.unwrap("k", bytes(60))
    service.destroy("k")
    with pytest.raises(Denied):
        service.wrap("k", bytes(32))
