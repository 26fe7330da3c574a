"""
Recipe `tiny`: everything that a mailbox can hold once, small enough to read by eye.

Two users: Ada has everything, Ben has what every mailbox has.
"""

import datetime
from typing import Any

from tools.emulator import message_input
from tools.emulator.attachment_input import read_attachment
from tools.emulator.blob import BytesBlob
from tools.emulator.calendars import CalendarStore, Event
from tools.emulator.clock import Clock
from tools.emulator.contacts import ContactStore
from tools.emulator.mailbox import Folder, Mailbox
from tools.emulator.message import FLAGGED, Message
from tools.emulator.message_store import MessageStore
from tools.emulator.tasks import TaskStore
from tools.emulator.tenant import Tenant, User

BEGUN = 1_767_225_600.0  # 2026-01-01
BERLIN = "W. Europe Standard Time"
_BYTES = "QUJD"
_FLAGS = {"id": "Integer 0x0E07", "value": "1"}
_JPEG = (
    b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x30\x00\x40\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01\xff\xd9"
)


def build(seed: int, clock: Clock) -> Tenant:
    """The tenant of this recipe."""
    tenant = Tenant(seed, "Tiny Organisation", "tiny", clock)
    add_user(tenant, "ben")
    fill(tenant, add_user(tenant, "ada"))
    return tenant


def add_user(tenant: Tenant, name: str, *, mail: bool = True) -> User:
    """A user with mailbox and drive."""
    profile = {
        "displayName": name.title(),
        "mail": f"{name}@{tenant.domain}",
        "accountEnabled": True,
        "userType": "Member",
    }
    return tenant.add_user(f"{name}@{tenant.domain}", profile, mail=mail, files=True, at=BEGUN)


def fill(tenant: Tenant, user: User) -> None:
    """Put everything once into the mailbox of a user, and a file into the drive."""
    mailbox = user.mailbox
    assert mailbox is not None
    fill_mail(mailbox, tenant)
    fill_calendars(mailbox.calendars, user.mail_address)
    fill_contacts(mailbox.contacts)
    fill_tasks(mailbox.tasks)
    if user.drive:
        user.drive.put("Documents/note.txt", BytesBlob(b"a note"), at=BEGUN)


# mail


def mime(subject: str, body: str = "Hello.", head: str = "") -> BytesBlob:
    """A plain message."""
    text = (
        f"From: Ben <ben@tiny.example>\r\nTo: Ada <ada@tiny.example>\r\nSubject: {subject}\r\n"
        f"Date: Fri, 02 Jan 2026 10:00:00 +0000\r\nMessage-ID: <{subject.replace(' ', '.')}@tiny>\r\n"
        f"{head}MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n"
    )
    return BytesBlob(text.encode())


def add(mailbox: Mailbox, place: str, blob: BytesBlob, **more: Any) -> Message:
    """Put a message into the folder at a path of names."""
    return mailbox.add(mailbox.folder_at(place, at=BEGUN), blob, at=BEGUN, received=BEGUN, **more)


def written(
    mailbox: Mailbox, tenant: Tenant, place: Folder, attachments: list[dict[str, Any]], **more: Any
) -> Message:
    """A message of properties with attachments, not a draft."""
    store = MessageStore(mailbox, tenant.seed, tenant.domain, BEGUN)
    body = {"singleValueExtendedProperties": [_FLAGS]} | more
    message = store.create(place, message_input.read(body))
    for attachment in attachments:
        store.attach(message, read_attachment(attachment))
    return message


def file(name: str, **more: Any) -> dict[str, Any]:
    """A file attachment as a client writes it."""
    kind = "#microsoft.graph.fileAttachment"
    return {"@odata.type": kind, "name": name, "contentBytes": _BYTES} | more


def fill_mail(mailbox: Mailbox, tenant: Tenant) -> None:
    """Folders and messages of every kind."""
    add(mailbox, "Inbox", mime("unread"), is_read=False)
    add(mailbox, "Inbox/Below/Deeper", mime("deep"))
    add(mailbox, "Inbox/Below/Deeper", mime("urgent", head="Importance: high\r\n"))
    flagged = add(mailbox, "Archive", mime("flagged"))
    flagged.flag, flagged.categories = FLAGGED, ("Red category",)
    add(mailbox, "Drafts", mime("draft"), is_draft=True)
    dumpster = mailbox.folder("recoverableitemsdeletions")
    mailbox.add(dumpster, mime("soon gone"), at=BEGUN, received=BEGUN)
    mailbox.folder_at("Empty", at=BEGUN)
    mailbox.add_folder(mailbox.root, "Hidden", hidden=True, at=BEGUN)
    mailbox.add_folder(mailbox.root, "All unread", hidden=True, search=True, at=BEGUN)
    item = {
        "@odata.type": "#microsoft.graph.itemAttachment",
        "name": "inner",
        "item": {
            "@odata.type": "#microsoft.graph.message",
            "subject": "inner",
            "body": {"contentType": "text", "content": "inside"},
        },
    }
    link = {
        "@odata.type": "#microsoft.graph.referenceAttachment",
        "name": "linked.docx",
        "sourceUrl": "https://tiny.sharepoint.com/linked.docx",
    }
    picture = file("dot.png", isInline=True, contentId="dot", contentType="image/png")
    html = {"contentType": "html", "content": '<p>See <img src="cid:dot"></p>'}
    inbox = mailbox.folder("inbox")
    written(mailbox, tenant, inbox, [file("a.txt"), item, link, picture], subject="all", body=html)


# calendars


def times(day: str, begin: str = "09:00", end: str = "10:00", zone: str = BERLIN) -> dict[str, Any]:
    """Start and end on one day."""
    return {
        "start": {"dateTime": f"{day}T{begin}:00", "timeZone": zone},
        "end": {"dateTime": f"{day}T{end}:00", "timeZone": zone},
    }


def series(first: str, span: dict[str, Any] | None = None, **pattern: Any) -> dict[str, Any]:
    """The recurrence of a series."""
    rule = {"type": "weekly", "interval": 1, "daysOfWeek": ["monday"]} | pattern
    ends = {"type": "numbered", "numberOfOccurrences": 6} if span is None else span
    return {"recurrence": {"pattern": rule, "range": ends | {"startDate": first}}}


def guest(address: str, kind: str = "required", answer: str = "accepted") -> dict[str, Any]:
    """An attendee who has answered."""
    return {
        "type": kind,
        "status": {"response": answer, "time": "2026-01-01T00:00:00Z"},
        "emailAddress": {"name": address.split("@")[0], "address": address},
    }


def fill_calendars(store: CalendarStore, owner: dict[str, Any]) -> None:
    """Calendars and events of every kind."""
    mine = {"organizer": {"emailAddress": owner}}

    def put(subject: str, when: dict[str, Any], **more: Any) -> Event:
        return store.add(store.default, mine | when | more | {"subject": subject}, at=BEGUN)

    put(
        "single",
        times("2026-03-03"),
        location={"displayName": "Room 1"},
        categories=["Red category"],
    )
    put("all day", {
        "start": {"dateTime": "2026-05-01T00:00:00", "timeZone": BERLIN},
        "end": {"dateTime": "2026-05-02T00:00:00", "timeZone": BERLIN},
    }, isAllDay=True, showAs="free")  # fmt: skip
    put("meeting", times("2026-03-05"), attendees=[
        guest("ben@tiny.example"), guest("room@tiny.example", "resource"),
        guest("carl@tiny.example", "optional", "declined"),
    ])  # fmt: skip
    theirs = {"organizer": {"emailAddress": {"name": "Ben", "address": "ben@tiny.example"}}}
    answered = {"response": "tentativelyAccepted", "time": "2026-01-01T00:00:00Z"}
    put("invited", times("2026-03-06"), isOrganizer=False, responseStatus=answered,
        attendees=[guest(owner["address"])], **theirs)  # fmt: skip
    put("cancelled", times("2026-03-07"), isOrganizer=False, isCancelled=True, **theirs)
    weekly = put("weekly", times("2026-03-02") | series("2026-03-02"))
    moved = times("2026-03-17", "15:00", "16:00") | {"subject": "weekly, moved"}
    change = store.change_instance(weekly, datetime.date(2026, 3, 16), moved, at=BEGUN)
    hung = store.attachment("agenda.txt", BytesBlob(b"agenda"), BEGUN)
    hung.content_type = "text/plain"
    change.attachments[hung.key] = hung
    store.cancel_instance(weekly, datetime.date(2026, 3, 23), at=BEGUN)
    put("last friday", times("2026-01-30") | series(
        "2026-01-30", {"type": "noEnd"}, type="relativeMonthly", daysOfWeek=["friday"],
        index="last"))  # fmt: skip
    attached = put("with files", times("2026-03-09"))
    store.attach(attached, "plan.txt", BytesBlob(b"plan"), at=BEGUN).content_type = "text/plain"
    link = store.attach(attached, "link", BytesBlob(b"https://tiny.example/x"), at=BEGUN)
    link.kind = "reference"
    group = store.add_group("Other calendars")
    other = store.add_calendar("Travel", group=group, properties={"color": "lightRed"}, at=BEGUN)
    store.add(other, mine | times("2026-04-01", zone="Tokyo Standard Time"), at=BEGUN)


# contacts and tasks


def fill_contacts(store: ContactStore) -> None:
    """Contacts with everything and with nothing, in folders."""
    place = {
        "street": "Quay 1",
        "city": "Porto",
        "postalCode": "4000",
        "countryOrRegion": "Portugal",
    }
    full = store.add(
        store.default,
        {
            "givenName": "Eva", "middleName": "Maria", "surname": "Ng", "title": "Dr",
            "nickName": "E", "birthday": "1980-02-29T11:59:00Z", "companyName": "Brightwater",
            "jobTitle": "Buyer", "homePhones": ["+1"], "businessPhones": ["+2", "+3"],
            "mobilePhone": "+4", "homeAddress": place, "businessAddress": place,
            "children": ["Lo"], "spouseName": "Al", "personalNotes": "two\nlines",
            "emailAddresses": [{"name": "Eva", "address": "eva@x.example"}],
            "categories": ["Red category"], "yomiSurname": "ング",
        },
        at=BEGUN,
    )  # fmt: skip
    store.set_photo(full, BytesBlob(_JPEG), at=BEGUN)
    store.add(store.default, {}, at=BEGUN)
    folder = store.add_container("Suppliers", at=BEGUN)
    below = store.add_container("Old", parent=folder, at=BEGUN)
    store.add(below, {"companyName": "Aldine Press"}, at=BEGUN)


def fill_tasks(store: TaskStore) -> None:
    """Lists and tasks of every kind."""
    due = {"dateTime": "2026-03-03T00:00:00.0000000", "timeZone": "UTC"}
    daily = {
        "pattern": {"type": "daily", "interval": 1},
        "range": {"type": "noEnd", "startDate": "2026-03-03"},
    }
    task = store.add(
        store.default,
        {
            "title": "everything", "dueDateTime": due, "startDateTime": due,
            "reminderDateTime": due, "isReminderOn": True, "importance": "high",
            "recurrence": daily, "categories": ["Red category"],
            "body": {"contentType": "html", "content": "<p>notes</p>"},
        },
        at=BEGUN,
    )  # fmt: skip
    store.add_check(task, {"displayName": "open", "isChecked": False}, at=BEGUN)
    store.add_check(task, {"displayName": "done", "isChecked": True}, at=BEGUN)
    store.add_link(task, {"webUrl": "https://tiny.example/t", "displayName": "there"}, at=BEGUN)
    store.attach(task, "map.txt", BytesBlob(b"map"), at=BEGUN).content_type = "text/plain"
    given = store.add_container("Garden", at=BEGUN)
    done = {"title": "finished", "status": "completed", "completedDateTime": due}
    store.add(given, done, at=BEGUN)
    store.add(store.flagged, {"title": "a flagged mail"}, at=BEGUN)
