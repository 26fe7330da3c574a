"""
Which folders and messages of a mailbox a job covers. Pure.

A pattern is a path of folder names, `Projects/2026*`: letters in any case, `*` and `?` within a name, and what fits covers
everything below it. `@inbox` stands for the folder of that well-known name, whatever it is called in the mailbox's
language; it is only looked at where a path begins.

Dates are compared here and not by the service: a change feed with a filter on dates ends after 5,000 messages (Graph,
"message: delta").
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from fnmatch import translate

import msgspec

from engine.errors import UsageError
from proxy.contract import Selection
from proxy.workloads.mail_folders import MailFolder
from proxy.workloads.moments import nanoseconds

__all__ = ["MailSelection"]

PATTERN_CHARACTERS_MAX = 1_000
Name = re.Pattern[str]


class MailSelection:
    """
    The part of a job's selection that is about mail.

    Raises:
        UsageError: a pattern or date that is none (`selection-invalid`).
    """

    def __init__(self, selection: Selection) -> None:
        self._folders = [_pattern(text) for text in selection.folders]
        self._without = [_pattern(text) for text in selection.without_folders]
        self._from_ns = _moment(selection.received_from)
        self._until_ns = _moment(selection.received_until)
        self.recoverable_items = selection.recoverable_items
        self.exports = selection.mail_policy == "full"
        # What decides which rows a catalog holds; not the policy, which decides only their parts.
        decisive = msgspec.structs.replace(
            selection, groups=[], filter="", without_users=[], mail_policy="full"
        )
        everything = decisive == Selection()
        digest = hashlib.blake2b(msgspec.json.encode(decisive), digest_size=8).hexdigest()
        self.mark = "" if everything else digest

    def covered(self, folders: Iterable[MailFolder]) -> set[str]:
        """Ids of the folders that are covered."""
        known = {folder.id: folder for folder in folders}
        return {folder.id for folder in known.values() if self._covers(_names(folder, known))}

    def kept(self, folders: Iterable[MailFolder]) -> list[MailFolder]:
        """The folders that are covered, and those above them, which only show where they are."""
        known = {folder.id: folder for folder in folders}
        wanted: set[str] = set()
        for folder in self.covered(known.values()):
            here: str | None = folder
            while here in known and here not in wanted:
                wanted.add(here)
                here = known[here].parent
        return [folder for folder in known.values() if folder.id in wanted]

    def covers_time(self, received_ns: int) -> bool:
        """Whether a message of this time is covered; one without a time always is."""
        if not received_ns:
            return True
        after = self._from_ns is None or received_ns >= self._from_ns
        return after and (self._until_ns is None or received_ns < self._until_ns)

    def _covers(self, names: list[tuple[str, str]]) -> bool:
        wanted = not self._folders or any(_fits(pattern, names) for pattern in self._folders)
        return wanted and not any(_fits(pattern, names) for pattern in self._without)


def _names(folder: MailFolder, known: Mapping[str, MailFolder]) -> list[tuple[str, str]]:
    """Name and well-known name of a folder and of those above it, the topmost first."""
    names: list[tuple[str, str]] = []
    seen: set[str] = set()
    here: MailFolder | None = folder
    while here is not None and here.id not in seen:
        seen.add(here.id)
        names.append((here.name, here.well_known))
        here = known.get(here.parent)
    return names[::-1]


def _pattern(text: str) -> list[Name]:
    names = [name for name in text.split("/") if name]
    if not names or len(text) > PATTERN_CHARACTERS_MAX:
        raise _unfit(f"{text[:80]!r} is not a pattern of a folder's path.")
    return [re.compile(translate(name.casefold())) for name in names]


def _fits(pattern: list[Name], names: list[tuple[str, str]]) -> bool:
    """Whether the pattern fits the folder or one above it."""
    if len(pattern) > len(names):
        return False
    for place, wanted in enumerate(pattern):
        name, well_known = names[place]
        if not wanted.match(name.casefold()) and not (
            place == 0 and well_known and wanted.match(f"@{well_known}")
        ):
            return False
    return True


def _moment(text: str) -> int | None:
    if not text:
        return None
    found = nanoseconds(f"{text}T00:00:00Z" if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else text)
    if not found and text[:10] != "1970-01-01":
        raise _unfit(f"{text[:40]!r} is not a date like 2026-01-31 or a moment in RFC 3339.")
    return found


def _unfit(message: str) -> UsageError:
    return UsageError(message, code="selection-invalid")
