"""What a machine does with packs of scopes whose keys it does not have: repair, salvage; and copies into another repository."""

import random
from pathlib import Path

import pytest

from engine.errors import NotFound, ScopeClosed, Unsupported
from repository import PointDraft, Repository, new_point_id
from repository.blobstore.memory import MemoryStore
from repository.copying import CopyReport, copy_points
from repository.copying_check import check_copy
from repository.copying_plan import Plan, Selection, plan_copy
from repository.repair import verify_and_repair
from repository.repository import initialize
from repository.salvage import salvage
from repository.scopes import add_scope, attach_scope, destroy_scope, point_state
from repository.settings import Places
from tests.fixtures.repositories import CHEAP, PASSPHRASE, OpenRepository, commit_files, object_key
from tests.fixtures.scopes import CONTOSO, FABRIKAM, Kept, put, service_key, with_scopes
from tests.unit.repository.test_scopes import files_of


def files(name: str) -> dict[str, bytes]:
    return {f"{n}": random.Random(f"{name} {n}").randbytes(50_000) for n in range(20)}


@pytest.fixture
def store() -> MemoryStore:
    """A repository with parity."""
    made = MemoryStore()
    initialize(made, PASSPHRASE, CHEAP, parity="on")
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kms"


@pytest.fixture
def kept(repository: Repository, folder: Path) -> Kept:
    return with_scopes(repository, folder, files)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Places:
    """A machine that has no key of a scope."""
    return Places(tmp_path / "elsewhere/cache", tmp_path / "elsewhere/state")


def assert_all_there(
    store: MemoryStore, kept: Kept, folder: Path, open_repo: OpenRepository
) -> None:
    with open_repo(store) as reading:
        for name in (FABRIKAM, CONTOSO):
            attach_scope(reading.keyring, service_key(folder, name.lower()))
        for name, point in kept.points.items():
            assert files_of(reading, point) == kept.files[name]
        assert reading.verify("drill").ok


def packs_of(repository: Repository, epoch: int) -> list[str]:
    packs = repository.index.packs_sealed_in({epoch})
    return sorted(b.name for b in repository.store.list("pack/d/") if b.name[-64:] in packs)


def test_parity_repairs_what_nobody_here_can_read(
    store: MemoryStore, repository: Repository, kept: Kept, folder: Path, elsewhere: Places,
    open_repo: OpenRepository,
) -> None:  # fmt: skip
    """Flipped bytes of a pack of a closed scope are found by its hash and put back by its parity."""
    (name,) = packs_of(repository, 2)
    whole = store.objects[name]
    store.objects[name] = whole[:90_000] + bytes(300) + whole[90_300:]
    report, found = verify_and_repair(store, PASSPHRASE, elsewhere, "read")
    assert [r.name for r in report.repaired] == [name]
    assert found is not None
    assert found.ok
    assert store.objects[name] == whole
    assert_all_there(store, kept, folder, open_repo)


def test_a_damaged_pack_of_a_closed_scope_is_told(
    store: MemoryStore, repository: Repository, kept: Kept, folder: Path, open_repo: OpenRepository
) -> None:
    """Its entry is named as damaged, though not which items; once shredded it is nobody's loss."""
    (name,) = packs_of(repository, 2)
    del store.objects[name]
    other = open_repo(store)
    found = other.verify("read")
    assert not found.ok
    assert [(lost.object, lost.points) for lost in found.lost] == [
        (FABRIKAM, (kept.points[FABRIKAM],))
    ]
    destroy_scope(
        repository.keyring, repository.keyring.scope(FABRIKAM), service_key(folder, "fabrikam")
    )
    found = open_repo(store).verify("read")
    assert (found.lost, found.points_affected) == ([], [])
    assert [problem.name for problem in found.problems] == [name]  # of the store, all the same


def test_lost_runs_are_made_again_without_the_keys(
    store: MemoryStore, repository: Repository, kept: Kept, folder: Path, elsewhere: Places,
    open_repo: OpenRepository,
) -> None:  # fmt: skip
    """Directories of packs are under the shared keys."""
    for blob in list(store.list("run/")):
        del store.objects[blob.name]
    report, found = verify_and_repair(store, PASSPHRASE, elsewhere, "directory")
    assert len(report.runs_lost) == 3
    assert found is not None
    assert found.ok
    assert_all_there(store, kept, folder, open_repo)


def test_salvage_without_the_keys(
    store: MemoryStore, repository: Repository, kept: Kept, folder: Path, elsewhere: Places,
    open_repo: OpenRepository,
) -> None:  # fmt: skip
    """Cells and runs are lost: all comes back from manifests and directories, which the shared keys open."""
    for name in [*store.list("run/"), *store.list("sess/")]:
        del store.objects[name.name]
    report = salvage(store, PASSPHRASE, elsewhere, force=True)
    assert (report.manifests_taken_in, report.points_taken_in) == (3, 3)
    assert_all_there(store, kept, folder, open_repo)


# -- backup copy -------------------------------------------------------------------------------------


@pytest.fixture
def target(open_repo: OpenRepository) -> Repository:
    made = MemoryStore()
    initialize(made, PASSPHRASE, CHEAP)
    return open_repo(made)


def copy(source: Repository, target: Repository) -> tuple[Plan, CopyReport]:
    plan = plan_copy(source, target, Selection())
    return plan, copy_points(source, target, plan)


def test_a_copy_has_scopes_of_its_own(
    repository: Repository, kept: Kept, folder: Path, target: Repository
) -> None:
    """What is in a scope goes into that of the same name, which must be there; shredding one side leaves the other."""
    with pytest.raises(NotFound) as caught:
        copy(repository, target)
    assert caught.value.code == "scope-not-found"
    assert target.points() == []
    for name in (FABRIKAM, CONTOSO):
        add_scope(target.keyring, name, service_key(folder / "target", name.lower()))
    plan, report = copy(repository, target)
    assert (len(report.points), report.problems, plan.closed) == (3, [], {})
    assert check_copy(repository, target, list(kept.points.values())).problems == []
    put(repository, FABRIKAM, {"more": b"m" * 5000})
    _, again = copy(repository, target)
    assert again.bytes_read == 5000  # on top of the copy before
    assert target.index.packs_sealed_in({2})
    destroy_scope(
        target.keyring, target.keyring.scope(FABRIKAM), service_key(folder / "target", "fabrikam")
    )
    states = {p.name: point_state(target, p) for p in target.points()}
    assert states == {FABRIKAM: "shredded", CONTOSO: "", "shared": ""}
    assert files_of(repository, kept.points[FABRIKAM]) == kept.files[FABRIKAM]


def test_what_is_closed_is_left_out_of_a_copy_and_named(
    store: MemoryStore, repository: Repository, kept: Kept, folder: Path, target: Repository,
    open_repo: OpenRepository,
) -> None:  # fmt: skip
    """A machine without a key copies the rest; nothing of a scope comes under other keys."""
    other = open_repo(store)
    attach_scope(other.keyring, service_key(folder, "contoso"))
    add_scope(target.keyring, CONTOSO, service_key(folder / "target", "contoso"))
    add_scope(target.keyring, FABRIKAM, service_key(folder / "target", "fabrikam"))
    plan, report = copy(other, target)
    assert list(plan.closed) == [kept.points[FABRIKAM]]
    assert [p.name for p in report.points] == [CONTOSO, "shared"]
    with pytest.raises(ScopeClosed):
        copy(repository, open_repo(target.store))  # there it is the copy's scope that is closed


def test_a_restore_point_of_several_scopes_is_not_copied(
    repository: Repository, kept: Kept, target: Repository
) -> None:
    """Refused, not half done."""
    heads = [repository.entries.heads("user", name, "files")[0] for name in (FABRIKAM, "shared")]
    with repository.write_session("w") as session:
        entry = commit_files(repository, session, {"x": b"x"}, object_key("x"))
        refs = tuple(one.ref for one in (*heads, entry))
        session.seal_point(PointDraft(new_point_id(), "mixed", "s", "success", refs))
    for name in (FABRIKAM, CONTOSO):
        add_scope(target.keyring, name, service_key(Path(str(target.scratch)) / "kms", name))
    with pytest.raises(Unsupported):
        plan_copy(repository, target, Selection())
