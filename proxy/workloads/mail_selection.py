"""Which folders and messages of a mailbox a job covers, by the grammar of `selection`. Pure."""

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from proxy.contract import Selection
from proxy.workloads.mail_folders import MailFolder
from proxy.workloads.selection import FolderPatterns, Period, path_of, patterns_of

__all__ = ["MailSelection"]


class MailSelection:
    """
    The part of a job's selection that is about mail.

    Raises:
        UsageError: a pattern or date that is none (`selection-invalid`).
    """

    def __init__(self, selection: Selection) -> None:
        self._patterns = FolderPatterns(selection, "mail")
        self._period = Period(selection.received_from, selection.received_until)
        self.recoverable_items = selection.recoverable_items
        self.exports = selection.mail_policy == "full"
        # What decides which rows a catalog holds; not the policy, which decides only their parts.
        decisive = Selection(
            folders=patterns_of(selection.folders, "mail"),
            without_folders=patterns_of(selection.without_folders, "mail"),
            received_from=selection.received_from,
            received_until=selection.received_until,
            recoverable_items=selection.recoverable_items,
        )
        everything = decisive == Selection()
        digest = hashlib.blake2b(msgspec.json.encode(decisive), digest_size=8).hexdigest()
        self.mark = "" if everything else digest

    def covered(self, folders: Iterable[MailFolder]) -> set[str]:
        """Ids of the folders that are covered."""
        known = {folder.id: folder for folder in folders}
        return {
            key
            for key in known
            if self._patterns.covers([(f.name, f.well_known) for f in _path(key, known)])
        }

    def kept(self, folders: Iterable[MailFolder]) -> list[MailFolder]:
        """The folders that are covered, and those above them, which only show where they are."""
        known = {folder.id: folder for folder in folders}
        wanted = {f.id for key in self.covered(known.values()) for f in _path(key, known)}
        return [folder for folder in known.values() if folder.id in wanted]

    def covers_time(self, received_ns: int) -> bool:
        """Whether a message of this time is covered; one without a time always is."""
        return self._period.covers(received_ns)


def _path(folder: str, known: Mapping[str, MailFolder]) -> list[MailFolder]:
    return path_of(folder, known, lambda one: one.parent)
