"""
Settings of a mailbox back into it: rules of the inbox, categories, overrides of the focused inbox, and what the mailbox is
set to. Nothing of it is switched on that would write to anybody, unless that was asked for.

Source: Graph pages "Create rule", "Create outlookCategory", "Update user mailbox settings", "Create
inferenceClassificationOverride" (2026).
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import msgspec

from engine.catalog import Row
from proxy.graph.client import segment
from proxy.graph.errors import GraphDenied, GraphExists
from proxy.pipeline.outcome import SkipCause
from proxy.restore.mail import MailRestorer
from proxy.restore.places import Matched, find_path, matched, parents_first
from proxy.restore.protocol import Place, Present
from proxy.restore.setting_rows import (
    MEMBERS,
    REPLIES,
    NewRule,
    SettingPart,
    content_version,
    in_order,
    new_rule,
    setting_key,
    setting_rows,
)
from proxy.restore.stored_json import decoded
from proxy.restore.target import Target
from proxy.restore.wanted import Wanted

__all__ = ["Folders", "SettingsRestorer"]

PATHS = {
    "rules": "/mailFolders/inbox/messageRules",
    "categories": "/outlook/masterCategories",
    "overrides": "/inferenceClassification/overrides",
}
NEEDS = {
    "rules": "MailboxSettings.ReadWrite",
    "categories": "MailboxSettings.ReadWrite",
    "overrides": "Mail.ReadWrite",
    "mailbox": "MailboxSettings.ReadWrite",
}
FIXED = {"categories": ("displayName",), "overrides": ("senderEmailAddress",)}  # not to be changed
_MEMBERS = msgspec.json.Decoder(dict[str, Any])


class Folders:
    """Which folder of the target stands for one of the source, when rules are planned and when they are made."""

    def __init__(
        self,
        mail: MailRestorer,
        rows: Sequence[Row],
        base: tuple[str, ...],
        coming: Collection[bytes],
    ) -> None:
        self._mail = mail
        self._source = parents_first([mail.source_place(row) for row in rows])
        self._base = base
        self._coming = {one.decode() for one in coming}
        self._found: Matched = {}
        self._turn = asyncio.Lock()
        self._fresh = False

    async def plan(self) -> None:
        """As things are now."""
        places = await self._mail.places()
        base = find_path(places, self._base)
        self._found = matched(self._source, places, below=base, by_name=bool(self._base))

    async def settle(self) -> None:
        """Once more, after the restore made what was missing."""
        async with self._turn:
            if not self._fresh:
                self._coming = set()
                await self.plan()
                self._fresh = True

    def target(self, source: str) -> str | None:
        """The target's folder; of one that this restore is going to make, the source's id."""
        found = self._found.get(source)
        return source if found is None and source in self._coming else found


class SettingsRestorer:
    """Implements `Restorer` for settings; each kind is a place that is always there."""

    nested = True

    def __init__(self, target: Target, folders: Folders, chosen: Collection[SettingPart]) -> None:
        self.target = target
        self._folders = folders
        self._chosen = chosen

    def wanted(self, label: str, kept: Mapping[str, bytes]) -> Wanted:
        """
        The chosen settings as rows, each with the version that it would have here; after the folders were planned.

        Args:
            kept: the parts of the inbox row by role.
        """
        found = setting_rows(label, kept, self._chosen)
        items = {
            place: [replace(row, version=self._version(row)) for row in rows]
            for place, rows in found.items.items()
        }
        return replace(found, items=items)

    def _version(self, row: Row) -> str:
        members = self._new(row)
        if "isEnabled" in members:  # one that is there as it was is not switched off
            members["isEnabled"] = decoded(row.meta)["isEnabled"]
        return content_version(members, MEMBERS.get(row.container.decode(), members))

    async def places(self) -> list[Place]:
        """The four kinds."""
        return [Place(name, "", name) for name in NEEDS]

    def source_place(self, row: Row) -> Place:
        """A kind."""
        name = row.name.decode()
        return Place(name, "", name)

    async def make_place(self, place: Place, parent: str) -> str:
        """They are there."""
        return place.id

    async def find_place(self, place: Place, parent: str) -> str | None:
        """They are there."""
        return place.id

    async def present(self, place: str) -> list[Present]:
        """
        Settings of one kind.

        What the mailbox is set to is always set to something, so what differs is not there: it is set.
        """
        with _permission_named(place):
            if place == "mailbox":
                call = self.target.call("Read the settings of a mailbox", "/mailboxSettings")
                found = await self.target.writer.get_json(call)
                return [self._singleton(*one) for one in found.items() if "@" not in one[0]]
            listed = self.target.listed("List settings", PATHS[place], _MEMBERS, {})
            settings = sorted([members async for members in listed], key=in_order)
            return [_there(place, members) for members in settings]

    def key(self, row: Row) -> str:
        """By kind: name, name, address, what it says."""
        return setting_key(row.container.decode(), decoded(row.meta))

    def requests(self, row: Row) -> int:
        """One each."""
        return 1

    def lessened(self, row: Row) -> SkipCause | None:
        """Why a rule is made disabled."""
        return self._rule(row).cause if row.container == b"rules" else None

    async def make(self, row: Row, place: str) -> str:
        """Make a rule, category or override; set what the mailbox is set to."""
        await self._folders.settle()
        members = self._new(row)
        try:
            with _permission_named(place):
                if place != "mailbox":
                    call = self.target.call("Make a setting", PATHS[place], members)
                    return await self.target.made(call)
                call = self.target.call("Set a mailbox", "/mailboxSettings", members)
                await self.target.writer.change(call)
                return row.id.decode()
        except GraphExists:
            key = self.key(row)
            there = [one.id for one in await self.present(place) if one.key == key]
            if not there:
                raise
            return there[0]

    async def overwrites(self, rows: Iterable[Row]) -> set[bytes]:
        """All of them."""
        return {row.id for row in rows}

    async def overwrite(self, row: Row, old: str, version: str, place: str) -> bool:
        """Change the one that is there."""
        await self._folders.settle()
        fixed = FIXED.get(place, ())
        new = self._new(row)  # a member that it has not is taken from the one that is there
        changes = {name: new.get(name) for name in MEMBERS[place] if name not in fixed}
        path = f"{PATHS[place]}/{segment(old)}"
        with _permission_named(place):
            await self.target.writer.change(self.target.call("Change a setting", path, changes))
        return True

    async def complete(self, row: Row, new: str, place: str) -> None:
        """Nothing: a setting is made whole."""

    async def remove(self, old: str, place: str) -> None:
        """Nothing: what is there is changed."""

    async def settle(self, place: str, made: dict[str, Row]) -> None:
        """Nothing."""

    def _new(self, row: Row) -> dict[str, Any]:
        place = row.container.decode()
        if place == "rules":
            return self._rule(row).members
        members = decoded(row.meta)
        return {n: members[n] for n in MEMBERS.get(place, members) if members.get(n) is not None}

    def _rule(self, row: Row) -> NewRule:
        domain = self.target.name.rpartition("@")[2]
        kept = decoded(row.meta)
        return new_rule(kept, self._folders.target, domain, forwards="forwarding" in self._chosen)

    def _singleton(self, name: str, value: Any) -> Present:
        if name == REPLIES and "replies-on" not in self._chosen:
            value = {n: v for n, v in value.items() if n != "status"}
        members = {name: value}
        version = content_version(members, members)
        return Present(f"now/{name}", setting_key("mailbox", members), version, says_all=True)


@contextmanager
def _permission_named(place: str) -> Iterator[None]:
    """A refusal says which permission is missing."""
    try:
        yield
    except GraphDenied as error:
        text = f"{error.message} This needs the application permission {NEEDS[place]}."
        raise GraphDenied(text, code=error.code) from error


def _there(place: str, members: dict[str, Any]) -> Present:
    version = content_version(members, MEMBERS[place])
    return Present(str(members["id"]), setting_key(place, members), version, says_all=True)
