"""
Walks a user's mailbox with O365 as it comes and prints what it found as JSON.

Arguments: tenant id, client id, user. The secret is in GRAPH_SECRET; where Graph is, the proxy decides.
"""

import json
import os
import sys
from typing import Any

from O365 import Account
from O365.address_book import AddressBook, ContactFolder
from O365.utils.token import MemoryTokenBackend


def _folder(book: AddressBook, given: AddressBook) -> ContactFolder:
    data = {"id": given.folder_id, "displayName": given.name}
    return ContactFolder(parent=book, **{book._cloud_data_key: data})


def walk(account: Account, user: str) -> dict[str, Any]:
    found: dict[str, Any] = {"messages": {}, "events": {}, "contacts": {}, "tasks": {}}
    pending = [account.mailbox(resource=user)]
    while pending:
        for folder in pending.pop().get_folders(limit=None):
            pending.append(folder)
            for message in folder.get_messages(limit=None):
                found["messages"][message.object_id] = message.subject
    for calendar in account.schedule(resource=user).list_calendars():
        for event in calendar.get_events(limit=None, include_recurring=False):
            found["events"][event.object_id] = event.subject
    book = account.address_book(resource=user)
    places = book.get_folders(
        limit=None
    )  # these come as address books, whose contacts are the root's
    places = [_folder(book, each) for each in places]
    for contact in book.get_contacts(limit=None):
        found["contacts"][contact.object_id] = contact.display_name
    while places:
        place = places.pop()
        places += place.get_folders(limit=None)
        for contact in place.get_contacts(limit=None):
            found["contacts"][contact.object_id] = contact.display_name
    for given in account.tasks(resource=user).list_folders():
        for task in given.get_tasks():
            found["tasks"][task.task_id] = task.subject
    return found


def main() -> None:
    tenant, app, user = sys.argv[1:]
    account = Account(
        (app, os.environ["GRAPH_SECRET"]),
        auth_flow_type="credentials",
        tenant_id=tenant,
        requests_delay=0,
        token_backend=MemoryTokenBackend(),
    )
    assert account.authenticate()
    print(json.dumps(walk(account, user)))


main()
