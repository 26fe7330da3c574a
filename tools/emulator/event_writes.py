"""
Exchange: calendars and events created, changed and deleted, with the mail that this sends.

Whoever writes to a meeting that the owner of the calendar organizes writes to its attendees: there
is no way through Graph to do it silently but to create it without them.
"""

import base64
import binascii
from datetime import date
from typing import Any

from tools.emulator import exchange, naming
from tools.emulator.blob import BytesBlob
from tools.emulator.calendar_routes import calendar, found_event, store, writer
from tools.emulator.calendars import CalendarGroup, Event, Instance, instance_key
from tools.emulator.call import Call
from tools.emulator.errors import GraphError, bad_request, no_mail_item
from tools.emulator.event_input import changed_event, new_event
from tools.emulator.event_json import attachment_json, calendar_json, group_json
from tools.emulator.outbox import SentKind, SentMail, addresses
from tools.emulator.outlook import upload_reply
from tools.emulator.record_input import ATTACHMENT_BYTES_MAX, check_match, mapi_properties
from tools.emulator.records import RecordAttachment
from tools.emulator.reply import Reply, json_reply
from tools.emulator.route import Method, Route
from tools.emulator.upload_sessions import read_item

_COLORS = (
    "auto", "lightBlue", "lightGreen", "lightOrange", "lightGray", "lightYellow", "lightTeal",
    "lightPink", "lightBrown", "lightRed", "maxColor",
)  # fmt: skip


def _send(call: Call, kind: SentKind, to: tuple[str, ...], subject: str) -> None:
    """Write down the mail that a change sends; a program that makes it go out breaks a rule."""
    if not to:
        return
    sender = call.user().upn
    call.tenant.outbox.append(SentMail(kind, sender, to, subject, call.now))
    call.breach("mail-sent", f"{kind} from {call.template}")


# groups and calendars


def _name(body: dict[str, Any]) -> str | None:
    name = body.get("name")
    if name is not None and (not isinstance(name, str) or not name.strip()):
        raise bad_request("The name is not valid.", "ErrorInvalidName")
    return name


async def create_group(call: Call) -> Reply:
    """POST .../calendarGroups"""
    held, name = store(call), _name(call.body())
    if name is None or any(group.name == name for group in held.groups.values()):
        raise GraphError(409, "ErrorFolderExists", "A group with that name exists already.")
    return json_reply(group_json(held, held.add_group(name)), 201)


async def change_group(call: Call) -> Reply:
    """PATCH .../calendarGroups/{group}"""
    held = store(call)
    group = held.group(call.params["group"])
    group.name = _name(call.body()) or group.name
    group.version += 1
    return json_reply(group_json(held, group))


async def delete_group(call: Call) -> Reply:
    """DELETE .../calendarGroups/{group}, which must be empty"""
    held = store(call)
    group = held.group(call.params["group"])
    used = any(c.properties["group"] == group.key for c in held.containers.values())
    if group is held.default_group or used:
        text = "The calendar group cannot be deleted."
        raise GraphError(400, "ErrorCalendarGroupCannotBeDeleted", text)
    del held.groups[group.key]
    return Reply(204)


def _look(body: dict[str, Any]) -> dict[str, Any]:
    unknown = {name for name in body if "@" not in name} - {"name", "color", "hexColor"}
    if unknown or body.get("color", "auto") not in _COLORS:
        raise bad_request("A property cannot be written.", "ErrorInvalidPropertySet")
    return {name: body[name] for name in ("color", "hexColor") if name in body}


async def create_calendar(call: Call) -> Reply:
    """POST .../calendars: 409 where the mailbox has one of that name"""
    held, body = store(call), call.body()
    group: CalendarGroup | None = None
    if "group" in call.params:
        group = held.group(call.params["group"])
    name = _name(body)
    if name is None or any(each.name == name for each in held.containers.values()):
        text = "A folder with the specified name already exists."
        raise GraphError(409, "ErrorFolderExists", text)
    made = held.add_calendar(name, at=call.now, group=group, properties=_look(body))
    return json_reply(calendar_json(held, made, call.user().mail_address), 201)


async def change_calendar(call: Call) -> Reply:
    """PATCH .../calendars/{calendar}"""
    held, body, found = store(call), call.body(), calendar(call)
    held.change_container(found, at=call.now, name=_name(body), properties=_look(body))
    return json_reply(calendar_json(held, found, call.user().mail_address))


async def delete_calendar(call: Call) -> Reply:
    """DELETE .../calendars/{calendar}; its meetings are not cancelled by that"""
    store(call).remove_container(calendar(call), at=call.now)
    return Reply(204)


# events


def _answer(call: Call, event: Event, instance: Instance | None, status: int) -> Reply:
    made = writer(call)
    body = made.event(event) if instance is None else made.instance(instance)
    headers = exchange.applied(call)
    if status == 201:
        headers["Location"] = f"{call.request.base}/users/{call.params['user']}/events/{body['id']}"
    body = {"@odata.context": call.context("events/$entity")} | body
    return json_reply(body, status, headers)


async def create_event(call: Call) -> Reply:
    """POST .../events: invites everybody who is named as an attendee"""
    held, target, body = store(call), calendar(call), call.body()
    properties = new_event(body)
    used = properties.get("transactionId")
    if used and any(event.properties["transactionId"] == used for event in held.records()):
        text = "Your request can't be completed. The TransactionId was used before."
        raise GraphError(409, "ErrorDuplicateTransactionId", text)
    beside = mapi_properties(body)
    hanging = [read_attachment(call, each) for each in body.get("attachments") or ()]
    owner = {"organizer": {"emailAddress": call.user().mail_address}}
    event = held.add(target, properties | owner, at=call.now)
    event.attachments = {each.key: each for each in hanging}
    event.extended = beside
    _send(call, "invitation", addresses(event.properties["attendees"]), event.properties["subject"])
    return _answer(call, event, None, 201)


def _target(call: Call) -> tuple[Event, date | None, Instance | None]:
    event, instance = found_event(call)
    version = event.version
    if instance is not None:
        version = instance.change.version if instance.change else 0
        key = naming.change_key(store(call).seed, event.key, instance.day, version)
    else:
        key = naming.change_key(store(call).seed, event.key, version)
    check_match(call.headers, key)
    return event, instance.day if instance else None, instance


def _organized(properties: dict[str, Any]) -> tuple[str, ...]:
    """Who hears of a change to a meeting: its attendees, when the owner organizes it."""
    return addresses(properties["attendees"]) if properties["isOrganizer"] else ()


async def change_event(call: Call) -> Reply:
    """PATCH .../events/{event}: of an instance it makes an exception"""
    event, day, instance = _target(call)
    held = store(call)
    old = _organized(instance.properties if instance else event.properties)
    properties = changed_event(call.body(), instance=day is not None)
    event.extended |= mapi_properties(call.body())
    if day is None:
        held.change(event, properties, at=call.now)
        after = event.properties
    else:
        held.change_instance(event, day, properties, at=call.now)
        instance = held.instance(event, day)
        after = instance.properties
    new, subject = _organized(after), after["subject"]
    _send(call, "invitation", tuple(each for each in new if each not in old), subject)
    _send(call, "update", tuple(each for each in new if each in old), subject)
    _send(call, "cancellation", tuple(each for each in old if each not in new), subject)
    return _answer(call, event, instance, 200)


def _remove(call: Call, event: Event, day: date | None) -> None:
    if day is None:
        store(call).remove(event, at=call.now)
    else:
        store(call).cancel_instance(event, day, at=call.now)


async def delete_event(call: Call) -> Reply:
    """DELETE .../events/{event}: cancels a meeting that the owner organizes"""
    event, day, instance = _target(call)
    properties = instance.properties if instance else event.properties
    _remove(call, event, day)
    _send(call, "cancellation", _organized(properties), properties["subject"])
    return Reply(204)


async def permanent_delete(call: Call) -> Reply:
    """POST .../events/{event}/permanentDelete: nobody hears of it"""
    event, day, _ = _target(call)
    _remove(call, event, day)
    return Reply(204)


async def cancel_event(call: Call) -> Reply:
    """POST .../events/{event}/cancel, by the organizer"""
    event, day, instance = _target(call)
    properties = instance.properties if instance else event.properties
    if not properties["isOrganizer"]:
        raise bad_request("Only the organizer cancels a meeting.", "ErrorAccessDenied")
    _remove(call, event, day)
    _send(call, "cancellation", _organized(properties), properties["subject"])
    return Reply(202)


async def respond(call: Call) -> Reply:
    """POST .../events/{event}/accept, tentativelyAccept or decline"""
    event, day, instance = _target(call)
    properties = instance.properties if instance else event.properties
    if properties["isOrganizer"]:
        raise bad_request("The organizer does not answer.", "ErrorInvalidRequest")
    word = call.template.rsplit("/", 1)[1]
    answer = {"accept": "accepted", "tentativelyAccept": "tentativelyAccepted"}.get(word)
    if answer is None:
        _remove(call, event, day)
    else:
        status = {"responseStatus": {"response": answer, "time": exchange.moment(call)}}
        if day is None:
            store(call).change(event, status, at=call.now)
        else:
            store(call).change_instance(event, day, status, at=call.now)
    if call.body().get("sendResponse", True):
        _send(call, "response", addresses([properties["organizer"]]), properties["subject"])
    return Reply(202)


# attachments


def read_attachment(call: Call, body: Any) -> RecordAttachment:
    """The attachment that a client wrote; 400 for what is none, 413 when it is too large."""
    kind = str(body.get("@odata.type", "")) if isinstance(body, dict) else ""
    kind = kind.rsplit(".", 1)[-1]
    name = body.get("name") if isinstance(body, dict) else None
    if kind not in ("fileAttachment", "itemAttachment", "referenceAttachment") or not name:
        raise bad_request("The attachment has no known type, or no name.", "ErrorInvalidRequest")
    try:
        data = base64.b64decode(body.get("contentBytes") or "", validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise bad_request("contentBytes is no base64.", "ErrorInvalidRequest") from None
    if len(data) > ATTACHMENT_BYTES_MAX:
        raise GraphError(413, "ErrorMessageSizeExceeded", "The attachment is too large.")
    if kind == "itemAttachment":
        data = exchange.encoded(body.get("item") or {})
    elif kind == "referenceAttachment":
        data = str(body.get("sourceUrl") or "").encode()
    made = store(call).attachment(str(name), BytesBlob(data), call.now)
    made.kind = {"f": "file", "i": "item", "r": "reference"}[kind[0]]  # type: ignore[assignment]
    made.content_type = body.get("contentType") or ("application/octet-stream" if data else None)
    made.inline, made.content_id = body.get("isInline") is True, body.get("contentId")
    return made


async def create_attachment(call: Call) -> Reply:
    """POST .../events/{event}/attachments"""
    event, day, _ = _target(call)
    made = read_attachment(call, call.body())
    hang(call, event, day, made)
    return json_reply(attachment_json(made), 201)


def hang(call: Call, event: Event, day: date | None, made: RecordAttachment) -> None:
    """Put an attachment on an event, or on one instance, which makes it an exception."""
    held = store(call)
    if day is None:
        event.attachments[made.key] = made
        held.touch(event, at=call.now)
    else:
        held.change_instance(event, day, {}, at=call.now).attachments[made.key] = made


async def create_upload_session(call: Call) -> Reply:
    """POST .../events/{event}/attachments/createUploadSession"""
    event, day, _ = _target(call)
    item, user = read_item(call.body()), call.params["user"]
    key = event.key if day is None else instance_key(event.key, day)

    def attach(content: bytes) -> str:
        target, on = store(call).find(key)  # it may have gone meanwhile
        made = store(call).attachment(item["name"], BytesBlob(content), call.now)
        made.content_type = item.get("contentType") or "application/octet-stream"
        made.inline, made.content_id = item.get("isInline") is True, item.get("contentId")
        hang(call, target, on, made)
        place = f"users('{user}')/events('{key}')/Attachments('{made.key}')"
        return f"https://outlook.office.com/api/gv1.0/{place}"

    return upload_reply(call, item["size"], attach)


async def delete_attachment(call: Call) -> Reply:
    """DELETE .../events/{event}/attachments/{attachment}"""
    event, day, instance = _target(call)
    change = instance.change if instance else None
    held = change.attachments if change is not None else event.attachments
    if held.pop(call.params["attachment"], None) is None:
        raise no_mail_item()
    if day is None:
        store(call).touch(event, at=call.now)
    else:
        store(call).change_instance(event, day, {}, at=call.now)
    return Reply(204)


_WRITE = ("Calendars.ReadWrite",)


def _routes() -> list[Route]:
    user = "/users/{user}"
    group = user + "/calendarGroups/{group}"
    one = "/calendars/{calendar}"
    table: list[tuple[Method, str, Any]] = [
        ("POST", user + "/calendarGroups", create_group),
        ("PATCH", group, change_group),
        ("DELETE", group, delete_group),
        ("POST", user + "/calendars", create_calendar),
        ("POST", group + "/calendars", create_calendar),
    ]
    for above in (user + "/calendar", user + one, group + one):
        table.append(("PATCH", above, change_calendar))
    for above in (user + one, group + one):
        table.append(("DELETE", above, delete_calendar))
    for above in (user, user + "/calendar", user + one, group + one):
        event = above + "/events/{event}"
        table += [
            ("POST", above + "/events", create_event),
            ("PATCH", event, change_event),
            ("DELETE", event, delete_event),
            ("POST", event + "/permanentDelete", permanent_delete),
            ("POST", event + "/cancel", cancel_event),
            ("POST", event + "/attachments", create_attachment),
            ("POST", event + "/attachments/createUploadSession", create_upload_session),
            ("DELETE", event + "/attachments/{attachment}", delete_attachment),
        ]
        table += [
            ("POST", f"{event}/{word}", respond)
            for word in ("accept", "tentativelyAccept", "decline")
        ]
    return [Route(path, handler, "mail", _WRITE, method=method) for method, path, handler in table]


ROUTES = _routes()
