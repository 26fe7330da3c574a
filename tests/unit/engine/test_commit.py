"""Transitions of a writer's cell."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import commit
from engine.commit import CellForm, CommitForm
from engine.errors import Corruption, Fenced
from tests.fixtures import formats as f

M1, M2 = "aa" * 32, "bb" * 32


def test_a_first_turn_and_its_commit() -> None:
    """The first turn is 1; a commit ends it and begins the next in one step, or rests."""
    cell = commit.begin(None, "w", 0)
    assert (cell.turn, cell.state, cell.commits) == (1, "active", ())
    going = commit.commit(cell, CommitForm(1, M1, ("cc" * 32,)), 0, go_on=True)
    assert (going.turn, going.state) == (2, "active")
    assert going.commits == (CommitForm(1, M1, ("cc" * 32,)),)
    resting = commit.commit(going, CommitForm(2, M2, ()), 0, go_on=False)
    assert (resting.turn, resting.state, len(resting.commits)) == (2, "idle", 2)


def test_only_an_active_turn_commits() -> None:
    """An idle, revoked or closed cell refuses a commit; a closed one refuses a new turn for ever."""
    for state in ("idle", "revoked", "closed"):
        cell = CellForm("w", 3, state, ())  # type: ignore[arg-type]
        with pytest.raises(Fenced) as caught:
            commit.commit(cell, CommitForm(3, M1, ()), 0, go_on=True)
        assert caught.value.code == "turn-revoked"
    with pytest.raises(Fenced) as caught:
        commit.begin(CellForm("w", 3, "closed", ()), "w", 0)
    assert caught.value.code == "writer-closed"


@settings(derandomize=True)
@given(
    turns=st.lists(st.integers(1, 50), unique=True).map(sorted),
    watermark=st.integers(0, 60),
    state=st.sampled_from(["idle", "active", "revoked"]),
)
def test_begin_keeps_what_is_not_folded(turns: list[int], watermark: int, state: str) -> None:
    """
    A new turn has a number never used, and keeps exactly the commits above the watermark.

    It lies above the watermark too, where the cell is behind it or not there: at or below it nothing that it commits counts.
    """
    cell = CellForm("w", 50, state, tuple(CommitForm(t, M1, ()) for t in turns))  # type: ignore[arg-type]
    begun = commit.begin(cell, "w", watermark)
    assert begun.turn == max(50, watermark) + 1
    assert commit.begin(None, "w", watermark) == CellForm("w", watermark + 1, "active", ())
    assert [c.turn for c in begun.commits] == [t for t in turns if t > watermark]


def test_rest_ends_a_turn_without_a_commit() -> None:
    """The number and the commits stay."""
    cell = commit.rest(f.cell())
    assert (cell.turn, cell.state, cell.commits) == (6, "idle", f.cell().commits)


def test_a_lost_answer_is_found_in_the_cell() -> None:
    """The commit of a turn is known by turn and content, both."""
    cell = f.cell()
    assert commit.has_committed(cell, cell.commits[0])
    for other in (CommitForm(3, "cd" * 32, ()), msgspec.structs.replace(cell.commits[0], turn=4)):
        assert not commit.has_committed(cell, other)


def test_a_commit_drops_what_was_folded() -> None:
    """A session that goes on for days does not gather commits; an older turn than the cell's is refused."""
    cell = commit.commit(f.cell(), CommitForm(6, M1, ()), 3, go_on=True)
    assert [c.turn for c in cell.commits] == [5, 6]
    with pytest.raises(Fenced):
        commit.commit(f.cell(), CommitForm(5, M1, ()), 3, go_on=True)


def test_commits_at_or_below_the_watermark_do_not_count() -> None:
    """Folded commits that their owner has not dropped yet are not counted twice; cells go by writer."""
    cells = {"b": f.cell(), "a": CellForm("a", 1, "idle", (CommitForm(1, M1, ()),))}
    generation = msgspec.structs.replace(f.generation(), watermarks={"b": 3})
    assert [c.turn for c in commit.unfolded(cells, generation)] == [1, 5]
    generation = msgspec.structs.replace(f.generation(), watermarks={"b": 5, "a": 1})
    assert commit.unfolded(cells, generation) == []


def test_a_full_cell_refuses_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of commits that wait for a collection is bounded."""
    monkeypatch.setattr(commit, "CELL_COMMITS_MAX", 2)
    with pytest.raises(Fenced) as caught:
        commit.begin(f.cell(), "w", 0)
    assert caught.value.code == "cell-full"


@pytest.mark.parametrize(
    "broken",
    [
        CellForm("other", 6, "idle", ()),
        CellForm("w", 6, "idle", (CommitForm(5, M1, ()), CommitForm(3, M1, ()))),
        CellForm("w", 6, "idle", (CommitForm(3, M1, ()), CommitForm(3, M1, ()))),
        CellForm("w", 2, "idle", (CommitForm(3, M1, ()),)),
    ],
)
def test_cells_that_break_their_order_are_corruption(broken: CellForm) -> None:
    """Another writer's cell, turns out of order or beyond the cell's own."""
    with pytest.raises(Corruption):
        commit.decode_cell(commit.encode(broken), "w")


def test_a_generation_under_a_wrong_number_is_corruption() -> None:
    """The number is in the name and in the content."""
    with pytest.raises(Corruption):
        commit.decode_generation(commit.encode(f.generation()), 3)
