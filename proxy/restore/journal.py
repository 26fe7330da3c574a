"""
What a restore did so far, in a file of JSON lines that survives a kill.

An intent is durable before the write it speaks of; that something was made may get lost, and is then found by looking.
Keys are hashes: nothing of an item's text is in the file.
"""

import fcntl
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import msgspec

from engine.errors import Conflict, Unavailable

__all__ = ["Intent", "Journal", "Section", "journal_name"]

FORM = 1


class _Record(msgspec.Struct, omit_defaults=True):
    """One line. `of`: entry; `item`: id of the source item; the rest by what happened."""

    of: str = ""
    item: str = ""
    did: str = ""  # "intent", "withdrawn", "made", "done"
    place: str = ""
    key: str = ""
    there: list[str] = []
    old: str = ""
    made: str = ""
    form: int = 0


@dataclass(frozen=True, slots=True)
class Intent:
    """
    A create that is about to be sent.

    Attributes:
        place: target container. key: of the item, a hash. there: ids of that key in the container before.
        old: id that goes once the new item is complete; "" for none.
    """

    place: str
    key: str
    there: tuple[str, ...] = ()
    old: str = ""


@dataclass(slots=True)
class Section:
    """What happened of one entry; changed through the journal alone."""

    intents: dict[str, Intent] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)  # source id -> new id
    done: set[str] = field(default_factory=set)

    @property
    def unsettled(self) -> list[str]:
        """Source ids whose create may have been executed or not."""
        return [item for item in self.intents if item not in self.made]


class Journal:
    """
    One restore's journal, locked while it is open.

    Raises:
        Conflict(restore-running): another process works on the same restore.
        Unavailable(state-unavailable): the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sections: dict[str, Section] = {}
        self._file = _open_locked(path)
        self._writing = threading.Lock()
        self.resumed = False
        try:
            self._load()
        except BaseException:
            self._file.close()
            raise

    def section(self, entry: str) -> Section:
        """What is known of one entry (`object/workload`)."""
        return self._sections.setdefault(entry, Section())

    @property
    def ours(self) -> set[str]:
        """Ids that this restore made, of all entries."""
        return {new for section in self._sections.values() for new in section.made.values()}

    def intend(self, entry: str, item: str, intent: Intent) -> None:
        """Durable when it returns: from now on the item may be there."""
        self.section(entry).intents[item] = intent
        record = _Record(entry, item, "intent", intent.place, intent.key)
        record.there, record.old = list(intent.there), intent.old
        self._write(record, durable=True)

    def withdraw(self, entry: str, item: str) -> None:
        """The service surely made nothing."""
        self.section(entry).intents.pop(item, None)
        self._write(_Record(entry, item, "withdrawn"))

    def made(self, entry: str, item: str, new: str) -> None:
        """The item is there as `new`, perhaps without all its attachments."""
        self.section(entry).made[item] = new
        self._write(_Record(entry, item, "made", made=new))

    def done(self, entry: str, item: str) -> None:
        """Nothing is left to do for the item."""
        self.section(entry).done.add(item)
        self._write(_Record(entry, item, "done"))

    def close(self, *, ended: bool) -> None:
        """Let go of it; `ended`: nothing is left of this restore, the next one of the same kind begins anew."""
        if ended:
            self._path.unlink(missing_ok=True)
        self._file.close()

    def _load(self) -> None:
        good = 0
        for line in self._file:
            try:
                record = msgspec.json.decode(line, type=_Record)
            except (msgspec.DecodeError, UnicodeDecodeError):
                break  # written in part when the machine went down; what follows never was
            self._apply(record)
            good += len(line)
        self._file.truncate(good)
        self._file.seek(good)
        self.resumed = good > 0
        if not good:
            self._write(_Record(form=FORM), durable=True)

    def _apply(self, record: _Record) -> None:
        if not record.of:
            return
        section = self.section(record.of)
        match record.did:
            case "intent":
                there = tuple(record.there)
                section.intents[record.item] = Intent(record.place, record.key, there, record.old)
            case "withdrawn":
                section.intents.pop(record.item, None)
            case "made":
                section.made[record.item] = record.made
            case "done":
                section.done.add(record.item)

    def _write(self, record: _Record, *, durable: bool = False) -> None:
        try:
            with self._writing:
                self._file.write(msgspec.json.encode(record) + b"\n")
                self._file.flush()
            if durable:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise _unwritable(self._path, error) from error


def journal_name(asked: Iterable[str]) -> str:
    """File name for the restore that is asked for; equal for equal words."""
    return blake2b(msgspec.json.encode(list(asked)), digest_size=16).hexdigest() + ".restore"


def _open_locked(path: Path) -> BinaryIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise Conflict(
            "The same restore is running already; wait for it, or stop it.", code="restore-running"
        ) from error
    return file


def _unwritable(path: Path, error: OSError) -> Unavailable:
    return Unavailable(
        f"{path} cannot be written ({error.strerror}): a restore needs its journal.",
        code="state-unavailable",
    )
