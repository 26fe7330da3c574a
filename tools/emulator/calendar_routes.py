"""
Exchange: calendar groups, calendars, events and their attachments.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from tools.emulator import delta, exchange, odata, zones
from tools.emulator.calendars import CalendarStore, Event, Instance, instances, meets
from tools.emulator.call import Call
from tools.emulator.clock import iso
from tools.emulator.errors import GraphError, no_mail_item
from tools.emulator.event_json import (
    EventView,
    EventWriter,
    attachment_json,
    calendar_json,
    group_json,
)
from tools.emulator.records import Container, RecordAttachment
from tools.emulator.reply import Reply, content_reply, json_reply
from tools.emulator.route import Route

_SPAN_MAX = timedelta(days=1825)


def writer(call: Call) -> EventWriter:
    """What writes events as this client wants them."""
    prefer = call.prefer
    zone = prefer.get("outlook.timezone") or zones.UTC_NAME
    zones.find(zone)
    text = prefer.get("outlook.body-content-type", "").lower() == "text"
    return EventWriter(store(call), EventView(exchange.wants_immutable(call), zone, text))


def store(call: Call) -> CalendarStore:
    """The calendars of the mailbox in the path."""
    return call.mailbox().calendars


def calendar(call: Call) -> Container[Event]:
    """The calendar in the path, the default one when none is named; one of others may fail."""
    if "calendar" not in call.params:
        return store(call).default
    found = store(call).container(call.params["calendar"])
    call.services.faults.check_item(found.key)
    if "group" in call.params and found.properties["group"] != call.params["group"]:
        raise no_mail_item()
    return found


# groups and calendars


async def list_groups(call: Call) -> Reply:
    """GET .../calendarGroups"""
    held = store(call)
    rows = list(held.groups.values())
    body = exchange.listing(call, rows, lambda g: group_json(held, g), "calendarGroups")
    return json_reply(body, headers=exchange.applied(call))


async def get_group(call: Call) -> Reply:
    """GET .../calendarGroups/{group}"""
    held = store(call)
    body = group_json(held, held.group(call.params["group"]))
    return exchange.one(call, body, "calendarGroups/$entity")


async def list_calendars(call: Call) -> Reply:
    """GET .../calendars, of a group when one is named"""
    held, owner = store(call), call.user().mail_address
    group = held.group(call.params["group"]) if "group" in call.params else None
    rows = [
        each
        for each in held.containers.values()
        if group is None or each.properties["group"] == group.key
    ]
    body = exchange.listing(call, rows, lambda c: calendar_json(held, c, owner), "calendars")
    return json_reply(body, headers=exchange.applied(call))


async def get_calendar(call: Call) -> Reply:
    """GET .../calendar and .../calendars/{calendar}"""
    body = calendar_json(store(call), calendar(call), call.user().mail_address)
    return exchange.one(call, body, "calendars/$entity")


async def list_permissions(call: Call) -> Reply:
    """GET .../calendarPermissions"""
    rows = calendar(call).properties.get("permissions", [])
    body = exchange.listing(call, rows, lambda row: row, "calendarPermissions")
    return json_reply(body)


# events


async def list_events(call: Call) -> Reply:
    """GET .../events: masters of series and single events, of one calendar or of all"""
    whole = call.template == "/users/{user}/events"
    rows = list(store(call).records() if whole else calendar(call).records.values())
    made = writer(call)
    body = exchange.listing(call, rows, made.event, "events", lambda event: event.extended)
    return json_reply(body, headers=exchange.applied(call))


def found_event(call: Call, *, content: bool = False) -> tuple[Event, Instance | None]:
    """The event in the path, with the instance when the id is that of one."""
    held = store(call)
    event, day = held.find(call.params["event"])
    call.services.faults.check_item(event.key, event.movable, content=content)
    if "calendar" in call.params and event.container is not calendar(call):
        raise no_mail_item()
    return event, None if day is None else held.instance(event, day)


async def get_event(call: Call) -> Reply:
    """GET .../events/{event}, of a single event, a series, or an instance"""
    event, instance = found_event(call)
    made = writer(call)
    body = made.event(event) if instance is None else made.instance(instance)
    asked = {*(odata.selection(call.query) or ()), *odata.expansion(call.query)}
    if instance is None and event.is_series:
        if "cancelledoccurrences" in asked:
            body["cancelledOccurrences"] = made.cancelled(event)
        if "exceptionoccurrences" in asked:
            body["exceptionOccurrences"] = made.exceptions(event)
    if "attachments" in odata.expansion(call.query):
        body["attachments"] = [attachment_json(a) for a in _hung(event, instance).values()]
    body |= exchange.expanded(call, event.extended)
    return exchange.one(call, body, "events/$entity")


async def list_instances(call: Call) -> Reply:
    """GET .../events/{event}/instances within a window"""
    event, _ = found_event(call)
    begin, end = _window(call)
    made = writer(call)
    rows = list(instances(event, begin, end)) if event.is_series else []
    body = exchange.listing(call, rows, made.instance, "events")
    return json_reply(body, headers=exchange.applied(call))


# views


def _window(call: Call) -> tuple[datetime, datetime]:
    """The asked window in UTC; 400 when it is missing, empty or longer than five years."""
    times = []
    for name in ("startdatetime", "enddatetime"):
        text = odata.option(call.query, name)
        if text is None:
            raise GraphError(
                400, "ErrorInvalidParameter", "This request requires a time window specified by "
                "the query string parameters StartDateTime and EndDateTime.",
            )  # fmt: skip
        try:
            read = datetime.fromisoformat(text.replace(" ", "+"))
        except ValueError as error:
            raise GraphError(400, "ErrorInvalidParameter", "The window is malformed.") from error
        times.append(read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC))
    if times[1] <= times[0] or times[1] - times[0] > _SPAN_MAX:
        raise GraphError(400, "ErrorInvalidParameter", "The time window cannot be served.")
    return times[0], times[1]


async def calendar_view(call: Call) -> Reply:
    """GET .../calendarView: single events and instances within a window, by their start"""
    begin, end = _window(call)
    made = writer(call)
    rows: list[Event | Instance] = []
    for event in calendar(call).records.values():
        if event.is_series:
            rows += instances(event, begin, end)
        elif meets(event.properties, begin, end):
            rows.append(event)
    rows.sort(key=lambda row: zones.moment(row.properties["start"]))

    def render(row: Event | Instance) -> dict[str, Any]:
        return made.event(row) if isinstance(row, Event) else made.instance(row)

    body = exchange.listing(call, rows, render, "events")
    return json_reply(body, headers=exchange.applied(call))


async def view_delta(call: Call) -> Reply:
    """
    GET .../calendarView/delta

    The window is that of the first call. What changed outside it is told as removed, as Exchange
    does, though it still exists.
    """
    for name in ("select", "expand", "filter", "orderby", "search"):
        if odata.option(call.query, name) is not None:
            text = f"The query parameter '${name}' is not supported with change tracking."
            raise GraphError(400, "ErrorInvalidUrlQuery", text)
    target, made = calendar(call), writer(call)
    follows = odata.option(call.query, "deltatoken") or odata.option(call.query, "skiptoken")
    window = None if follows else [iso(moment.timestamp()) for moment in _window(call)]
    feed = exchange.Feed(f"{target.key}/view", target.log, target.generations)

    def entries(key: str, now: delta.Round) -> list[dict[str, Any]]:
        begin, end = (datetime.fromisoformat(text) for text in now.asked["window"])
        event = target.records.get(key)
        if event is None:
            left = key if made.view.immutable else target.departed.get(key, key)
            return [exchange.removed(left)]
        found = _within(made, event, begin, end)
        if not found and not now.first:
            return [exchange.removed(made.key(event))]
        gone = sorted(event.cancelled) if found and not now.first else []
        return found + [exchange.removed(made.instance_id(event, day)) for day in gone]

    body = exchange.delta_page(call, feed, "events", {"window": window}, entries)
    return json_reply(body, headers=exchange.applied(call))


def _within(
    made: EventWriter, event: Event, begin: datetime, end: datetime
) -> list[dict[str, Any]]:
    """A single event, or a series with its instances, as far as they lie in the window."""
    if not event.is_series:
        return [made.event(event)] if meets(event.properties, begin, end) else []
    found = list(instances(event, begin, end))
    if not found:
        return []
    shown = [made.short(each) if each.change is None else made.instance(each) for each in found]
    return [made.event(event), *shown]


# attachments


def _hung(event: Event, instance: Instance | None) -> dict[str, RecordAttachment]:
    """What hangs on an event; an exception has its own."""
    if instance is None or instance.change is None:
        return event.attachments
    return instance.change.attachments


async def list_attachments(call: Call) -> Reply:
    """GET .../events/{event}/attachments"""
    item = "microsoft.graph.itemattachment" in odata.expansion(call.query)
    rows = list(_hung(*found_event(call)).values())
    body = exchange.listing(call, rows, lambda a: attachment_json(a, item=item), "attachments")
    return json_reply(body, headers=exchange.applied(call))


def _attachment(call: Call) -> RecordAttachment:
    found = _hung(*found_event(call, content=True)).get(call.params["attachment"])
    if found is None:
        raise no_mail_item()
    call.services.faults.check_item(found.key, content=True)
    return found


async def get_attachment(call: Call) -> Reply:
    """GET .../attachments/{attachment}"""
    item = "microsoft.graph.itemattachment" in odata.expansion(call.query)
    return exchange.one(call, attachment_json(_attachment(call), item=item), "attachments/$entity")


async def attachment_content(call: Call) -> Reply:
    """GET .../attachments/{attachment}/$value, of a file"""
    found = _attachment(call)
    if found.kind != "file":
        raise GraphError(400, "ErrorInvalidRequest", "This attachment has no raw content.")
    cut = call.services.faults.take_cut(found.key)
    return await content_reply(
        found.content, "application/octet-stream", call.headers.get("Range"), f'"{found.key}"', cut
    )


_READ = ("Calendars.Read", "Calendars.ReadWrite")
_BASIC = ("Calendars.ReadBasic", *_READ)


def _routes() -> list[Route]:
    user = "/users/{user}"
    group = user + "/calendarGroups/{group}"
    routes = [
        Route(user + "/calendarGroups", list_groups, "mail", _BASIC),
        Route(group, get_group, "mail", _BASIC),
        Route(group + "/calendars", list_calendars, "mail", _BASIC),
        Route(user + "/calendars", list_calendars, "mail", _BASIC),
    ]
    one = "/calendars/{calendar}"
    for above in (user + "/calendar", user + one, group + one):
        routes += [
            Route(above, get_calendar, "mail", _BASIC),
            Route(above + "/calendarPermissions", list_permissions, "mail", _READ),
        ]
    for above in (user, user + "/calendar", user + one, group + one):
        event = above + "/events/{event}"
        routes += [
            Route(above + "/events", list_events, "mail", _BASIC),
            Route(above + "/calendarView", calendar_view, "mail", _BASIC),
            Route(above + "/calendarView/delta", view_delta, "mail", _BASIC),
            Route(event, get_event, "mail", _BASIC),
            Route(event + "/instances", list_instances, "mail", _BASIC),
            Route(event + "/attachments", list_attachments, "mail", _READ),
            Route(event + "/attachments/{attachment}", get_attachment, "mail", _READ),
            Route(event + "/attachments/{attachment}/$value", attachment_content, "mail", _READ),
        ]
    return routes


ROUTES = _routes()
