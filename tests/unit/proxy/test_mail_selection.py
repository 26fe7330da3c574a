"""What of a mailbox a job covers."""

import pytest

from engine.errors import UsageError
from proxy.contract import Selection
from proxy.workloads.mail_folders import MailFolder
from proxy.workloads.mail_selection import MailSelection
from proxy.workloads.moments import nanoseconds

FOLDERS = [
    MailFolder("1", "Posteingang", "root", False, "inbox"),
    MailFolder("2", "Projects", "root", False),
    MailFolder("3", "2026 Q4", "2", False),
    MailFolder("4", "Drafts", "3", False),
    MailFolder("5", "2025", "2", False),
    MailFolder("6", "Gelöschte Elemente", "root", False, "deleteditems"),
    MailFolder("7", "projects", "6", False),
]


def covered(*folders: str, without: tuple[str, ...] = ()) -> set[str]:
    selection = Selection(folders=list(folders), without_folders=list(without))
    return MailSelection(selection).covered(FOLDERS)


def test_patterns_of_folders() -> None:
    assert covered() == {"1", "2", "3", "4", "5", "6", "7"}
    assert covered("projects") == {
        "2",
        "3",
        "4",
        "5",
    }  # any case, and what is below; not below another folder
    assert covered("Projects/2026*") == {"3", "4"}
    assert covered("/Projects/20??/") == {"5"}
    assert covered("*", without=("@deleteditems",)) == {"1", "2", "3", "4", "5"}
    assert covered("@inbox", "@deleteditems/projects") == {"1", "7"}
    assert covered("Projects", without=("Projects/2026 Q4/Drafts",)) == {"2", "3", "5"}
    assert covered("Nowhere") == set()


def test_folders_above_covered_ones_are_kept_to_show_where_they_are() -> None:
    selection = MailSelection(Selection(folders=["Projects/2026*"]))
    assert {folder.id for folder in selection.kept(FOLDERS)} == {"2", "3", "4"}


def test_dates_are_compared_here() -> None:
    selection = MailSelection(
        Selection(received_from="2026-01-31", received_until="2026-03-01T12:00:00+01:00")
    )
    moments = {
        "2026-01-30T23:59:59Z": False,
        "2026-01-31T00:00:00Z": True,
        "2026-03-01T10:59:59Z": True,
        "2026-03-01T11:00:00Z": False,
    }
    for moment, wanted in moments.items():
        assert selection.covers_time(nanoseconds(moment)) is wanted
    assert selection.covers_time(0)


def test_the_mark_says_which_rows_a_catalog_holds() -> None:
    """Users and the policy decide nothing about rows; folders and dates do."""
    assert MailSelection(Selection(groups=["g"], filter="x", mail_policy="portable")).mark == ""
    marks = {
        MailSelection(one).mark
        for one in (
            Selection(folders=["a"]),
            Selection(without_folders=["a"]),
            Selection(received_from="2026-01-01"),
            Selection(recoverable_items=True),
        )
    }
    assert len(marks) == 4
    assert "" not in marks


@pytest.mark.parametrize(
    "wrong",
    [
        Selection(folders=["/"]),
        Selection(without_folders=["x" * 2000]),
        Selection(received_from="yesterday"),
        Selection(received_until="2026-13-01"),
    ],
)
def test_what_is_no_pattern_and_no_date(wrong: Selection) -> None:
    with pytest.raises(UsageError) as caught:
        MailSelection(wrong)
    assert caught.value.code == "selection-invalid"
