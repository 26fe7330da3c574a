"""Verification tells what comes back from what is lost: a repair, or a salvage, then brings back exactly that."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from repository import Places, PointDraft
from repository.blobstore.memory import MemoryStore
from repository.ledger import Level
from repository.packcheck import PackCheck
from repository.repair import verify_and_repair
from repository.repository import initialize, open_on
from repository.salvage import salvage
from repository.verify import REPAIR, SALVAGE, VerifyReport
from tests.fixtures.repositories import CHEAP, PASSPHRASE, OpenRepository, commit_files, object_key
from tests.unit.repository.test_affected import Whole, readable

SEALED = ("pack/", "run/", "manifest/", "point/", "sess/")
Damage = Callable[[bytes], bytes | None]


def flipped(data: bytes) -> bytes:
    return data[:100] + bytes([data[100] ^ 1]) + data[101:]


def spoiled(data: bytes) -> bytes:
    """More than parity makes good; header and trailer stay."""
    return data[:64] + bytes(len(data) - 160) + data[-96:]


def missing(data: bytes) -> None:
    return None


def filled(parity: str) -> MemoryStore:
    """Two objects, three commits, two restore points; three frames in one pack."""
    made = MemoryStore()
    initialize(made, PASSPHRASE, CHEAP, parity=parity)  # type: ignore[arg-type]
    return made


def fill(store: MemoryStore, open_repo: OpenRepository) -> None:
    rng = random.Random(4)
    with open_repo(store) as repository, repository.write_session("w") as session:
        files = {name: rng.randbytes(900_000) for name in "abc"}
        first = commit_files(repository, session, files, object_key("ann"))
        second = commit_files(repository, session, {"d": rng.randbytes(900)}, object_key("bob"))
        session.seal_point(PointDraft("0" * 16, "p", "one", "success", (first.ref, second.ref)))
        third = commit_files(repository, session, {"e": rng.randbytes(900)}, object_key("ann"))
        session.seal_point(PointDraft("1" * 16, "p", "two", "success", (third.ref,)))


def foretold(report: VerifyReport, now: Whole, whole: Whole) -> Whole:
    """What can be read once the remedies were taken, by what a report says of a damaged repository."""
    told = {(lost.object, lost.created_at) for lost in report.lost}
    manifest_comes_back = any(p.remedy for p in report.problems if p.name.startswith("manifest/"))
    items = set(now.items)
    for item in whole.items - now.items:
        if item[:2] not in told:
            items |= {item} if manifest_comes_back else set()
        for lost in report.lost:
            if (lost.object, lost.created_at) == item[:2] and lost.remedy:
                items |= {item} if not lost.items or item[2] in lost.items else set()
    return Whole(whole.points - set(report.points_lost), items)


@pytest.mark.parametrize("parity", ["on", "off"])
@pytest.mark.parametrize("damage", [flipped, spoiled, missing])
def test_what_is_said_to_come_back_comes_back(
    damage: Damage, parity: str, open_repo: OpenRepository, tmp_path: Path
) -> None:
    """Each object but keys damaged in three ways: repair and salvage give what verification says, no more and no less."""
    store = filled(parity)
    fill(store, open_repo)
    objects, whole = dict(store.objects), readable(open_repo(store))
    assert len(whole.items) == 8  # three, one, and four that an entry carries on
    told = set()
    for number, name in enumerate(sorted(n for n in objects if n.startswith(SEALED))):
        store.objects = dict(objects)
        made = damage(objects[name])
        store.objects.pop(name) if made is None else store.objects.update({name: made})
        places = Places(tmp_path / f"c{number}", tmp_path / f"s{number}")
        if name.startswith("sess/") and made is not None:
            continue  # the repository does not open before it is mended
        with open_on(store, PASSPHRASE, places, lenient=True) as repository:
            now = readable(repository)
            report = repository.verify("read")
        assert not report.ok, name
        remedies = {p.remedy for p in report.problems} | {lost.remedy for lost in report.lost}
        told |= remedies
        if SALVAGE in remedies:
            salvage(store, PASSPHRASE, places, force=True)
        verify_and_repair(store, PASSPHRASE, places, "read")
        after = readable(open_repo(store))
        expected = foretold(report, now, whole)
        assert (after.points, after.items) == (expected.points, expected.items), name
    if damage is flipped:  # without parity packs lack it alone
        assert told == ({REPAIR} if parity == "on" else {REPAIR, ""})
    else:
        assert told == ({REPAIR, "", SALVAGE} if damage is missing else {REPAIR, ""})


@pytest.mark.parametrize("level", ["listing", "directory", "scrub", "read"])
def test_of_a_marked_pack_what_opens_is_not_lost(
    level: Level, open_repo: OpenRepository, tmp_path: Path
) -> None:
    """A frame of a marked pack is spoiled, and its directory: only the file in that frame is named, at every level."""
    store = filled("off")
    fill(store, open_repo)
    repository = open_repo(store)
    entry = next(e for e in repository.entries if e.form.object.name == "ann")
    row = repository.catalog(entry).get(b"b")
    assert row is not None
    found = repository.index.find(row.parts[0].chunks[:32])
    place = found.place(found.frames[0])
    name = f"pack/d/{place.pack[:2]}/{place.pack}"
    data = bytearray(store.objects[name])
    data[place.info.offset + 9] ^= 1
    store.objects[name] = bytes(data)
    verify_and_repair(store, PASSPHRASE, Places(tmp_path / "c", tmp_path / "s"), "scrub")
    check = PackCheck(store, repository.keys, repository.uuid)
    for with_directory in (True, False):
        if not with_directory:
            spoilt = bytearray(store.objects[name])
            frames = check.check(name, len(data), scrub=False, decode=False).directory
            assert frames is not None
            last = frames.frames[-1].info
            spoilt[last.offset + last.stored_bytes + 5] ^= 1
            store.objects[name] = bytes(spoilt)
        opened = open_repo(store)
        whole_items = readable(opened).items
        report = opened.verify(level)
        names = {item for lost in report.lost for item in lost.items}
        assert "b" in names
        for lost in report.lost:
            readable_now = {i[2] for i in whole_items if i[:2] == (lost.object, lost.created_at)}
            assert readable_now.isdisjoint(lost.items)
            assert readable_now
            assert not lost.remedy
