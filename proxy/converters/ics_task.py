"""
Tasks of To Do as VTODO.

Checklist and linked resources, for which iCalendar has nothing, are lines of the description.

Source: RFC 5545, section 3.6.2; Graph resource types todoTask, checklistItem, linkedResource.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from proxy.converters.attachment import Attachment
from proxy.converters.calendar_parts import (
    PRIORITIES,
    alarm_lines,
    attachment_lines,
    category_lines,
    date_line,
    description_lines,
    stamp_lines,
    utc_text,
)
from proxy.converters.content_lines import content_line, text_value
from proxy.converters.graph_json import Members, entries, line, local_time, member, text
from proxy.converters.ics import Component
from proxy.converters.recurrence import rrule
from proxy.converters.zones import zone_of

__all__ = ["task_component"]

STATES = {
    "notstarted": "NEEDS-ACTION",
    "inprogress": "IN-PROCESS",
    "completed": "COMPLETED",
    "waitingonothers": "NEEDS-ACTION",
    "deferred": "NEEDS-ACTION",
}


def task_component(task: Members, attachments: Sequence[Attachment] = ()) -> Component:
    """A task. Start and due are days, as in To Do."""
    made = Component()
    title = text(task.get("title"))
    state = STATES.get(text(task.get("status")).lower(), "NEEDS-ACTION")
    made.lines += [
        content_line("BEGIN", "VTODO"),
        content_line("UID", text_value(line(task.get("id")) or "no-id")),
        *stamp_lines(task),
        content_line("SUMMARY", text_value(title)),
        content_line("STATUS", state),
        content_line("PRIORITY", PRIORITIES.get(text(task.get("importance")).lower(), "5")),
    ]
    start, due = local_time(task.get("startDateTime")), local_time(task.get("dueDateTime"))
    first = start or due
    made.lines += [date_line("DTSTART", first.date())] if first else []
    if due and first and due >= first:
        made.lines.append(date_line("DUE", due.date()))
    _completion(made, task, state)
    zone = zone_of(text(member(task, "recurrence", "range", "recurrenceTimeZone"))) or UTC
    rule = rrule(task.get("recurrence"), zone, dates=True)
    if rule is not None and first is not None:
        made.lines.append(content_line("RRULE", rule))
    made.lines += description_lines(task.get("body"), _checklist(task), _links(task))
    made.lines += category_lines(task)
    made.lines += attachment_lines(attachments)
    reminder = local_time(task.get("reminderDateTime"))
    if task.get("isReminderOn") is True and reminder is not None:
        made.lines += alarm_lines(utc_text(reminder), title, {"VALUE": "DATE-TIME"})
    made.lines.append(content_line("END", "VTODO"))
    return made


def _completion(made: Component, task: Members, state: str) -> None:
    if state != "COMPLETED":
        return
    made.lines.append(content_line("PERCENT-COMPLETE", "100"))
    done: datetime | None = local_time(task.get("completedDateTime"))
    if done is not None:
        made.lines.append(content_line("COMPLETED", utc_text(done)))


def _checklist(task: Members) -> str:
    return "\n".join(
        f"[{'x' if step.get('isChecked') is True else ' '}] {line(step.get('displayName'))}"
        for step in entries(task.get("checklistItems"))
    )


def _links(task: Members) -> str:
    return "\n".join(
        f"{line(link.get('displayName')) or line(link.get('applicationName'))} "
        f"<{line(link.get('webUrl'))}>"
        for link in entries(task.get("linkedResources"))
    )
