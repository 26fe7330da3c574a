"""
What a mailbox is set to: settings, rules of the inbox, categories, and focused-inbox overrides.
"""

import copy
from typing import Any

from tools.emulator import naming
from tools.emulator.errors import GraphError, bad_request, no_mail_item

_SETTINGS: dict[str, Any] = {
    "archiveFolder": None,
    "timeZone": "UTC",
    "dateFormat": "yyyy-MM-dd",
    "timeFormat": "HH:mm",
    "delegateMeetingMessageDeliveryOptions": "sendToDelegateOnly",
    "userPurpose": "user",
    "language": {"locale": "en-US", "displayName": "English (United States)"},
    "automaticRepliesSetting": {
        "status": "disabled",
        "externalAudience": "none",
        "internalReplyMessage": "",
        "externalReplyMessage": "",
        "scheduledStartDateTime": {"dateTime": "2026-01-01T00:00:00.0000000", "timeZone": "UTC"},
        "scheduledEndDateTime": {"dateTime": "2026-01-02T00:00:00.0000000", "timeZone": "UTC"},
    },
    "workingHours": {
        "daysOfWeek": ["monday", "tuesday", "wednesday", "thursday", "friday"],
        "startTime": "08:00:00.0000000",
        "endTime": "17:00:00.0000000",
        "timeZone": {"name": "UTC"},
    },
}
_READ_ONLY = frozenset({"archiveFolder", "userPurpose"})
_COLORS = frozenset({"none", *(f"preset{number}" for number in range(25))})
_RULE = frozenset(
    {"displayName", "sequence", "isEnabled", "conditions", "actions", "exceptions"}
)  # fmt: skip
RULES_MAX = 1000


class MailboxSettings:
    """The settings of one mailbox; everything is in Graph's names."""

    def __init__(self, seed: int, owner: str) -> None:
        self._seed = seed
        self._owner = owner
        self._made = 0
        self.settings = copy.deepcopy(_SETTINGS)
        self.rules: dict[str, dict[str, Any]] = {}
        self.categories: dict[str, dict[str, Any]] = {}
        self.overrides: dict[str, dict[str, Any]] = {}

    def state(self) -> dict[str, Any]:
        """Everything, without ids; lists in an order that does not depend on them."""

        def rows(found: dict[str, dict[str, Any]], by: str) -> list[dict[str, Any]]:
            plain = ({k: v for k, v in row.items() if k != "id"} for row in found.values())
            return sorted(plain, key=lambda row: repr(row[by]))

        return {
            "settings": copy.deepcopy(self.settings),
            "rules": rows(self.rules, "sequence"),
            "categories": rows(self.categories, "displayName"),
            "overrides": rows(self.overrides, "senderEmailAddress"),
        }

    def change(self, given: dict[str, Any]) -> None:
        """Change settings; members of nested ones that are not given stay."""
        for name, value in given.items():
            if "@" in name:
                continue
            if name in _READ_ONLY or name not in self.settings:
                raise bad_request(f"'{name[:80]}' cannot be set.", "ErrorInvalidPropertySet")
            old = self.settings[name]
            if isinstance(old, dict) != isinstance(value, dict):
                raise _wrong(name)
            self.settings[name] = old | value if isinstance(old, dict) else value

    def _put(self, found: dict[str, dict[str, Any]], body: dict[str, Any]) -> dict[str, Any]:
        self._made += 1
        key = naming.guid(self._seed, self._owner, "setting", self._made)
        made = found[key] = {"id": key} | body
        return made

    # rules

    def add_rule(self, given: dict[str, Any]) -> dict[str, Any]:
        """Make a rule of the inbox."""
        if not given.get("displayName") or not isinstance(given.get("sequence"), int):
            raise bad_request("A rule needs displayName and sequence.", "ErrorInvalidRequest")
        if len(self.rules) >= RULES_MAX:
            raise GraphError(403, "ErrorRulesOverQuota", "The rules take too much room.")
        fixed = {"isEnabled": True, "hasError": False, "isReadOnly": False}
        return self._put(self.rules, fixed | _checked(given, _RULE))

    def change_rule(self, key: str, given: dict[str, Any]) -> dict[str, Any]:
        """Change a rule; what is null is not set any more."""
        rule = one(self.rules, key)
        for name, value in _checked(given, _RULE).items():
            if value is None:
                rule.pop(name, None)
            else:
                rule[name] = value
        return rule

    # categories

    def add_category(self, given: dict[str, Any]) -> dict[str, Any]:
        """Make a category; 409 when there is one of that name."""
        name, color = given.get("displayName"), given.get("color", "none")
        if not isinstance(name, str) or not name or color not in _COLORS:
            raise _wrong("displayName")
        taken = {row["displayName"].lower() for row in self.categories.values()}
        if name.lower() in taken:
            raise GraphError(409, "CategoryNameDuplicate", "There is such a category already.")
        return self._put(self.categories, {"displayName": name, "color": color})

    def change_category(self, key: str, given: dict[str, Any]) -> dict[str, Any]:
        """Change the colour of a category; its name cannot change."""
        category = one(self.categories, key)
        if set(given) - {"color"} or given.get("color") not in _COLORS:
            raise _wrong("color")
        category |= given
        return category

    # overrides

    def add_override(self, given: dict[str, Any]) -> dict[str, Any]:
        """Make an override; where the sender has one, that is changed."""
        sender = given.get("senderEmailAddress")
        address = sender.get("address") if isinstance(sender, dict) else None
        if not isinstance(address, str) or given.get("classifyAs") not in ("focused", "other"):
            raise _wrong("senderEmailAddress")
        body = {"classifyAs": given["classifyAs"], "senderEmailAddress": dict(sender or {})}
        for row in self.overrides.values():
            if row["senderEmailAddress"]["address"].lower() == address.lower():
                row |= body
                return row
        return self._put(self.overrides, body)

    def change_override(self, key: str, given: dict[str, Any]) -> dict[str, Any]:
        """Change what an override does."""
        override = one(self.overrides, key)
        if set(given) - {"classifyAs"} or given.get("classifyAs") not in ("focused", "other"):
            raise _wrong("classifyAs")
        override |= given
        return override


def one(found: dict[str, dict[str, Any]], key: str) -> dict[str, Any]:
    """The row with this id; 404 when there is none."""
    if key not in found:
        raise no_mail_item()
    return found[key]


def _checked(given: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    for name in given:
        if "@" not in name and name not in known:
            raise bad_request(f"'{name[:80]}' cannot be set.", "ErrorInvalidPropertySet")
    return {name: value for name, value in given.items() if "@" not in name}


def _wrong(name: str) -> GraphError:
    text = f"The value of '{name[:80]}' is invalid."
    return bad_request(text, "ErrorPropertyValidationFailure")
