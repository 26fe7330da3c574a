"""
Recipe `mid`: 200 users with 100,000 items, made when asked for.
"""

from typing import Any

from tools.emulator.clock import Clock
from tools.emulator.made_mailbox import MadeMailbox
from tools.emulator.mailbox import Folder, Mailbox
from tools.emulator.message import Message
from tools.emulator.recipes.huge import FIRST, fill, make_message
from tools.emulator.tenant import Tenant, User

USERS = 200
MESSAGES = 480  # of each user
_EVENTS, _CONTACTS, _TASKS = 10, 6, 4
_DAY = 86_400


def build(seed: int, clock: Clock) -> Tenant:
    """The tenant of this recipe."""
    tenant = Tenant(seed, "Middling Organisation", "mid", clock)
    for number in range(USERS):
        upn = f"user{number:03d}@{tenant.domain}"
        profile = {
            "displayName": f"User {number:03d}", "mail": upn, "accountEnabled": True,
            "userType": "Member",
        }  # fmt: skip
        user = tenant.add_user(upn, profile, mail=True, files=False, at=float(FIRST))
        user.mailbox = _mailbox(seed, user)
        _records(user.mailbox, user.mail_address, number)
    return tenant


def _mailbox(seed: int, user: User) -> MadeMailbox:
    """A mailbox with its messages in three folders."""

    def make(number: int, folder: Folder) -> Message:
        return make_message(f"{seed}:{user.key}", number, folder)

    mailbox = MadeMailbox(seed, user.key, make)
    places = (mailbox.folder("inbox"), mailbox.folder("archive"), mailbox.folder("sentitems"))
    for folder, share in zip(places, (50, 30, 20), strict=True):
        fill(mailbox, folder, MESSAGES * share // 100)
    return mailbox


def _records(mailbox: Mailbox, owner: dict[str, Any], number: int) -> None:
    calendars, contacts, tasks = mailbox.calendars, mailbox.contacts, mailbox.tasks
    for count in range(_EVENTS):
        day = f"2026-{count % 12 + 1:02d}-{(number + count) % 28 + 1:02d}"
        times = {
            name: {"dateTime": f"{day}T{hour:02d}:00:00", "timeZone": "UTC"}
            for name, hour in (("start", 9), ("end", 10))
        }
        event = times | {"subject": f"Meeting {count}", "organizer": {"emailAddress": owner}}
        calendars.add(calendars.default, event, at=float(FIRST + count * _DAY))
    for count in range(_CONTACTS):
        person = {"givenName": f"Contact {count}", "surname": f"of user {number}"}
        contacts.add(contacts.default, person, at=float(FIRST + count * _DAY))
    for count in range(_TASKS):
        tasks.add(tasks.default, {"title": f"Task {count}"}, at=float(FIRST + count * _DAY))
