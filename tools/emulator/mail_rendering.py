"""
How a call wants messages written: properties chosen, attachments and MAPI properties expanded.
"""

import asyncio
import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Any

from tools.emulator import extended, odata
from tools.emulator.attachment_json import attachment_json, attachments
from tools.emulator.call import Call
from tools.emulator.mail_call import view
from tools.emulator.mail_json import MessageReading, View, message_json, needs_mime
from tools.emulator.message import Message

_NAMES = re.compile(r"(\w+)(?:/\w+)*\s+(?:eq|ne|gt|ge|lt|le)\b", re.I)


@dataclasses.dataclass(frozen=True, slots=True)
class Rendering:
    """Writes messages. `properties` are canonical ids, None where no MAPI property is wanted."""

    view: View
    seed: int
    select: list[str] | None
    with_attachments: bool
    properties: list[str] | None

    @property
    def costly(self) -> bool:
        """True when MIME has to be read and parsed."""
        return self.with_attachments or self.properties is not None or needs_mime(self.select)

    def json(self, message: Message) -> dict[str, Any]:
        """One message."""
        reading = MessageReading(message, self.view, self.seed)
        body = message_json(reading, self.select)
        if self.with_attachments:
            body["attachments"] = [attachment_json(reading, a) for a in attachments(reading)]
        if self.properties is not None and (found := self._properties(reading)):
            body["singleValueExtendedProperties"] = found
        return body

    def _properties(self, reading: MessageReading) -> list[dict[str, str]]:
        found = []
        for name in self.properties or ():
            value = extended.value(reading.message, name, reading.sent(), reading.received())
            if value is not None:
                found.append({"id": name, "value": value})
        return found

    async def all(self, messages: Iterable[Message]) -> list[dict[str, Any]]:
        """Several messages, in a thread where that takes long."""
        if self.costly:
            return await asyncio.to_thread(lambda: [self.json(one) for one in messages])
        return [self.json(one) for one in messages]


def rendering(call: Call, select: list[str] | None, expand: str) -> Rendering:
    """What the call, or the first call of its round, asked for."""
    wanted = re.split(r"[,(]", expand.lower())
    return Rendering(
        view(call),
        call.tenant.seed,
        select,
        any(name.strip() == "attachments" for name in wanted),
        extended.expanded(expand),
    )


def asked(call: Call) -> Rendering:
    """What this call asks for with `$select` and `$expand`."""
    expand = odata.option(call.query, "expand") or ""
    return rendering(call, odata.selection(call.query), expand)


def filtered(call: Call, rows: Sequence[Message], text: str) -> list[Message]:
    """The messages that fulfil a `$filter`, MAPI properties among what it may name."""
    properties, rest = extended.split_filter(text)
    names = [name.lower() for name in _NAMES.findall(rest)]
    found = []
    for message in rows:
        if properties:
            reading = MessageReading(message, View(), call.tenant.seed)
            times = reading.sent(), reading.received()
            if any(extended.value(message, k, *times) != v for k, v in properties.items()):
                continue
        if rest:
            reading = MessageReading(message, view(call), call.tenant.seed)
            if not odata.matches(message_json(reading, names), rest):
                continue
        found.append(message)
    return found
