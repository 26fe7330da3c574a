"""
What clients may hang on a message, held against Exchange's rules.
"""

import base64
import binascii
from typing import Any

from tools.emulator import message_input
from tools.emulator.blob import BytesBlob
from tools.emulator.errors import GraphError, bad_request
from tools.emulator.message import MessageAttachment
from tools.emulator.mime_writer import compose

DIRECT_BYTES_MAX = 3 << 20  # larger ones take an upload session
_FILE = frozenset({"name", "contentType", "contentBytes", "isInline", "contentId", "size"})
_ITEM = frozenset({"name", "item", "isInline", "contentType", "size"})
_REFERENCE = frozenset(
    {
        "name",
        "sourceUrl",
        "providerType",
        "permission",
        "isFolder",
        "isInline",
        "contentType",
        "size",
    }
    | {"thumbnailUrl", "previewUrl"}
)


def _failed(text: str) -> GraphError:
    return bad_request(text, "ErrorPropertyValidationFailure")


def read_attachment(body: Any) -> MessageAttachment:
    """
    The attachment that a client wrote; its number comes later.

    Raises:
        GraphError: 400, it has no known type, or a property that cannot be; 413, it is too large.
    """
    kind = str(body.get("@odata.type", "")) if isinstance(body, dict) else ""
    kind = kind.removeprefix("#").removeprefix("microsoft.graph.")
    if kind == "fileAttachment":
        return _file(body)
    if kind == "itemAttachment":
        return _item(body)
    if kind == "referenceAttachment":
        return _reference(body)
    raise bad_request("The attachment has no known @odata.type.", "ErrorInvalidRequest")


def _check_names(body: dict[str, Any], known: frozenset[str]) -> None:
    for name in body:
        if "@" not in name and name not in known:
            raise _failed(f"Property '{name[:80]}' of an attachment cannot be written.")


def _name(body: dict[str, Any]) -> str:
    name = body.get("name")
    if not isinstance(name, str) or not name:
        raise _failed("An attachment needs a name.")
    return name


def _file(body: dict[str, Any]) -> MessageAttachment:
    _check_names(body, _FILE)
    try:
        content = base64.b64decode(body.get("contentBytes", ""), validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise _failed("contentBytes is not valid base64.") from None
    if len(content) > DIRECT_BYTES_MAX:
        text = "The size of the attachment exceeds what a single request takes."
        raise GraphError(413, "ErrorMessageSizeExceeded", text)
    kind = body.get("contentType") or "application/octet-stream"
    return MessageAttachment(
        0, "file", _name(body), str(kind), BytesBlob(content),
        body.get("isInline") is True, body.get("contentId"),
    )  # fmt: skip


def _reference(body: dict[str, Any]) -> MessageAttachment:
    _check_names(body, _REFERENCE)
    details = {
        "sourceUrl": body.get("sourceUrl"),
        "providerType": body.get("providerType", "other"),
        "permission": body.get("permission", "other"),
        "isFolder": body.get("isFolder") is True,
        "thumbnailUrl": body.get("thumbnailUrl"),
        "previewUrl": body.get("previewUrl"),
    }
    if not isinstance(details["sourceUrl"], str):
        raise _failed("A reference needs a sourceUrl.")
    inline = body.get("isInline") is True
    name = _name(body)
    return MessageAttachment(
        0, "reference", name, body.get("contentType"), BytesBlob(b""), inline, None, details
    )


def _item(body: dict[str, Any]) -> MessageAttachment:
    """An embedded item; a message is kept as MIME, anything else as the JSON that came."""
    _check_names(body, _ITEM)
    item = body.get("item")
    kind = str(item.get("@odata.type", "")) if isinstance(item, dict) else ""
    kind = kind.removeprefix("#").removeprefix("microsoft.graph.")
    if not isinstance(item, dict) or kind not in ("message", "event", "contact"):
        raise _failed("An item attachment needs an item with a known @odata.type.")
    if kind != "message":
        details = {"@odata.type": f"#microsoft.graph.{kind}"} | {
            name: value for name, value in item.items() if "@" not in name
        }
        return MessageAttachment(0, "item", _name(body), None, BytesBlob(b""), details=details)
    written = message_input.read({k: v for k, v in item.items() if "@" not in k})
    if written.attachments:
        raise _failed("Attachments of an embedded item cannot be written.")
    importance = written.other.get("importance", "normal")
    content = compose(written.content, None, importance, ())
    return MessageAttachment(0, "item", _name(body), "message/rfc822", BytesBlob(content))
