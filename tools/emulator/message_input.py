"""
What clients may write on a message, held against Exchange's rules.

Stricter than the service where it is not known to be lenient: a property that cannot be written is
refused rather than ignored, so that a client which sends one is found out.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from tools.emulator.errors import GraphError, bad_request

IMPORTANCE = ("low", "normal", "high")
_ALWAYS = frozenset(
    {
        "categories", "importance", "inferenceClassification", "isRead", "flag",
        "isDeliveryReceiptRequested", "isReadReceiptRequested", "singleValueExtendedProperties",
    }
)  # fmt: skip
_CONTENT = frozenset(
    {
        "subject", "body", "from", "sender", "toRecipients", "ccRecipients", "bccRecipients",
        "replyTo", "internetMessageId", "internetMessageHeaders",
    }
)  # fmt: skip
_IGNORED = frozenset({"isDraft"})  # taken without an error, and without an effect
_READ_ONLY = frozenset(
    {
        "id", "createdDateTime", "lastModifiedDateTime", "changeKey", "receivedDateTime",
        "sentDateTime", "hasAttachments", "bodyPreview", "parentFolderId", "conversationId",
        "conversationIndex", "uniqueBody", "webLink",
    }
)  # fmt: skip
_ADDRESS = re.compile(r"^[^\s@<>,;]+@[^\s@<>,;]+$|^/o=.+", re.I)
_HEADERS_MAX = 5
_FLAG = frozenset({"flagStatus", "startDateTime", "dueDateTime", "completedDateTime"})


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """What a body asks for: content, other properties, and attachments that come with it."""

    content: dict[str, Any]
    other: dict[str, Any]
    attachments: list[Any]


def _refused(name: str) -> GraphError:
    return bad_request(f"Set action is invalid for property '{name}'.", "ErrorInvalidPropertySet")


def _wrong(name: str) -> GraphError:
    text = f"The value of property '{name}' is invalid."
    return bad_request(text, "ErrorPropertyValidationFailure")


def read(body: Mapping[str, Any]) -> Written:
    """
    Sort and check what a client wrote.

    Raises:
        GraphError: 400, a property is unknown, read-only, or has a wrong value.
    """
    content: dict[str, Any] = {}
    other: dict[str, Any] = {}
    attachments: list[Any] = []
    for name, value in body.items():
        if "@" in name or name in _IGNORED:
            continue
        if name in _READ_ONLY:
            raise _refused(name)
        if name == "attachments":
            if not isinstance(value, list):
                raise _wrong(name)
            attachments = value
        elif name in _ALWAYS:
            other[name] = _CHECKS.get(name, _as_is)(name, value)
        elif name in _CONTENT:
            content[name] = _CHECKS.get(name, _as_is)(name, value)
        else:
            text = f"The property '{name[:80]}' does not exist on type 'microsoft.graph.message'."
            raise bad_request(text)
    return Written(content, other, attachments)


def check_update(written: Written, *, is_draft: bool) -> None:
    """400 for content of a message that is no draft, and for attachments: they have their calls."""
    if written.content and not is_draft:
        text = "Update operation is invalid for property of a sent message."
        raise bad_request(text, "ErrorInvalidPropertyUpdateSentMessage")
    if written.attachments:
        raise _refused("attachments")


def _as_is(name: str, value: Any) -> Any:
    return value


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(name)
    return value


def _flag_value(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name)
    return value


def _body(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("content", ""), str):
        raise _wrong(name)
    kind = str(value.get("contentType", "text")).lower()
    if kind not in ("text", "html"):
        raise _wrong(name)
    return {"contentType": kind, "content": value.get("content", "")}


def _person(name: str, value: Any) -> dict[str, Any]:
    inner = value.get("emailAddress") if isinstance(value, dict) else None
    if not isinstance(inner, dict):
        raise _wrong(name)
    address = _text(name, inner.get("address"))
    if not _ADDRESS.match(address):
        text = "At least one recipient isn't valid."
        raise bad_request(text, "ErrorInvalidRecipients")
    return {"emailAddress": {"name": _text(name, inner.get("name")) or address, "address": address}}


def _people(name: str, value: Any) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(name)
    return [_person(name, one) for one in value]


def _optional_person(name: str, value: Any) -> dict[str, Any] | None:
    return None if value is None else _person(name, value)


def _headers(name: str, value: Any) -> list[dict[str, str]]:
    """At most five, and only those of one's own: names begin with `x-`."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise _wrong(name)
    if len(value) > _HEADERS_MAX:
        text = "Maximum number of headers in one message should be less than or equal to 5."
        raise bad_request(text, "InvalidInternetMessageHeaderCollection")
    found = []
    for one in value:
        header = _text(name, one.get("name"))
        if not re.match(r"^x-[!-9;-~]+$", header, re.I):
            text = (
                f"The internet message header name '{header[:40]}' should start with 'x-' or 'X-'."
            )
            raise bad_request(text, "InvalidInternetMessageHeader")
        found.append({"name": header, "value": _text(name, one.get("value"))})
    return found


def _categories(name: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise _wrong(name)
    return list(dict.fromkeys(value))


def _follow_up(name: str, value: Any) -> dict[str, Any]:
    """A flag; times are kept as written, and a due time needs a start time."""
    if not isinstance(value, dict) or not {k for k in value if "@" not in k} <= _FLAG:
        raise _wrong(name)
    status = value.get("flagStatus", "notFlagged")
    if status not in ("notFlagged", "flagged", "complete"):
        raise _wrong(name)
    if value.get("dueDateTime") and not value.get("startDateTime"):
        raise bad_request("A due time needs a start time.", "ErrorPropertyValidationFailure")
    kept = {k: v for k, v in value.items() if k in _FLAG and v is not None}
    return {"flagStatus": status} | kept


def _importance(name: str, value: Any) -> str:
    if str(value).lower() not in IMPORTANCE:
        raise _wrong(name)
    return str(value).lower()


def _classification(name: str, value: Any) -> str:
    if value not in ("focused", "other"):
        raise _wrong(name)
    return str(value)


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "subject": _text,
    "internetMessageId": _text,
    "body": _body,
    "from": _optional_person,
    "sender": _optional_person,
    "toRecipients": _people,
    "ccRecipients": _people,
    "bccRecipients": _people,
    "replyTo": _people,
    "internetMessageHeaders": _headers,
    "categories": _categories,
    "flag": _follow_up,
    "importance": _importance,
    "inferenceClassification": _classification,
    "isRead": _flag_value,
    "isDeliveryReceiptRequested": _flag_value,
    "isReadReceiptRequested": _flag_value,
}
