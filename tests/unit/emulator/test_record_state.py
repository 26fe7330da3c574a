"""The whole state of an event, contact or task: taken, packed, and put back under a new id."""

from datetime import date
from typing import Any

import msgspec
import pytest

from tools.emulator.blob import BytesBlob
from tools.emulator.calendars import CalendarStore
from tools.emulator.contacts import ContactStore
from tools.emulator.record_state import put, state_of
from tools.emulator.records import RecordStore
from tools.emulator.tasks import TaskStore


def _event() -> tuple[RecordStore[Any], Any]:
    store = CalendarStore(1, "u")
    times = {name: {"dateTime": f"2026-03-02T{hour}:00:00", "timeZone": "UTC"} for name, hour in
             (("start", "09"), ("end", "10"))}  # fmt: skip
    span = {"type": "noEnd", "startDate": "2026-03-02"}
    daily = {"pattern": {"type": "daily", "interval": 1}, "range": span}
    event = store.add(store.default, times | {"recurrence": daily}, at=5)
    change = store.change_instance(event, date(2026, 3, 4), {"subject": "x"}, at=6)
    hung = store.attachment("a", BytesBlob(b"1"), 6)
    change.attachments[hung.key] = hung
    store.cancel_instance(event, date(2026, 3, 5), at=7)
    return store, event


def _contact() -> tuple[RecordStore[Any], Any]:
    store = ContactStore(1, "u")
    contact = store.add(store.default, {"givenName": "Ann"}, at=5)
    store.set_photo(contact, BytesBlob(b"\xff\xd8"), at=6)
    return store, contact


def _task() -> tuple[RecordStore[Any], Any]:
    store = TaskStore(1, "u")
    task = store.add(store.default, {"title": "t"}, at=5)
    store.add_check(task, {"displayName": "c", "isChecked": True}, at=6)
    store.add_link(task, {"webUrl": "https://x.example"}, at=6)
    store.attach(task, "f", BytesBlob(b"2"), at=7)
    return store, task


@pytest.mark.parametrize("make", [_event, _contact, _task])
def test_a_record_of_a_state_has_that_state(make: Any) -> None:
    """Nothing is lost or added, also on the way through bytes; the id is another one."""
    store, record = make()
    state = state_of(record)
    packed = msgspec.msgpack.decode(msgspec.msgpack.encode(state))
    again = put(store, record.container, packed, at=99)
    assert state_of(again) == state
    assert again.key != record.key
    assert again.key in record.container.records
