"""
Walks a user's mailbox with msgraph-sdk as it comes and prints what it found as JSON.

Arguments: tenant id, client id, user. The secret is in GRAPH_SECRET; where Graph is, the proxy decides.
"""

import asyncio
import json
import os
import sys
from typing import Any

from azure.identity import ClientSecretCredential
from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph import GraphServiceClient

UNKNOWN: set[str] = set()


def immutable(parameters: Any = None) -> RequestConfiguration[Any]:
    """A configuration that asks for immutable ids."""
    configuration = RequestConfiguration(query_parameters=parameters)
    configuration.headers.add("Prefer", 'IdType="ImmutableId"')
    return configuration


async def pages(builder: Any, configuration: Any = None) -> list[Any]:
    """All entries of a listing; members that the SDK does not know are noted."""
    found: list[Any] = []
    page = await builder.get(request_configuration=configuration or immutable())
    while page is not None:
        found += page.value or []
        link = page.odata_next_link
        page = await builder.with_url(link).get(request_configuration=immutable()) if link else None
    for entry in found:
        extra = entry.additional_data or {}
        UNKNOWN.update(f"{type(entry).__name__}.{n}" for n in extra if "@" not in n)
    return found


async def walk(client: GraphServiceClient, name: str) -> dict[str, Any]:
    user = client.users.by_user_id(name)
    found: dict[str, Any] = {"messages": {}, "events": {}, "contacts": {}, "tasks": {}}
    pending = [user.mail_folders]
    while pending:
        for folder in await pages(pending.pop()):
            one = user.mail_folders.by_mail_folder_id(folder.id)
            if folder.child_folder_count:
                pending.append(one.child_folders)
            for message in await pages(one.messages.delta):
                hung = await pages(user.messages.by_message_id(message.id).attachments)
                found["messages"][message.id] = [message.subject, len(hung)]
    for calendar in await pages(user.calendars):
        for event in await pages(user.calendars.by_calendar_id(calendar.id).events):
            hung = await pages(user.events.by_event_id(event.id).attachments)
            rule = event.recurrence.pattern.type.value if event.recurrence else None
            found["events"][event.id] = [event.subject, len(hung), rule]
    folders = user.contact_folders
    below = [folders.by_contact_folder_id(f.id) for f in await pages(folders.delta)]
    for place in (user, *below):
        for contact in await pages(place.contacts):
            found["contacts"][contact.id] = contact.display_name
    for given in await pages(user.todo.lists):
        tasks = user.todo.lists.by_todo_task_list_id(given.id).tasks
        for task in await pages(tasks):
            checks = await pages(tasks.by_todo_task_id(task.id).checklist_items)
            found["tasks"][task.id] = [task.title, task.status.value, len(checks)]
    return found


async def main() -> None:
    tenant, app, user = sys.argv[1:]
    credential = ClientSecretCredential(tenant, app, os.environ["GRAPH_SECRET"])
    client = GraphServiceClient(credential, ["https://graph.microsoft.com/.default"])
    found = await walk(client, user)
    print(json.dumps(found | {"unknown": sorted(UNKNOWN)}))


asyncio.run(main())
