"""
How the people of the demo company have set their mailboxes: categories, rules, absences.
"""

import random

from tools.emulator.demo.agenda import ZONES
from tools.emulator.demo.people import PROJECTS, Person
from tools.emulator.mailbox import Mailbox


def choose(mailbox: Mailbox, person: Person, seed: int) -> None:
    """Set up the mailbox of one person; the folders of projects are there already."""
    rng = random.Random(f"{seed}:preferences:{person.address}")
    settings = mailbox.settings
    settings.change({"timeZone": ZONES[person.office]})
    for number, project in enumerate(PROJECTS):
        settings.add_category({"displayName": project, "color": f"preset{number}"})
    for sequence, project in enumerate(person.projects, 1):
        folder = mailbox.folder_at(f"Projects/{project}")
        settings.add_rule(
            {
                "displayName": f"{project} to its folder",
                "sequence": sequence,
                "conditions": {"subjectContains": [project]},
                "actions": {"moveToFolder": folder.key, "stopProcessingRules": True},
            }
        )
    if rng.random() < 0.2:
        away = f"I am back on Monday. For anything urgent: {person.department}."
        replies = {"status": "alwaysEnabled", "externalAudience": "contactsOnly"}
        settings.change({"automaticRepliesSetting": replies | {"internalReplyMessage": away}})
