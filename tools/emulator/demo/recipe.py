"""
Builds the demo tenant: people, then files, then mail, then calendars, contacts and tasks.
"""

import random

from tools.emulator.clock import Clock
from tools.emulator.demo import agenda, files, mail, preferences
from tools.emulator.demo.documents import Library
from tools.emulator.demo.letters import plan_threads
from tools.emulator.demo.people import COMPANY, SLUG, Person, people
from tools.emulator.mailbox import Mailbox
from tools.emulator.tenant import Tenant

THREADS = 405


class DemoTenant(Tenant):
    """A demo tenant, with what churn needs to go on from it."""

    def __init__(self, seed: int, clock: Clock) -> None:
        super().__init__(seed, COMPANY, SLUG, clock)
        self.staff = people(seed)
        self.library = Library(self.cache)
        self.day = 0

    def mailboxes(self) -> dict[Person, Mailbox]:
        """The mailbox of everyone who still has one."""
        present = {user.upn: user.mailbox for user in self.users.values()}
        found = {}
        for person in self.staff:
            if (mailbox := present.get(person.address)) is not None:
                found[person] = mailbox
        return found


def build(seed: int, clock: Clock) -> DemoTenant:
    """The tenant of this recipe."""
    tenant = DemoTenant(seed, clock)
    started = files.END - files.YEARS
    for person in tenant.staff:
        user = tenant.add_user(person.address, person.profile(), mail=True, files=True, at=started)
        if user.drive:
            files.fill(user.drive, person, seed, tenant.library)
        if user.mailbox:
            mail.prepare(user.mailbox, person)
            mail.add_oddments(user.mailbox, person, seed)
            preferences.choose(user.mailbox, person, seed)
    mailboxes = tenant.mailboxes()
    rng = random.Random(f"{seed}:shelves")
    letters = plan_threads(seed, tenant.staff, THREADS)
    for letter in sorted(letters, key=lambda each: each.sent):
        mail.deliver(letter, mailboxes, tenant.library, rng, tenant.cache)
    agenda.fill(mailboxes, seed)
    return tenant
