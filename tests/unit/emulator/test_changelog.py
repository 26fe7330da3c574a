"""Change logs and sync generations."""

from hypothesis import given
from hypothesis import strategies as st

from tools.emulator.changelog import ChangeLog, Generations


def test_pages_in_order_of_change() -> None:
    log: ChangeLog[str] = ChangeLog()
    for key in "abc":
        log.record(key)
    log.record("a")
    page, cursor, more = log.after(0, 2, log.head)
    assert ([c.key for c in page], more) == (["b", "c"], True)
    page, cursor, more = log.after(cursor, 2, log.head)
    assert ([c.key for c in page], more, cursor) == (["a"], False, log.head)
    assert log.after(cursor, 2, 0) == ([], log.head, False)


def test_removals_are_told_only_to_those_who_saw_the_key() -> None:
    log: ChangeLog[str] = ChangeLog()
    log.record("a")
    log.record("a", present=False)
    begun = log.head
    assert log.after(0, 9, begun)[0] == []
    log.record("b")
    _, cursor, _ = log.after(0, 9, begun)
    log.record("b", present=False)
    page, _, _ = log.after(cursor, 9, begun)
    assert [(c.key, c.present) for c in page] == [("b", False)]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=200),
    st.integers(1, 5),
    st.integers(1, 7),
)
def test_a_reader_never_misses_a_change(
    changes: list[tuple[int, bool]], size: int, pace: int
) -> None:
    """Pages read in the middle of changes, to the end, give the state at the end."""
    log: ChangeLog[int] = ChangeLog()
    state: dict[int, bool] = {}
    held: set[int] = set()
    cursor, begun = 0, log.head
    for number, (key, present) in enumerate(changes):
        state[key] = present
        log.record(key, present=present)
        if number % pace == 0:
            page, cursor, _ = log.after(cursor, size, begun)
            for change in page:
                (held.add if change.present else held.discard)(change.key)
    more = True
    while more:
        page, cursor, more = log.after(cursor, size, begun)
        for change in page:
            (held.add if change.present else held.discard)(change.key)
    assert held == {key for key, present in state.items() if present}


def test_generations() -> None:
    generations = Generations(keep=3)
    issued = [generations.issue() for _ in range(5)]
    assert [generations.alive(g) for g in issued] == [False, False, True, True, True]
    generations.kill()
    assert not any(generations.alive(g) for g in issued)
    assert generations.alive(generations.highest)
    assert generations.alive(generations.issue())
