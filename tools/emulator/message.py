"""
A message and what hangs on it, as the emulated Exchange keeps them.

A message is what its MIME says until somebody writes its content as JSON: from then on `written`
and `attached` hold the content, and the MIME is composed of them.
"""

import copy
import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from tools.emulator.blob import Blob, BytesBlob

if TYPE_CHECKING:
    from tools.emulator.mailbox import Folder

NOT_FLAGGED: dict[str, Any] = {"flagStatus": "notFlagged"}
FLAGGED: dict[str, Any] = {"flagStatus": "flagged"}
AttachmentKind = Literal["file", "item", "reference"]


@dataclasses.dataclass(slots=True, eq=False)
class MessageAttachment:
    """
    What hangs on a message.

    Args:
        number: its number within the message, which its id is made of.
        kind: `file`, `item` (an Outlook item) or `reference` (a link).
        content: the bytes of a file; of an item its MIME, empty when it is no message.
        details: of an item its JSON when it was given as such, of a reference its link.
        modified: seconds since the epoch.
    """

    number: int
    kind: AttachmentKind
    name: str
    content_type: str | None
    content: Blob
    inline: bool = False
    content_id: str | None = None
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    modified: float | None = None

    def state(self) -> dict[str, Any]:
        """Everything it has, without its number; see `attachment_of`."""
        return {
            "kind": self.kind,
            "name": self.name,
            "content_type": self.content_type,
            "content": self.content.read(),
            "inline": self.inline,
            "content_id": self.content_id,
            "details": copy.deepcopy(self.details),
            "modified": self.modified,
        }


def attachment_of(number: int, state: dict[str, Any]) -> MessageAttachment:
    """The attachment that `state` was taken of, with another number."""
    return MessageAttachment(number, **state | {"content": BytesBlob(state["content"])})


@dataclasses.dataclass(slots=True, eq=False)
class Message:
    """
    A message; `key` is its immutable id, times are seconds since the epoch.

    `received` is None when only the MIME knows it: then the rendering parses it. So are `sent` and
    `importance`. `extended` has MAPI properties by id that nothing else here stands for.
    """

    key: str
    movable: str
    folder: "Folder"
    mime: Blob
    created: float
    modified: float
    received: float | None = None
    is_read: bool = True
    is_draft: bool = False
    flag: dict[str, Any] = dataclasses.field(default_factory=lambda: NOT_FLAGGED)
    categories: tuple[str, ...] = ()
    sent: float | None = None
    importance: str | None = None
    classification: str = "focused"
    item_class: str = "IPM.Note"
    written: dict[str, Any] | None = None
    attached: list[MessageAttachment] | None = None
    extended: dict[str, Any] = dataclasses.field(default_factory=dict)
    version: int = 1
    fetches: int = 0

    def state(self) -> dict[str, Any]:
        """Everything the message has, without its ids and place; see `assume`."""
        found = {name: copy.deepcopy(getattr(self, name)) for name in _STATE}
        attached = self.attached
        return found | {
            "mime": self.mime.read() if self.written is None else b"",
            "attached": None if attached is None else [a.state() for a in attached],
        }

    def assume(self, state: dict[str, Any]) -> None:
        """Become what `state` was taken of; the MIME of written content is composed by others."""
        for name in _STATE:
            setattr(self, name, state[name])
        self.categories = tuple(state["categories"])
        self.mime = BytesBlob(state["mime"])
        given = state["attached"]
        self.attached = None
        if given is not None:
            self.attached = [attachment_of(number, one) for number, one in enumerate(given)]


_STATE = (
    "created", "modified", "received", "is_read", "is_draft", "flag", "categories", "sent",
    "importance", "classification", "item_class", "written", "extended",
)  # fmt: skip
