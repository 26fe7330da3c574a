"""Rolling checks: what was looked at longest ago comes first, within the budget, and everything in the end."""

from datetime import timedelta
from pathlib import Path

import pytest

from repository import Places
from repository.blobstore.memory import MemoryStore
from repository.ledger import NEVER, Ledger, Rolling
from repository.scrub import scrub
from tests.fixtures.repositories import OpenRepository, commit_files, object_key

SIZES = {f"pack/{n}": 100 for n in range(10)}
NOW = "2026-03-01T12:00:00.000000Z"


def test_rounds_reach_every_pack(tmp_path: Path) -> None:
    """Three packs a round: after four rounds each was looked at, the first ones come again."""
    path = tmp_path / "verified.json"
    seen: list[str] = []
    for day in range(1, 5):
        ledger = Ledger(path)
        due = ledger.due(SIZES, "scrub", Rolling(share=0.3), NOW)
        assert len(due) == 3
        seen += due
        ledger.note(due, (), "scrub", f"2026-03-0{day}T00:00:00.000000Z")
        ledger.keep(SIZES)
    assert set(seen) == set(SIZES)
    assert seen[10:] == seen[:2]
    assert Ledger(path).oldest(SIZES, "scrub") == "2026-03-01T00:00:00.000000Z"


def test_one_pack_is_always_looked_at(tmp_path: Path) -> None:
    """Also when it is larger than the budget."""
    ledger = Ledger(tmp_path / "x")
    assert ledger.due(SIZES, "read", Rolling(budget_bytes=1), NOW) == ["pack/0"]
    assert ledger.due({}, "read", Rolling(budget_bytes=1), NOW) == []


def test_deeper_looks_count_for_shallow_ones(tmp_path: Path) -> None:
    """Not the other way round; a damaged pack is due again at once."""
    ledger = Ledger(tmp_path / "x")
    ledger.note(["pack/1"], (), "read", NOW)
    assert ledger.last("pack/1", "scrub") == NOW
    assert ledger.last("pack/1", "drill") == NEVER
    ledger.note((), ["pack/1"], "scrub", NOW)
    assert ledger.last("pack/1", "scrub") == NEVER


def test_age_chooses(tmp_path: Path) -> None:
    """Of two packs the one that was looked at before the limit."""
    ledger = Ledger(tmp_path / "x")
    ledger.note(["pack/1"], (), "scrub", "2026-02-01T00:00:00.000000Z")
    ledger.note(["pack/2"], (), "scrub", "2026-02-28T00:00:00.000000Z")
    sizes = {"pack/1": 5, "pack/2": 5}
    rolling = Rolling(older_than=timedelta(days=7))
    assert ledger.due(sizes, "scrub", rolling, NOW) == ["pack/1"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}', b"\xff"])
def test_a_damaged_ledger_is_an_empty_one(tmp_path: Path, content: bytes) -> None:
    """It is advice alone."""
    (tmp_path / "x").write_bytes(content)
    assert Ledger(tmp_path / "x").last("pack/1", "scrub") == NEVER


def test_verify_and_scrub_go_round(
    store: MemoryStore, places: Places, open_repo: OpenRepository
) -> None:
    """Each looks into the packs whose turn it is, says how old the oldest look is, and keeps what it saw."""
    repository = open_repo(store, places)
    with repository.write_session("w") as session:
        for name in ("a", "b", "c"):
            commit_files(repository, session, {name: name.encode()}, object_key(name))
    first = repository.verify("scrub", rolling=Rolling(share=0.5))
    assert 0 < first.packs_looked_into < first.packs
    assert first.oldest == NEVER
    for _ in range(first.packs):
        last = repository.verify("scrub", rolling=Rolling(share=0.5))
    assert last.oldest
    report = scrub(store, None, Ledger(repository.ledger_path), Rolling(share=0.5))
    assert report.packs_looked_into < report.packs
    assert report.oldest
    young = Rolling(older_than=timedelta(days=1))
    assert repository.verify("scrub", rolling=young).packs_looked_into == 0
