"""What events, tasks and meeting requests share in iCalendar: times, people, bodies, attachments."""

import base64
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from proxy.converters.attachment import Attachment
from proxy.converters.content_lines import content_line, text_list, text_value
from proxy.converters.graph_json import Members, line, member, moment, text
from proxy.converters.html_text import plain_text

__all__ = [
    "PRIORITIES",
    "alarm_lines",
    "attachment_lines",
    "body_text",
    "category_lines",
    "date_line",
    "description_lines",
    "is_smtp",
    "person_lines",
    "stamp_lines",
    "time_line",
    "utc_text",
]

PRIORITIES = {"high": "1", "normal": "5", "low": "9"}
NO_ADDRESS = "invalid:nomail"  # what Outlook writes for somebody without an Internet address
SMTP = re.compile(r"[^\s<>\"(),:;\\@\x00-\x1f]+@[^\s<>\"(),:;\\@\x00-\x1f]+")


def utc_text(at: datetime) -> str:
    """DATE-TIME in UTC."""
    at = at.astimezone(UTC)
    return f"{at.year:04}{at:%m%dT%H%M%SZ}"


def time_line(name: str, at: datetime, parameters: dict[str, str] | None = None) -> str:
    """A property with a time: by the clock of its zone, or in UTC."""
    if isinstance(at.tzinfo, ZoneInfo):
        stamp = f"{at.year:04}{at:%m%dT%H%M%S}"
        return content_line(name, stamp, {**(parameters or {}), "TZID": at.tzinfo.key})
    return content_line(name, utc_text(at), parameters)


def date_line(name: str, day: date) -> str:
    """A property with a whole day."""
    return content_line(name, f"{day.year:04}{day:%m%d}", {"VALUE": "DATE"})


def stamp_lines(item: Members) -> list[str]:
    """DTSTAMP, CREATED, LAST-MODIFIED. The stamp does not depend on when the export is made."""
    created = moment(item.get("createdDateTime"))
    modified = moment(item.get("lastModifiedDateTime"))
    stamp = modified or created or datetime(1970, 1, 1, tzinfo=UTC)
    lines = [content_line("DTSTAMP", utc_text(stamp))]
    lines += [content_line("CREATED", utc_text(created))] if created else []
    lines += [content_line("LAST-MODIFIED", utc_text(modified))] if modified else []
    return lines


def is_smtp(address: str) -> bool:
    """Whether an address is one of Internet mail; Exchange also has names of its directory."""
    return SMTP.fullmatch(address) is not None


def person_lines(name: str, person: Any, parameters: dict[str, str] | None = None) -> list[str]:
    """ORGANIZER or ATTENDEE of somebody who has a name or an address."""
    address = line(member(person, "emailAddress", "address"))
    shown = line(member(person, "emailAddress", "name"))
    if not is_smtp(address):
        address = ""
    if not (address or shown):
        return []
    parameters = {"CN": shown or address, **(parameters or {})}
    return [content_line(name, f"mailto:{address}" if address else NO_ADDRESS, parameters)]


def body_text(body: Any) -> str:
    """An itemBody as plain text."""
    content = text(member(body, "content"))
    if text(member(body, "contentType")).lower() == "html":
        return plain_text(content)
    return content


def description_lines(body: Any, *more: str) -> list[str]:
    """DESCRIPTION, and the HTML as Outlook has it, in ASCII, because Outlook takes no other there."""
    plain = "\n".join(piece for piece in (body_text(body), *more) if piece)
    lines = [content_line("DESCRIPTION", text_value(plain))] if plain.strip() else []
    if text(member(body, "contentType")).lower() == "html" and plain.strip():
        html = text(member(body, "content")).encode("ascii", "xmlcharrefreplace").decode()
        lines.append(content_line("X-ALT-DESC", text_value(html), {"FMTTYPE": "text/html"}))
    return lines


def category_lines(item: Members) -> list[str]:
    """CATEGORIES."""
    found = item.get("categories")
    names = [line(name) for name in found if line(name)] if isinstance(found, list) else []
    return [content_line("CATEGORIES", text_list(names))] if names else []


def attachment_lines(attachments: Iterable[Attachment]) -> list[str]:
    """ATTACH: bytes inline, cloud attachments as links. The name is where Outlook and where RFC 8607 look for it."""
    lines = []
    for one in attachments:
        names = {"X-FILENAME": one.name, "FILENAME": one.name}
        if one.content is not None:
            value = base64.b64encode(one.content).decode()
            binary = {"FMTTYPE": one.media_type, "ENCODING": "BASE64", "VALUE": "BINARY"}
            lines.append(content_line("ATTACH", value, {**binary, **names}))
        elif one.link.startswith(("https://", "http://")):
            lines.append(content_line("ATTACH", one.link.replace(" ", "%20"), names))
        else:
            note = f"Attachment that is not in this file: {one.name}"
            lines.append(content_line("COMMENT", text_value(note)))
    return lines


def alarm_lines(
    trigger: str, text_shown: str, parameters: dict[str, str] | None = None
) -> list[str]:
    """VALARM that shows a text."""
    return [
        content_line("BEGIN", "VALARM"),
        content_line("ACTION", "DISPLAY"),
        content_line("DESCRIPTION", text_value(text_shown or "Reminder")),
        content_line("TRIGGER", trigger, parameters),
        content_line("END", "VALARM"),
    ]


def minutes_before(minutes: int) -> str:
    """A DURATION before the start."""
    return f"-PT{minutes}M"


def whole_days(start: date, end: date) -> date:
    """The day after the last one: at least one after `start`."""
    return max(end, start + timedelta(days=1))
