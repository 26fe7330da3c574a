"""
Days of work at the demo company: deterministic changes that go on from where the tenant stands.
"""

import dataclasses
import random
from collections import Counter

from tools.emulator.blob import BytesBlob
from tools.emulator.demo import agenda, mail
from tools.emulator.demo.documents import Document
from tools.emulator.demo.files import END
from tools.emulator.demo.letters import plan_thread
from tools.emulator.demo.people import PROJECTS
from tools.emulator.demo.recipe import DemoTenant
from tools.emulator.drive import Drive
from tools.emulator.tenant import Tenant

_DAY = 86_400.0
_THREADS_FROM = 1_000_000  # thread numbers that the recipe itself does not use


def churn(tenant: Tenant, days: int = 1) -> dict[str, int]:
    """
    Let `days` days of work pass.

    Returns:
        How many of each change were made.

    Raises:
        ValueError: the tenant is not of the demo recipe.
    """
    if not isinstance(tenant, DemoTenant):
        raise ValueError("only the demo tenant knows how its days go")
    made: Counter[str] = Counter()
    for _ in range(days):
        tenant.day += 1
        rng = random.Random(f"{tenant.seed}:day:{tenant.day}")
        _mail(tenant, rng, made)
        _files(tenant, rng, made)
        made.update(agenda.change(tenant.mailboxes(), rng, END + tenant.day * _DAY))
    return dict(made)


def _mail(tenant: DemoTenant, rng: random.Random, made: Counter[str]) -> None:
    """New threads; some old mails deleted, moved, read."""
    begin = END + tenant.day * _DAY
    mailboxes = tenant.mailboxes()
    present = list(mailboxes)
    for number in range(8):
        thread = _THREADS_FROM + tenant.day * 100 + number
        members = rng.sample(present, min(len(present), rng.randint(2, 4)))
        project = rng.choice(PROJECTS)
        if len(members) < 2:
            continue
        moment = begin - rng.random() * _DAY / 2
        for letter in plan_thread(tenant.seed, thread, project, members, moment, rng):
            late = dataclasses.replace(letter, sent=float(int(moment)))
            mail.deliver(late, mailboxes, tenant.library, rng, tenant.cache)
            made["mails"] += 1
    for mailbox in rng.sample(list(mailboxes.values()), min(20, len(mailboxes))):
        inbox = list(mailbox.folder("inbox").messages.values())
        for message in rng.sample(inbox, min(3, len(inbox))):
            change = rng.choice(("delete", "move", "read"))
            made[change] += 1
            if change == "delete":
                mailbox.remove(message, at=begin)
            elif change == "move":
                mailbox.move(message, mailbox.folder("archive"), at=begin)
            else:
                mailbox.touch(message, at=begin, is_read=not message.is_read)


def _files(tenant: DemoTenant, rng: random.Random, made: Counter[str]) -> None:
    """Some files edited, added, renamed, deleted."""
    drives = [user.drive for user in tenant.users.values() if user.drive]
    for drive in rng.sample(drives, min(15, len(drives))):
        for change in rng.choices(("edit", "add", "rename", "remove"), (5, 3, 1, 1), k=3):
            made[f"files {change}"] += 1
            _change_file(tenant, drive, change, rng)


def _change_file(tenant: DemoTenant, drive: Drive, change: str, rng: random.Random) -> None:
    at = END + tenant.day * _DAY + rng.randrange(40_000)
    files = sorted(drive.files(), key=lambda item: item.path)
    if change == "add" or not files:
        path = f"Documents/day {tenant.day:03d} note {rng.randrange(10_000):04d}.txt"
        document = Document(tenant.seed, f"{drive.key}/{path}", "txt", rng.choice(PROJECTS))
        drive.put(path, tenant.library.blob(document), at=at)
        return
    item = rng.choice(files)
    if change == "remove":
        drive.remove(item, at=at)
    elif change == "rename":
        folder, _, name = item.path.rpartition("/")
        new = f"day {tenant.day:03d} {rng.randrange(10_000):04d} {name}"
        drive.move(item, f"{folder}/{new}", at=at)
    elif item.content is not None:
        line = f"\nEdited on day {tenant.day}, {rng.random()}\n".encode()
        drive.put(item.path, BytesBlob(item.content.read() + line), at=at)
