"""
Upload sessions for attachments over 3 MB, in the dialect of Outlook.

It differs from that of drives: pieces are answered with 200 and a `nextExpectedRanges` without a
dash, the last one with 201, no body, and the id of the attachment in `Location` only.
"""

import dataclasses
import re
import uuid
from collections.abc import Callable
from typing import Any

from tools.emulator.clock import iso
from tools.emulator.errors import GraphError, bad_request

SESSIONS_MAX = 1000  # the oldest is forgotten
PIECE_BYTES_MAX = 4 << 20
SIZE_MIN = 3 << 20
SIZE_MAX = 150 << 20
LIFE = 86_400.0  # virtual seconds
_RANGE = re.compile(r"^bytes (\d{1,12})-(\d{1,12})/(\d{1,12})$")

Attach = Callable[[bytes], str]


@dataclasses.dataclass(slots=True)
class UploadSession:
    """An attachment on its way; `attach` hangs it on its item and gives the `Location`."""

    size: int
    expires: float
    attach: Attach
    received: bytearray = dataclasses.field(default_factory=bytearray)


class UploadSessions:
    """The sessions that are open."""

    def __init__(self) -> None:
        self._open: dict[str, UploadSession] = {}

    def open(self, size: int, expires: float, attach: Attach) -> str:
        """Open a session for `size` bytes; its key."""
        while len(self._open) >= SESSIONS_MAX:
            del self._open[next(iter(self._open))]
        key = uuid.uuid4().hex
        self._open[key] = UploadSession(size, expires, attach)
        return key

    def find(self, key: str, now: float) -> UploadSession:
        """The open session with this key; 404 when it is finished, cancelled or expired."""
        session = self._open.get(key)
        if session is None or session.expires <= now:
            raise GraphError(404, "ErrorItemNotFound", "The upload session was not found.")
        return session

    def close(self, key: str) -> None:
        """Forget a session."""
        self._open.pop(key, None)


def read_item(body: dict[str, Any]) -> dict[str, Any]:
    """
    The `AttachmentItem` that a session is asked for.

    Raises:
        GraphError: it is no file, has no name, or a size that takes no session.
    """
    item = next((v for k, v in body.items() if k.lower() == "attachmentitem"), None)
    if not isinstance(item, dict):
        raise bad_request("AttachmentItem is missing.", "ErrorInvalidRequest")
    if str(item.get("attachmentType", "")).lower() != "file":
        text = "Only file attachments can be uploaded with an upload session."
        code = "ErrorAttachmentSessionIsSupportedOnlyForFileAttachments"
        raise GraphError(405, code, text)
    size = item.get("size")
    if not isinstance(size, int) or not isinstance(item.get("name"), str) or not item["name"]:
        raise bad_request("Name or size is missing.", "ErrorInvalidRequest")
    if size < SIZE_MIN:
        code = "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize"
        raise bad_request("The attachment is too small for an upload session.", code)
    if size > SIZE_MAX:
        raise GraphError(413, "ErrorAttachmentSizeLimitExceeded", "The attachment is too large.")
    return item


def put_piece(session: UploadSession, header: str, piece: bytes) -> str | None:
    """
    Take the next piece of an attachment.

    Returns:
        The `Location` of the attachment after the last piece, else None.

    Raises:
        GraphError: 400 for a wrong range, 413 for a piece that is too large, 416 for one out of
            order.
    """
    match = _RANGE.match(header)
    if match is None:
        raise bad_request("The Content-Range is missing or wrong.", "ErrorInvalidRequest")
    first, last, total = map(int, match.groups())
    if total != session.size or last - first + 1 != len(piece) or last >= total:
        raise bad_request("The Content-Range does not fit.", "ErrorInvalidRequest")
    if len(piece) >= PIECE_BYTES_MAX:
        raise GraphError(413, "ErrorContentTooLarge", "A piece has less than 4 MB.")
    if first != len(session.received):
        text = "The piece is not the next one."
        raise GraphError(416, "ErrorInvalidUploadRange", text)
    session.received += piece
    return session.attach(bytes(session.received)) if last + 1 == total else None


def progress(session: UploadSession) -> dict[str, Any]:
    """The answer to a piece that was not the last."""
    return {
        "ExpirationDateTime": iso(session.expires),
        "nextExpectedRanges": [str(len(session.received))],
    }
