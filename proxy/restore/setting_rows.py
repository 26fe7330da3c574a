"""
Settings of a mailbox as items of a restore: what of the kept parts becomes which row. Pure.

Each kind of setting is a place: rules, categories, overrides, and the mailbox itself, whose settings are there once. The
row's `meta` is the setting as Graph gave it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal, get_args

import msgspec

from engine.catalog import Row
from engine.errors import UsageError
from proxy.pipeline.outcome import SkipCause
from proxy.restore.protocol import item_key
from proxy.restore.stored_json import decoded
from proxy.restore.wanted import Wanted

__all__ = [
    "SettingPart",
    "content_version",
    "in_order",
    "new_rule",
    "parse_settings",
    "setting_key",
    "setting_rows",
]

SettingPart = Literal[
    "rules", "forwarding", "categories", "overrides", "mailbox", "replies", "replies-on"
]
# `all` leaves out what makes a mailbox write to others by itself.
ALL: tuple[SettingPart, ...] = ("rules", "categories", "overrides", "mailbox")
MAILBOX = (
    "timeZone", "workingHours", "language", "dateFormat", "timeFormat",
    "delegateMeetingMessageDeliveryOptions",
)  # fmt: skip
REPLIES = "automaticRepliesSetting"
RULE = ("displayName", "sequence", "isEnabled", "conditions", "actions", "exceptions")
MEMBERS = {
    "rules": RULE,
    "categories": ("displayName", "color"),
    "overrides": ("classifyAs", "senderEmailAddress"),
}
FOLDERS = ("moveToFolder", "copyToFolder")
FORWARDS = ("forwardTo", "forwardAsAttachmentTo", "redirectTo")
NOTHING = {"stopProcessingRules": True}  # what is left of a rule that lost its only action

Members = dict[str, Any]


def parse_settings(words: str) -> tuple[SettingPart, ...]:
    """
    The words of `--settings`: parts with commas between, `all` for those that write to nobody.

    Raises:
        UsageError(settings-unknown): a word that is no part.
    """
    found: dict[SettingPart, None] = {}
    for word in filter(None, (one.strip() for one in words.split(","))):
        known = next((part for part in get_args(SettingPart) if part == word), None)
        if known is None and word != "all":
            parts = ", ".join(get_args(SettingPart))
            raise UsageError(
                f"{word[:40]!r} is no part of the settings: all, {parts}.", code="settings-unknown"
            )
        found |= dict.fromkeys(ALL if known is None else [known])
        if known == "forwarding":
            found["rules"] = None
    return tuple(found)


def setting_rows(label: str, kept: Mapping[str, bytes], chosen: Collection[SettingPart]) -> Wanted:
    """
    The chosen settings as rows.

    Args:
        kept: the parts of the inbox row (docs/workloads.md) by role.
    """
    items: dict[bytes, list[Row]] = {}
    for place, names in MEMBERS.items():
        if place in chosen and place in kept:
            listed = decoded(kept[place]).get("value") or ()
            entries = sorted((one for one in listed if isinstance(one, dict)), key=in_order)
            items[place.encode()] = [_row(place, str(one.get("id")), one, names) for one in entries]
    if "settings" in kept:
        found = _of_the_mailbox(decoded(kept["settings"]), chosen)
        if found:
            items[b"mailbox"] = [
                _row("mailbox", name, {name: v}, (name,)) for name, v in found.items()
            ]
    containers = [Row(place, b"", place, "container") for place in items]
    return Wanted(label, containers, items)


def _of_the_mailbox(settings: Members, chosen: Collection[SettingPart]) -> Members:
    names = MAILBOX if "mailbox" in chosen else ()
    found = {name: settings[name] for name in names if settings.get(name) is not None}
    replies = settings.get(REPLIES)
    if isinstance(replies, dict) and {"replies", "replies-on"} & set(chosen):
        # Whether they are on stays as it is, unless that was asked for: nobody finds an answer sent by surprise.
        left_out = () if "replies-on" in chosen else ("status",)
        found[REPLIES] = {n: v for n, v in replies.items() if n not in left_out and "@" not in n}
    return found


def _row(place: str, key: str, members: Members, names: Collection[str]) -> Row:
    name = str(members.get("displayName") or _sender(members) or key)
    return Row(
        id=f"{place}/{key}".encode(),
        container=place.encode(),
        name=name.encode("utf-8", "surrogatepass"),
        kind="setting",
        meta=msgspec.json.encode(members),
        version=content_version(members, names),
    )


def content_version(members: Members, names: Collection[str]) -> str:
    """Equal for settings that say the same; what is not set is as if it were not there."""
    plain = {name: _plain(members.get(name)) for name in sorted(names)}
    return blake2b(msgspec.json.encode(plain, order="sorted"), digest_size=16).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        found = {name: _plain(one) for name, one in value.items() if "@" not in name}
        return {name: one for name, one in found.items() if one not in (None, [], {}, False)}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def setting_key(place: str, members: Members) -> str:
    """What a person would call the same setting."""
    if place in ("rules", "categories"):
        # Not the place in the order: the service moves rules when others come between them.
        return item_key(place, str(members.get("displayName")).casefold())
    if place == "overrides":
        return item_key(place, _sender(members).casefold())
    return content_version(members, members)  # there is one of it: only an equal one is met


def in_order(members: Members) -> int:
    """Rules of one name are met in the order in which they work."""
    sequence = members.get("sequence")
    return sequence if isinstance(sequence, int) else 0


def _sender(members: Members) -> str:
    sender = members.get("senderEmailAddress")
    return str(sender.get("address") or "") if isinstance(sender, dict) else ""


@dataclass(frozen=True, slots=True)
class NewRule:
    """A rule as Graph takes it, and why it is made disabled."""

    members: Members
    cause: SkipCause | None


def new_rule(
    kept: Members,
    folder_of: Callable[[str], str | None],
    own_domain: str,
    *,
    forwards: bool,
) -> NewRule:
    """
    A kept rule as it is made: its folders are those of the target.

    It is made disabled where it would do something else than it did (a folder is missing, the service did not show all of
    it), and where it would send mail out of the organization unless `forwards`.

    Args:
        folder_of: the target's folder for one of the source. own_domain: of the target user's addresses.
    """
    members = {name: kept[name] for name in RULE if kept.get(name) is not None}
    actions = {n: v for n, v in (members.get("actions") or {}).items() if "@" not in n}
    cause: SkipCause | None = None
    for name in FOLDERS:
        source = actions.pop(name, None)
        target = folder_of(str(source)) if source else None
        if target is not None:
            actions[name] = target
        elif source:
            cause = "rule-folder-missing"
    if kept.get("isReadOnly") or kept.get("hasError"):
        cause = cause or "rule-incomplete"
    if not forwards and any(_is_outside(one, own_domain) for one in _told(actions)):
        cause = cause or "rule-forwards-outside"
    members["actions"] = actions or NOTHING
    if cause is not None:
        members["isEnabled"] = False
    return NewRule(members, cause)


def _told(actions: Members) -> Sequence[Any]:
    return [one for name in FORWARDS for one in actions.get(name) or ()]


def _is_outside(person: Any, own_domain: str) -> bool:
    address = (person or {}).get("emailAddress") or {}
    domain = str(address.get("address") or "").rpartition("@")[2].strip().casefold()
    return domain != own_domain.casefold() or not own_domain
