"""
What a client may write on events, held against Exchange's rules.
"""

from typing import Any

from tools.emulator.errors import GraphError
from tools.emulator.record_input import (
    MAPI,
    Check,
    checked,
    is_flag,
    is_list,
    is_moment,
    is_number,
    is_object,
    is_recurrence,
    is_text,
    one_of,
)

_NOT_SENT = {"response": "none", "time": "0001-01-01T00:00:00Z"}
WRITABLE: dict[str, Check] = {
    "subject": is_text,
    "body": is_object,
    "start": is_moment,
    "end": is_moment,
    "isAllDay": is_flag,
    "location": is_object,
    "locations": is_list,
    "attendees": is_list,
    "recurrence": is_recurrence,
    "sensitivity": one_of("normal", "personal", "private", "confidential"),
    "showAs": one_of("free", "tentative", "busy", "oof", "workingElsewhere", "unknown"),
    "importance": one_of("low", "normal", "high"),
    "isReminderOn": is_flag,
    "reminderMinutesBeforeStart": is_number,
    "categories": is_list,
    "responseRequested": is_flag,
    "allowNewTimeProposals": is_flag,
    "hideAttendees": is_flag,
    "isOnlineMeeting": is_flag,
    "onlineMeetingProvider": is_text,
    "transactionId": is_text,
}
_IGNORED = ("organizer", "attachments", MAPI)  # taken without an error: the owner is the organizer


def new_event(body: dict[str, Any]) -> dict[str, Any]:
    """The properties of an event that a client creates; 400 for what cannot be."""
    found = checked(body, WRITABLE, _IGNORED)
    return found | {"attendees": [_attendee(each) for each in found.get("attendees") or ()]}


def changed_event(body: dict[str, Any], *, instance: bool) -> dict[str, Any]:
    """The properties that a client changes on an event, or on an instance of a series."""
    writable = {name: check for name, check in WRITABLE.items() if name != "transactionId"}
    if instance:
        del writable["recurrence"]
    found = checked(body, writable, _IGNORED)
    if "attendees" in found:
        found["attendees"] = [_attendee(each) for each in found["attendees"]]
    return found


def _attendee(given: Any) -> dict[str, Any]:
    """An attendee as kept; 400 without an address. Answers cannot be written."""
    address = given.get("emailAddress") if isinstance(given, dict) else None
    if not isinstance(address, dict) or not address.get("address"):
        raise GraphError(400, "ErrorInvalidRecipients", "At least one recipient is not valid.")
    return {
        "type": given.get("type") or "required",
        "status": _NOT_SENT,
        "emailAddress": {
            "name": address.get("name") or address["address"],
            "address": address["address"],
        },
    }
