"""
Calendars, contacts and tasks of the demo company: meetings of colleagues, clients, things to do.

A meeting lies in the calendars of everyone on it; the organizer's has the answers.
"""

import random
import struct
import zlib
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tools.emulator.blob import BytesBlob
from tools.emulator.calendars import Event
from tools.emulator.demo.files import END, YEARS
from tools.emulator.demo.people import PROJECTS, Person
from tools.emulator.demo.words import paragraph
from tools.emulator.mailbox import Mailbox

ZONES = {
    "Aarhus": "Romance Standard Time",
    "Leeds": "GMT Standard Time",
    "Porto": "GMT Standard Time",
    "Brno": "Central Europe Standard Time",
}
_ROOMS = ("Room Linnet", "Room Wren", "Room Siskin", "Workshop 2", "Online")
_TITLES = ("steering group", "design review", "supplier call", "test results", "risk review")
_CLIENTS = (
    ("Oda", "Møller", "Møller & Søn"), ("Ruben", "Castellan", "Castellan Foods"),
    ("Grete", "Hütter", "Hütter Anlagenbau"), ("Tamsin", "Aldine", "Aldine Press"),
    ("Piotr", "Kamiński", "Northfold Dairy"), ("Inés", "Crespo", "Crespo Hermanos"),
    ("Nils", "Tidewell", "Tidewell Harbour"), ("浩", "佐藤", "Brightwater Utilities"),
)  # fmt: skip
_TASKS = ("Send the quote", "Book the journey", "Read the test report", "Order spare parts",
          "Prepare the audit", "Call the client back")  # fmt: skip
_PICTURE = 32  # pixels


def fill(mailboxes: dict[Person, Mailbox], seed: int) -> None:
    """Give everyone meetings, contacts and tasks."""
    rng = random.Random(f"{seed}:agenda")
    for project in PROJECTS:
        members = [person for person in mailboxes if project in person.projects]
        if len(members) > 1:
            _team_meeting(project, members, mailboxes, rng)
            for _ in range(4):
                group = rng.sample(members, min(len(members), rng.randint(2, 5)))
                _meeting(project, group, mailboxes, rng)
    for person, mailbox in mailboxes.items():
        _own_events(person, mailbox, rng)
        _contacts(person, mailbox, rng)
        _tasks(person, mailbox, rng)


# meetings


def _time(day: date, hour: int, minute: int, zone: str) -> dict[str, str]:
    return {"dateTime": f"{day}T{hour:02d}:{minute:02d}:00", "timeZone": zone}


def _times(person: Person, day: date, hour: int, minutes: int) -> dict[str, Any]:
    zone = ZONES[person.office]
    ends = divmod(hour * 60 + minutes, 60)
    return {"start": _time(day, hour, 0, zone), "end": _time(day, *ends, zone)}


def _day(rng: random.Random, begin: int, end: int) -> date:
    """A working day, `begin` to `end` days from the end of the story."""
    day = datetime.fromtimestamp(END, UTC).date() + timedelta(days=rng.randint(begin, end))
    return day - timedelta(days=max(0, day.weekday() - 4))


def _address(person: Person) -> dict[str, Any]:
    return {"emailAddress": {"name": person.name, "address": person.address}}


def _place(
    given: dict[str, Any], group: list[Person], mailboxes: dict[Person, Mailbox], rng: random.Random
) -> dict[Person, Event]:
    """Put a meeting into everyone's calendar; the first of the group organizes it."""
    answers = {each: rng.choice(("accepted", "accepted", "tentativelyAccepted", "none"))
               for each in group[1:]}  # fmt: skip
    moment = {"time": "0001-01-01T00:00:00Z"}
    shared = given | {
        "organizer": _address(group[0]),
        "iCalUId": f"0400000082{rng.getrandbits(128):032X}",
        "body": {"contentType": "html", "content": f"<p>{paragraph(rng, PROJECTS[0], 2)}</p>"},
    }
    placed = {}
    for person in group:
        mine = person is group[0]
        attendees = [
            _address(each)
            | {
                "type": "required",
                "status": {"response": answers[each] if mine else "none"} | moment,
            }
            for each in group[1:]
        ]
        answer = "organizer" if mine else answers[person]
        own = {"isOrganizer": mine, "attendees": attendees,
               "responseStatus": {"response": answer} | moment}  # fmt: skip
        store = mailboxes[person].calendars
        placed[person] = store.add(store.default, shared | own, at=END - YEARS / 8)
    return placed


def _team_meeting(
    project: str, group: list[Person], mailboxes: dict[Person, Mailbox], rng: random.Random
) -> None:
    """A series over half a year, once moved and once cancelled."""
    first = _day(rng, -120, -110)
    name = first.strftime("%A").lower()
    weeks = rng.choice((1, 2))
    pattern = {"type": "weekly", "interval": weeks, "daysOfWeek": [name]}
    last = first + timedelta(days=180)
    given = _times(group[0], first, rng.randint(8, 15), 60) | {
        "subject": f"{project} weekly",
        "location": {"displayName": rng.choice(_ROOMS)},
        "recurrence": {
            "pattern": pattern,
            "range": {"type": "endDate", "startDate": f"{first}", "endDate": f"{last}"},
        },
    }
    step = timedelta(weeks=weeks)
    moved, gone = first + 3 * step, first + 5 * step
    later = _times(group[0], moved + timedelta(days=1), 14, 45)
    for person, event in _place(given, group, mailboxes, rng).items():
        store = mailboxes[person].calendars
        store.change_instance(event, moved, later | {"subject": f"{project} (moved)"}, at=END)
        store.cancel_instance(event, gone, at=END)


def _meeting(
    project: str, group: list[Person], mailboxes: dict[Person, Mailbox], rng: random.Random
) -> None:
    given = _times(group[0], _day(rng, -200, 40), rng.randint(8, 16), rng.choice((30, 60, 90)))
    given["subject"] = f"{project}: {rng.choice(_TITLES)}"
    given["location"] = {"displayName": rng.choice(_ROOMS)}
    given["categories"] = [project]
    _place(given, group, mailboxes, rng)


def _own_events(person: Person, mailbox: Mailbox, rng: random.Random) -> None:
    """A holiday, a birthday every year, and a calendar of one's own."""
    store, owner = mailbox.calendars, {"organizer": _address(person)}
    zone, away = ZONES[person.office], _day(rng, -150, 60)
    whole = {"start": _time(away, 0, 0, zone), "isAllDay": True, "showAs": "oof"}
    whole["end"] = _time(away + timedelta(days=rng.randint(1, 12)), 0, 0, zone)
    store.add(store.default, owner | whole | {"subject": "Holiday"}, at=END)
    private = store.add_calendar("Private", at=END, properties={"color": "lightGreen"})
    born = date(2000, rng.randint(1, 12), rng.randint(1, 28))
    yearly = {
        "pattern": {"type": "absoluteYearly", "interval": 1, "month": born.month,
                    "dayOfMonth": born.day},
        "range": {"type": "noEnd", "startDate": f"{born}"},
    }  # fmt: skip
    party = {"start": _time(born, 0, 0, zone), "end": _time(born + timedelta(days=1), 0, 0, zone)}
    given = party | {"subject": "Birthday of Grandmother", "isAllDay": True, "showAs": "free"}
    store.add(private, owner | given | {"recurrence": yearly, "sensitivity": "private"}, at=END)


# contacts and tasks


def _contacts(person: Person, mailbox: Mailbox, rng: random.Random) -> None:
    store = mailbox.contacts
    clients = store.add_container("Clients", at=END)
    for given, surname, company in rng.sample(_CLIENTS, 6):
        address = f"contact{_CLIENTS.index((given, surname, company))}@clients.example"
        folder = clients if rng.random() < 0.5 else store.default
        contact = store.add(
            folder,
            {
                "givenName": given,
                "surname": surname,
                "companyName": company,
                "emailAddresses": [{"name": f"{given} {surname}", "address": address}],
                "businessPhones": [f"+44 113 496 {rng.randrange(1000):04d}"],
                "businessAddress": {"city": rng.choice(("Rotterdam", "Lyon", "Gdańsk", "Malmö"))},
                "categories": [rng.choice(person.projects)],
                "personalNotes": paragraph(rng, person.projects[0], 1),
            },
            at=END - rng.random() * YEARS,
        )
        if rng.random() < 0.5:
            store.set_photo(contact, BytesBlob(_picture(rng)), at=END - 86_400.0)


def _picture(rng: random.Random) -> bytes:
    """A PNG of two colours, so that faces differ at a glance."""
    colours = [bytes(rng.randrange(256) for _ in range(3)) for _ in range(2)]
    rows = b"".join(
        b"\0" + b"".join(colours[(x // 8 + y // 8) % 2] for x in range(_PICTURE))
        for y in range(_PICTURE)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", _PICTURE, _PICTURE, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _tasks(person: Person, mailbox: Mailbox, rng: random.Random) -> None:
    store = mailbox.tasks
    project = store.add_container(person.projects[0], at=END)
    for title in rng.sample(_TASKS, 4):
        done = rng.random() < 0.4
        due = {"dateTime": f"{_day(rng, -60, 60)}T00:00:00.0000000", "timeZone": "UTC"}
        given = {
            "title": title,
            "body": {"contentType": "text", "content": paragraph(rng, person.projects[0], 1)},
            "status": "completed" if done else rng.choice(("notStarted", "inProgress")),
            "dueDateTime": due,
            "importance": rng.choice(("normal", "normal", "high")),
        }
        if done:
            given["completedDateTime"] = due
        where = project if rng.random() < 0.5 else store.default
        task = store.add(where, given, at=END - rng.random() * YEARS / 4)
        for number in range(rng.randrange(3)):
            item = {"displayName": f"Step {number + 1}", "isChecked": done}
            store.add_check(task, item, at=END - 3600.0)


def change(mailboxes: dict[Person, Mailbox], rng: random.Random, at: float) -> dict[str, int]:
    """A day of changes: meetings renamed, moved and deleted, tasks finished, contacts corrected."""
    made = {"meetings": 0, "tasks done": 0, "contacts": 0}
    for mailbox in rng.sample(list(mailboxes.values()), min(12, len(mailboxes))):
        store = mailbox.calendars
        if events := [e for e in store.default.records.values() if not e.is_series]:
            event = rng.choice(events)
            made["meetings"] += 1
            if rng.random() < 0.3:
                store.remove(event, at=at)
            else:
                store.change(event, {"subject": f"{event.properties['subject']} (new)"}, at=at)
        open_tasks = [t for t in mailbox.tasks.records() if t.properties["status"] != "completed"]
        if open_tasks:
            task = rng.choice(open_tasks)
            done = {"status": "completed", "completedDateTime": task.properties["dueDateTime"]}
            mailbox.tasks.touch(task, done, at=at)
            made["tasks done"] += 1
        if contacts := list(mailbox.contacts.records()):
            phone = {"mobilePhone": f"+44 113 496 {rng.randrange(1000):04d}"}
            mailbox.contacts.touch(rng.choice(contacts), phone, at=at)
            made["contacts"] += 1
    return made
