"""
Lists of items as CSV, for spreadsheets and scripts: one line an item, one table a workload.

UTF-8 with a mark that tells spreadsheets so; a cell that a spreadsheet would take for a formula begins with an apostrophe.

Source: RFC 4180; OWASP "CSV Injection".
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from proxy.converters.calendar_parts import body_text
from proxy.converters.graph_json import Members, entries, line, member, text

__all__ = ["Entry", "sheet_chunks"]

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
CELL_CHARACTERS_MAX = 32_000  # spreadsheets take 32,767
ROWS_A_PIECE = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One item of the list.

    Attributes:
        folder: its containers' names. modified: ISO 8601 in UTC. members: as Graph gives them; {} if unknown.
    """

    folder: str
    name: str
    size: int
    created: str
    modified: str
    id: str
    members: Members


Column = tuple[str, Callable[[Entry], Any]]


def sheet_chunks(workload: str, items: Iterable[Entry]) -> Iterator[bytes]:
    """The table of a workload, piece by piece."""
    columns = SHEETS.get(workload, PLAIN)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    buffer.write("\ufeff")
    writer.writerow([title for title, _ in columns])
    for number, item in enumerate(items, 1):
        writer.writerow([_cell(value(item)) for _, value in columns])
        if number % ROWS_A_PIECE == 0:
            yield buffer.getvalue().encode("utf-8", "replace")
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode("utf-8", "replace")


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    shown = "" if value is None else str(value).replace("\x00", "")[:CELL_CHARACTERS_MAX]
    return f"'{shown}" if shown.startswith(FORMULA_STARTS) else shown


def _of(*path: str) -> Callable[[Entry], Any]:
    def value(item: Entry) -> Any:
        found = member(item.members, *path)
        return found if isinstance(found, str | int | float | bool) else None

    return value


def _people(*path: str) -> Callable[[Entry], str]:
    def value(item: Entry) -> str:
        found = member(item.members, *path)
        people = found if isinstance(found, list) else [found]
        return "; ".join(filter(None, map(_person, people)))

    return value


def _person(person: Any) -> str:
    name = line(member(person, "emailAddress", "name"))
    address = line(member(person, "emailAddress", "address"))
    return f"{name} <{address}>" if name and address and name != address else name or address


def _list(*path: str) -> Callable[[Entry], str]:
    def value(item: Entry) -> str:
        found = member(item.members, *path)
        return "; ".join(line(one) for one in found) if isinstance(found, list) else ""

    return value


def _addresses(item: Entry) -> str:
    found = entries(item.members.get("emailAddresses"))
    return "; ".join(line(one.get("address")) for one in found)


def _place(name: str) -> Callable[[Entry], str]:
    def value(item: Entry) -> str:
        place = item.members.get(name)
        parts = ("street", "postalCode", "city", "state", "countryOrRegion")
        return ", ".join(filter(None, (line(member(place, part)) for part in parts)))

    return value


def _notes(item: Entry) -> str:
    return body_text(item.members.get("body"))


def _time(name: str) -> tuple[Column, Column]:
    return (name, _of(name, "dateTime")), (f"{name}TimeZone", _of(name, "timeZone"))


FIRST: tuple[Column, ...] = (("folder", lambda item: item.folder),)
LAST: tuple[Column, ...] = (("size", lambda item: item.size), ("id", lambda item: item.id))
PLAIN: tuple[Column, ...] = (
    *FIRST,
    ("name", lambda item: item.name),
    ("created", lambda item: item.created),
    ("modified", lambda item: item.modified),
    *LAST,
)
SHEETS: dict[str, tuple[Column, ...]] = {
    "mail": (
        *FIRST,
        ("subject", lambda item: item.name),
        ("from", _people("from")),
        ("to", _people("toRecipients")),
        ("cc", _people("ccRecipients")),
        ("bcc", _people("bccRecipients")),
        ("sent", _of("sentDateTime")),
        ("received", _of("receivedDateTime")),
        ("read", _of("isRead")),
        ("draft", _of("isDraft")),
        ("attachments", _of("hasAttachments")),
        ("importance", _of("importance")),
        ("categories", _list("categories")),
        ("messageId", _of("internetMessageId")),
        *LAST,
    ),
    "calendar": (
        *FIRST,
        ("subject", lambda item: item.name),
        *_time("start"),
        *_time("end"),
        ("allDay", _of("isAllDay")),
        ("recurs", _of("recurrence", "pattern", "type")),
        ("recursUntil", _of("recurrence", "range", "endDate")),
        ("location", _of("location", "displayName")),
        ("organizer", _people("organizer")),
        ("attendees", _people("attendees")),
        ("showAs", _of("showAs")),
        ("sensitivity", _of("sensitivity")),
        ("cancelled", _of("isCancelled")),
        ("categories", _list("categories")),
        ("text", _notes),
        *LAST,
    ),
    "contacts": (
        *FIRST,
        ("displayName", lambda item: item.name),
        *((name, _of(name)) for name in ("title", "givenName", "middleName", "surname")),
        *((name, _of(name)) for name in ("companyName", "department", "jobTitle")),
        ("emailAddresses", _addresses),
        ("mobilePhone", _of("mobilePhone")),
        ("businessPhones", _list("businessPhones")),
        ("homePhones", _list("homePhones")),
        *((name, _place(name)) for name in ("businessAddress", "homeAddress", "otherAddress")),
        ("birthday", lambda item: text(item.members.get("birthday"))[:10]),
        ("notes", _of("personalNotes")),
        ("categories", _list("categories")),
        *LAST,
    ),
    "tasks": (
        *FIRST,
        ("title", lambda item: item.name),
        *((name, _of(name)) for name in ("status", "importance", "createdDateTime")),
        ("due", _of("dueDateTime", "dateTime")),
        ("completed", _of("completedDateTime", "dateTime")),
        ("recurs", _of("recurrence", "pattern", "type")),
        ("categories", _list("categories")),
        ("text", _notes),
        *LAST,
    ),
}
