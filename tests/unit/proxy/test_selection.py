"""The grammar of folders and dates for every workload, on rows as the catalog has them."""

import json
from typing import Any

import pytest

from engine.catalog import Row
from engine.errors import UsageError
from proxy.contract import Selection
from proxy.workloads.selection import ItemSelection, patterns_of


def container(row_id: str, name: str, above: str = "", **meta: Any) -> Row:
    return Row(
        row_id.encode(), above.encode(), name.encode(), "container", meta=json.dumps(meta).encode()
    )


def item(**meta: Any) -> Row:
    return Row(b"i", b"c", b"x", "item", meta=json.dumps(meta).encode())


CALENDARS = [
    container("1", "Kalender", isDefaultCalendar=True),
    container("2", "Team", isDefaultCalendar=False),
]
CONTACTS = [
    container("1", "Kontakte", wellKnownName="contacts"),
    container("2", "Friends", "1"),
    container("3", "Old", "2"),
    container("4", "Friends"),
]
LISTS = [
    container("1", "Aufgaben", wellknownListName="defaultList"),
    container("2", "Garden", wellknownListName="none"),
]


def covered(workload: str, rows: list[Row], *folders: str, without: tuple[str, ...] = ()) -> str:
    selection = Selection(folders=list(folders), without_folders=list(without))
    return "".join(sorted(one.decode() for one in ItemSelection(selection, workload).covered(rows)))


def test_a_workload_in_front_says_whose_containers_are_meant() -> None:
    """Without one it is mail, as it always was; a workload without patterns is covered whole."""
    assert patterns_of(["Inbox", "mail:@inbox", "Calendar:Team", "a:b"], "mail") == [
        "Inbox",
        "@inbox",
        "a:b",
    ]
    assert patterns_of(["Inbox", "Calendar:Team"], "calendar") == ["Team"]
    assert covered("calendar", CALENDARS, "Inbox") == "12"
    assert covered("calendar", CALENDARS, "calendar:team") == "2"
    assert covered("calendar", CALENDARS, "calendar:@calendar", "Inbox") == "1"
    assert covered("calendar", CALENDARS, without=("calendar:@calendar",)) == "2"
    assert covered("tasks", LISTS, "tasks:@defaultlist") == "1"
    assert covered("tasks", LISTS, "tasks:Gar*", "calendar:Team") == "2"
    assert covered("drives", [container("1", "Files")], "Nowhere") == "1"


def test_folders_in_folders() -> None:
    """What fits covers what is below it, and what is above is kept to show where it is."""
    assert covered("contacts", CONTACTS, "contacts:@contacts/Friends") == "23"
    assert covered("contacts", CONTACTS, "contacts:Friends") == "4"
    assert (
        covered("contacts", CONTACTS, "contacts:@contacts", without=("contacts:*/*/Old",)) == "12"
    )
    chosen = ItemSelection(Selection(folders=["contacts:*/Friends/Old"]), "contacts")
    assert [row.id for row in chosen.kept(CONTACTS)] == [b"1", b"2", b"3"]


def at(moment: str) -> dict[str, str]:
    return {"dateTime": moment, "timeZone": "UTC"}


@pytest.mark.parametrize(
    ("start", "end", "recurring", "wanted"),
    [
        ("2026-01-30T10:00:00.0000000", "2026-01-30T11:00:00.0000000", False, False),
        (
            "2026-01-30T00:00:00.0000000",
            "2026-02-01T00:00:00.0000000",
            False,
            False,
        ),  # ends as it begins
        ("2026-01-30T00:00:00.0000000", "2026-02-01T00:00:01.0000000", False, True),
        ("2026-02-01T00:00:00.0000000", "2026-02-01T00:00:00.0000000", False, True),  # of no length
        ("2026-02-28T23:59:00.0000000", "2026-03-02T00:00:00.0000000", False, True),
        ("2026-03-01T00:00:00.0000000", "2026-03-01T01:00:00.0000000", False, False),
        ("2010-01-01T00:00:00.0000000", "2010-01-01T01:00:00.0000000", True, True),
        ("2026-03-01T00:00:00.0000000", "2026-03-01T01:00:00.0000000", True, False),
    ],
)
def test_events_are_covered_when_they_take_place(
    start: str, end: str, recurring: bool, wanted: bool
) -> None:
    """A series from its beginning on: when it ends is not always said."""
    chosen = ItemSelection(Selection(dated_from="2026-02-01", dated_until="2026-03-01"), "calendar")
    row = item(start=at(start), end=at(end), recurring=recurring)
    assert chosen.covers(row) is wanted


def test_other_workloads_have_dates_of_their_own_or_none() -> None:
    dated = Selection(dated_from="2026-02-01", received_from="2027-01-01")
    tasks, mail = ItemSelection(dated, "tasks"), ItemSelection(dated, "mail")
    assert tasks.covers(item(due=at("2026-02-01T00:00:00")))
    assert not tasks.covers(item(due=at("2026-01-31T00:00:00")))
    assert tasks.covers(item(due=None))
    assert not mail.covers(item(received="2026-12-31T23:59:59Z"))
    assert mail.covers(item(received="2027-01-01T00:00:00Z"))
    assert not ItemSelection(dated, "contacts").restricts


@pytest.mark.parametrize("wrong", [Selection(folders=["tasks:"]), Selection(dated_from="soon")])
def test_what_is_no_pattern_and_no_date(wrong: Selection) -> None:
    with pytest.raises(UsageError, match="is not a"):
        ItemSelection(wrong, "tasks")
