"""
Calendars and contacts of a content folder: `calendar/` with .ics files, `contacts/` with .vcf files.

Files right in the folder go to the default calendar or contact folder; a folder in it is a calendar
or contact folder of its own, contact folders may nest.
"""

import contextlib
import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from tools.emulator.blob import BytesBlob
from tools.emulator.calendars import CalendarStore, Event
from tools.emulator.contacts import Contact, ContactStore
from tools.emulator.errors import GraphError
from tools.emulator.ical_reader import ReadEvent, read_events
from tools.emulator.records import Container
from tools.emulator.vcard_reader import read_contacts

_FILE_BYTES_MAX = 64 << 20


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    with os.scandir(folder) as found:
        yield from sorted((e for e in found if not e.is_symlink()), key=lambda e: e.name)


def _reads(entry: "os.DirEntry[str]", suffix: str) -> bool:
    return entry.name.lower().endswith(suffix) and entry.stat().st_size <= _FILE_BYTES_MAX


def fill_calendars(store: CalendarStore, folder: Path, owner: dict[str, str]) -> None:
    """Put the events of all files below `folder` into calendars of their folders' names."""
    _fill_calendar(store, store.default, folder, owner)
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            made = store.add_calendar(_name(entry), at=entry.stat().st_mtime)
            _fill_calendar(store, made, Path(entry.path), owner)


def _name(entry: "os.DirEntry[str]") -> str:
    return entry.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _fill_calendar(
    store: CalendarStore, calendar: Container[Event], folder: Path, owner: dict[str, str]
) -> None:
    for entry in _entries(folder):
        if entry.is_file(follow_symlinks=False) and _reads(entry, ".ics"):
            for read in read_events(Path(entry.path).read_bytes()):
                with contextlib.suppress(GraphError):  # nothing that Exchange would hold
                    _add(store, calendar, read, owner, entry.stat().st_mtime)


def _add(
    store: CalendarStore,
    calendar: Container[Event],
    read: ReadEvent,
    owner: dict[str, str],
    at: float,
) -> None:
    organizer = read.properties.get("organizer") or {"emailAddress": owner}
    address = organizer["emailAddress"]["address"].lower()
    mine = address == owner["address"].lower()
    given = read.properties | {"organizer": organizer, "isOrganizer": mine}
    if not mine:
        given["responseStatus"] = {"response": "none", "time": "0001-01-01T00:00:00Z"}
    event = store.add(calendar, given, at=at)
    for name, kind, data in read.files:
        store.attach(event, name, BytesBlob(data), at=at).content_type = kind
    for each in read.exceptions:
        _except(store, event, each, at)
    for day in dict.fromkeys(read.cancelled):
        with contextlib.suppress(GraphError):  # a day that the series does not have
            store.cancel_instance(event, day, at=at)


def _except(store: CalendarStore, event: Event, read: ReadEvent, at: float) -> None:
    """Make an exception of what differs from the series."""
    day: date | None = read.original
    if day is None:
        return
    names = ("subject", "start", "end", "isAllDay", "body", "location", "showAs", "isCancelled")
    try:
        usual = store.instance(event, day).properties
        given = {name: read.properties[name] for name in names if name in read.properties}
        changed = {name: value for name, value in given.items() if value != usual[name]}
        change = store.change_instance(event, day, changed, at=at)
    except GraphError:
        return
    for name, kind, data in read.files:
        hung = store.attachment(name, BytesBlob(data), at)
        hung.content_type = kind
        change.attachments[hung.key] = hung


def fill_contacts(store: ContactStore, target: Container[Contact], folder: Path) -> None:
    """Put the contacts of all files in `folder` into `target`, those of folders in it below."""
    for entry in _entries(folder):
        at = entry.stat().st_mtime
        if entry.is_dir(follow_symlinks=False):
            parent = None if target is store.default else target
            made = store.add_container(_name(entry), at=at, parent=parent)
            fill_contacts(store, made, Path(entry.path))
        elif entry.is_file(follow_symlinks=False) and _reads(entry, ".vcf"):
            for properties, photo in read_contacts(Path(entry.path).read_bytes()):
                contact = store.add(target, properties, at=at)
                if photo is not None:
                    store.set_photo(contact, BytesBlob(photo), at=at)
