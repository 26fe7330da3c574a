"""The audit chain shows every change, gap and reordering."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from server.domain.audit import AuditRecord, ChainCheck, follow


def chain(length: int) -> list[AuditRecord]:
    records: list[AuditRecord] = []
    for number in range(length):
        last = (records[-1].sequence, records[-1].hash) if records else None
        records.append(follow(last, f"at {number}", ("ann", "start-job", f"jobs/{number}", "{}")))
    return records


def broken_at(records: list[AuditRecord]) -> int | None:
    check = ChainCheck()
    for record in records:
        check.accept(record)
    return check.broken_at


def test_an_untouched_chain_fits() -> None:
    """Also the empty one."""
    assert broken_at([]) is None
    assert broken_at(chain(7)) is None


@given(
    st.integers(0, 6), st.sampled_from(["at", "actor", "action", "target", "details"]), st.text()
)
def test_a_changed_member_breaks_the_chain_there(place: int, member: str, text: str) -> None:
    """Whatever is written over one member of one record."""
    records = chain(7)
    if getattr(records[place], member) == text:
        return
    records[place] = replace(records[place], **{member: text})
    assert broken_at(records) == place + 1


def test_a_record_that_moved_between_members_breaks_the_chain() -> None:
    """Lengths are hashed: text moved from one member to the next is a change."""
    records = chain(2)
    records[1] = replace(records[1], actor="annstart-job", action="")
    assert broken_at(records) == 2


def test_a_gap_or_another_order_breaks_the_chain() -> None:
    """Records that are left out or changed places."""
    records = chain(5)
    assert broken_at(records[:2] + records[3:]) == 3
    assert broken_at([records[0], records[2], records[1], *records[3:]]) == 2
    assert broken_at(records[1:]) == 1


def test_a_rehashed_record_breaks_the_next_one() -> None:
    """Somebody who can compute hashes must rewrite everything after."""
    records = chain(4)
    records[1] = follow((1, records[0].hash), "at 1", ("bob", "start-job", "jobs/1", "{}"))
    assert broken_at(records) == 3
