"""
Recipe `nasty`: everything bad that Exchange is known to do, at once, in a mailbox that is else whole.

Users: `ada` has it all; `gone` has no mailbox; `denied` has one that the app may not read; `full` is
over its quota, so that change tracking fails. `tenant.marks` names each oddity and the id it is on;
what is not in the data is a failing item (`tenant.failing`) or a rule of a fault script
(`tenant.rules`), which the emulator puts in force when it starts.
"""

import datetime
from typing import Any

from tools.emulator.blob import BytesBlob
from tools.emulator.clock import Clock
from tools.emulator.mailbox import Folder, Mailbox
from tools.emulator.message import Message, MessageAttachment
from tools.emulator.mime_writer import compose
from tools.emulator.recipes import tiny
from tools.emulator.recipes.tiny import BEGUN, add, file, mime, series, times, written
from tools.emulator.tenant import Failing, Tenant

_MANY = 60  # attachments of one message
_DEPTH = 12  # of nested folders
_INVITATION = (
    b"From: ben@tiny.example\r\nTo: ada@tiny.example\r\nSubject: Invitation\r\n"
    b"Message-ID: <invitation@tiny>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/calendar; method=REQUEST; charset=utf-8\r\n\r\n"
    b"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART:20260303T090000Z\r\n"
    b"END:VEVENT\r\nEND:VCALENDAR\r\n"
)
_INLINE = (
    b"From: ben@tiny.example\r\nSubject: inline only\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/related; boundary=B\r\n\r\n--B\r\nContent-Type: text/html\r\n\r\n"
    b'<img src="cid:p">\r\n--B\r\nContent-Type: image/png; name=p.png\r\nContent-ID: <p>\r\n'
    b"Content-Disposition: inline; filename=p.png\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n--B--\r\n"
)


class NastyTenant(Tenant):
    """A tenant that knows what is bad about it: `marks` has the name of each oddity and its id."""

    def __init__(self, seed: int, clock: Clock) -> None:
        super().__init__(seed, "Nasty Organisation", "nasty", clock)
        self.marks: dict[str, str] = {}

    def fail(self, mark: str, item: str, status: int, code: str, *, content: bool = False) -> None:
        """Let reads of an item, or of its content only, fail for ever."""
        self.marks[mark] = item
        self.failing.append(Failing(item, status, code, content))

    def rule(self, path: str, **do: Any) -> None:
        """Add a rule for calls on a path; `once`, `times` and `mailbox` say when."""
        when = {name: do.pop(name) for name in ("once", "times", "mailbox") if name in do}
        self.rules.append({"when": {"path": path} | when, "do": do})


def build(seed: int, clock: Clock) -> NastyTenant:
    """The tenant of this recipe."""
    tenant = NastyTenant(seed, clock)
    ada = tiny.add_user(tenant, "ada")
    tiny.fill(tenant, ada)
    assert ada.mailbox is not None
    _messages(tenant, ada.mailbox)
    _folders(tenant, ada.mailbox)
    _calendars(tenant, ada.mailbox, ada.mail_address)
    _contacts_and_tasks(tenant, ada.mailbox)
    tiny.add_user(tenant, "gone", mail=False)
    tenant.denied.append(tiny.add_user(tenant, "denied").key)
    full = tiny.add_user(tenant, "full")
    assert full.mailbox is not None
    add(full.mailbox, "Inbox", mime("over quota"))
    tenant.rule(
        "/users/*/mailFolders/*/messages/delta", mailbox=full.upn, status=403,
        code="ErrorQuotaExceeded",
    )  # fmt: skip
    return tenant


def _messages(tenant: NastyTenant, mailbox: Mailbox) -> None:
    def put(mark: str, blob: BytesBlob | None = None) -> Message:
        message = add(mailbox, "Inbox", blob or mime(mark))
        tenant.marks[mark] = message.key
        return message

    for mark, status, code in (
        ("mime conversion fails", 500, "ErrorMimeContentConversionFailed"),
        ("corrupt message", 500, "ErrorCorruptData"),
        ("invalid recipients", 400, "ErrorInvalidRecipients"),
        ("gone when read", 404, "ErrorItemNotFound"),
        ("server error for ever", 500, "ErrorInternalServerError"),
    ):
        tenant.fail(mark, put(mark).key, status, code, content=True)
    silent = put("empty 404, once").key
    for form in (silent, mailbox.message(silent).movable):
        tenant.rule(f"/users/*/messages/{form}/$value", once=True, status=404, body="empty")
    put("empty", BytesBlob(b""))
    put("no headers", BytesBlob(b"\r\nonly a body\r\n"))
    put("no subject, no date", BytesBlob(b"From: x\r\n\r\nbody\r\n"))
    put("control characters", BytesBlob(b"Subject: a\x01b\x0b\tc\r\n\r\n\x00\x01\x1f\r\n"))
    put("inline only", BytesBlob(_INLINE))
    put("invitation", BytesBlob(_INVITATION)).item_class = "IPM.Schedule.Meeting.Request"
    inbox = mailbox.folder("inbox")
    many = [file(f"{number}.txt") for number in range(_MANY)]
    tenant.marks["many attachments"] = _written(tenant, mailbox, inbox, many, "many attachments")
    crowded = _written(tenant, mailbox, inbox, [file("a.txt"), file("b.txt")], "too many objects")
    tenant.marks["attachments fail at once"] = crowded
    for form in (crowded, mailbox.message(crowded).movable):
        tenant.rule(
            f"/users/*/messages/{form}/attachments", times=1, status=500,
            code="ErrorTooManyObjectsOpened",
        )  # fmt: skip
    odd = [file("same"), file("same"), file("a/b:c?.txt"), file("x" * 250), file(" ")]
    tenant.marks["odd names of attachments"] = _written(tenant, mailbox, inbox, odd, "odd names")
    put("nested four deep", BytesBlob(_nested(4)))


def _nested(depth: int) -> bytes:
    """A message in a message in a message, with a file in the innermost."""
    if depth:
        inner = MessageAttachment(0, "item", f"level {depth}", None, BytesBlob(_nested(depth - 1)))
    else:
        inner = MessageAttachment(0, "file", "deep.txt", "text/plain", BytesBlob(b"deep"))
    return compose({"subject": f"level {depth}"}, BEGUN, "normal", [inner])


def _written(
    tenant: Tenant, mailbox: Mailbox, place: Folder, attachments: list[dict[str, Any]], subject: str
) -> str:
    return written(mailbox, tenant, place, attachments, subject=subject).key


def _folders(tenant: NastyTenant, mailbox: Mailbox) -> None:
    root = mailbox.root
    for name in ("a/b", " leading", "trailing. ", "CON", "ü", "u\u0308", "x" * 200, "日本語", "."):
        folder = mailbox.add_folder(root, name, at=BEGUN)
        mailbox.add(folder, mime("in an odd folder"), at=BEGUN, received=BEGUN)
    deep = "/".join(f"level {number}" for number in range(_DEPTH))
    add(mailbox, deep, mime("far down"))
    mailbox.rename_folder(mailbox.folder("sentitems"), "Gesendete Elemente", at=BEGUN)
    for mark, do in (
        ("folder that cannot be listed", {"status": 500, "code": "ErrorInternalServerError"}),
        ("folder without change tracking", {"status": 400, "code": "ErrorInvalidUrlQuery"}),
    ):
        folder = mailbox.add_folder(root, mark, at=BEGUN)
        mailbox.add(folder, mime(mark), at=BEGUN, received=BEGUN)
        tenant.marks[mark] = folder.key
        tenant.rule(f"/users/*/mailFolders/{folder.key}/messages/delta", **do)
        if do["status"] == 500:
            tenant.rule(f"/users/*/mailFolders/{folder.key}/messages", **do)


def _calendars(tenant: NastyTenant, mailbox: Mailbox, owner: dict[str, Any]) -> None:
    store, mine = mailbox.calendars, {"organizer": {"emailAddress": owner}}

    def put(mark: str, when: dict[str, Any], **more: Any) -> str:
        event = store.add(store.default, mine | when | more | {"subject": mark}, at=BEGUN)
        tenant.marks[mark] = event.key
        return event.key

    for name in ("Twin", "Twin", "Calendar"):
        twin = store.add_calendar(name, at=BEGUN)
        store.add(twin, mine | times("2026-03-03") | {"subject": "in a twin"}, at=BEGUN)
    other = {"name": "Ben", "address": "ben@elsewhere.example"}
    shared = store.add_calendar("Ben", at=BEGUN, properties={"owner": other, "canEdit": False})
    tenant.fail("calendar of somebody else", shared.key, 404, "ErrorItemNotFound")
    corrupt = put("corrupt event", times("2026-03-03"))
    tenant.fail("corrupt event", corrupt, 500, "ErrorCorruptData")
    endless = put("too many instances", times("2026-03-02") | series(
        "2026-03-02", {"type": "noEnd"}, type="daily"))  # fmt: skip
    for form in (endless, store.record(endless).movable):
        tenant.rule(f"/users/*/events/{form}/instances", status=503, body="empty")
    tenant.rule("/users/*/calendarView/delta", mailbox=owner["address"], status=503, body="empty")
    zoneless = series("2026-03-02")
    zoneless["recurrence"]["range"]["recurrenceTimeZone"] = ""
    put("series without a zone", times("2026-03-02") | zoneless)
    put("no body", times("2026-03-04"), body={"contentType": "html", "content": ""})
    put("old", times("1900-01-01", zone="UTC"))
    put("no length", times("2026-03-04", "09:00", "09:00"))
    address = "/o=ExchangeLabs/ou=Exchange Administrative Group/cn=Recipients/cn=ada"
    put("address of Exchange", times("2026-03-04"), attendees=[tiny.guest(address)])
    put("nobody's address", times("2026-03-04"), attendees=[
        {"type": "required", "status": {"response": "none", "time": "0001-01-01T00:00:00Z"},
         "emailAddress": {"name": "Somebody", "address": None}}])  # fmt: skip
    key = put("late at night", times("2026-03-02", "23:30", "23:45", "Tokyo Standard Time") | series(
        "2026-03-02", type="daily", daysOfWeek=[]))  # fmt: skip
    event = store.record(key)
    for day in (3, 4):  # two exceptions that begin on the same day, one of them moved there
        change = times("2026-03-04", f"0{day}:00", f"0{day}:30", "Tokyo Standard Time")
        store.change_instance(event, datetime.date(2026, 3, day), change, at=BEGUN)


def _contacts_and_tasks(tenant: NastyTenant, mailbox: Mailbox) -> None:
    contacts, tasks = mailbox.contacts, mailbox.tasks
    for name in ("Twin", "Twin", "Contacts"):
        folder = contacts.add_container(name, at=BEGUN)
        contacts.add(folder, {"givenName": "in a twin"}, at=BEGUN)
    corrupt = contacts.add(contacts.default, {"givenName": "corrupt"}, at=BEGUN)
    contacts.set_photo(corrupt, BytesBlob(b"\xff\xd8\xff\xd9"), at=BEGUN)
    tenant.fail("picture that fails", corrupt.key, 500, "ErrorInternalServerError", content=True)
    odd = {"displayName": "\u0001odd", "emailAddresses": [{"name": "x", "address": "no address"}]}
    tenant.marks["odd contact"] = contacts.add(contacts.default, odd, at=BEGUN).key
    for name in ("🌱", "a/b", "a/b"):
        tasks.add(tasks.add_container(name, at=BEGUN), {"title": "in an odd list"}, at=BEGUN)
    broken = tasks.add(tasks.default, {"title": "file that fails"}, at=BEGUN)
    hung = tasks.attach(broken, "lost.bin", BytesBlob(b"lost"), at=BEGUN)
    tenant.fail(
        "file of a task that fails", hung.key, 500, "ErrorInternalServerError", content=True
    )
    untitled = tasks.add(tasks.default, {"title": ""}, at=BEGUN)
    tenant.marks["task without a title"] = untitled.key
