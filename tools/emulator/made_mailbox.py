"""
A mailbox of any size that stores only what was changed in it.

Its messages are numbered; each is a pure function of seed, owner and number, made when it is asked
for. Ids hold their number, so finding a message by its id needs no table. What a test or client
changes is kept as in any other mailbox, over what is made.
"""

import bisect
from collections.abc import Callable, Iterator, Sequence
from typing import overload

from tools.emulator import naming
from tools.emulator.changelog import Change, ChangeLog
from tools.emulator.lazy_mapping import LazyMapping
from tools.emulator.mailbox import Folder, Mailbox
from tools.emulator.message import Message

Make = Callable[[int, Folder], Message]


class MadeMessages(LazyMapping[Message]):
    """The messages of one folder: those numbered `first` to `first + count`, and what was put there."""

    def __init__(self, mailbox: "MadeMailbox", folder: Folder, first: int, count: int) -> None:
        self._mailbox = mailbox
        self._folder = folder
        self._first = first
        self._count = count
        self._kept: dict[str, Message] = {}
        self._gone: set[int] = set()

    def _number(self, key: str) -> int | None:
        """The number of a message of this folder that nobody changed."""
        number = self._mailbox.number(key)
        if number is None or not 0 <= number - self._first < self._count or number in self._gone:
            return None
        return number if self._mailbox.key(number) == key else None

    def __getitem__(self, key: str) -> Message:
        if key in self._kept:
            return self._kept[key]
        number = self._number(key)
        if number is None:
            raise KeyError(key)
        return self._mailbox.made(number, self._folder)

    def __setitem__(self, key: str, message: Message) -> None:
        number = self._number(key)
        if number is not None:
            self._gone.add(number)
        self._kept[key] = message

    def __delitem__(self, key: str) -> None:
        if self._kept.pop(key, None) is None:
            number = self._number(key)
            if number is None:
                raise KeyError(key)
            self._gone.add(number)

    def __contains__(self, key: object) -> bool:
        return key in self._kept or (isinstance(key, str) and self._number(key) is not None)

    def __len__(self) -> int:
        return self._count - len(self._gone) + len(self._kept)

    def __iter__(self) -> Iterator[str]:
        for number in self._present():
            yield self._mailbox.key(number)
        yield from list(self._kept)

    def _present(self) -> Iterator[int]:
        numbers = range(self._first, self._first + self._count)
        return (number for number in numbers if number not in self._gone)

    def each(self) -> Iterator[Message]:
        """The messages that nobody changed."""
        return (self._mailbox.made(number, self._folder) for number in self._present())

    def newest_first(self) -> Sequence[Message]:
        return _Newest(self)

    def at(self, place: int) -> Message:
        """The message at a place counted from the oldest, in [0, len)."""
        made = self._count - len(self._gone)
        if place >= made:
            return list(self._kept.values())[place - made]
        number = self._first + place
        for gone in sorted(self._gone):
            number += gone <= number
        return self._mailbox.made(number, self._folder)


class _Newest(Sequence[Message]):
    """The messages of a folder from the last to the first."""

    def __init__(self, held: MadeMessages) -> None:
        self._held = held

    def __len__(self) -> int:
        return len(self._held)

    @overload
    def __getitem__(self, place: int) -> Message: ...
    @overload
    def __getitem__(self, place: slice) -> list[Message]: ...
    def __getitem__(self, place: int | slice) -> Message | list[Message]:
        places = range(len(self._held) - 1, -1, -1)[place]
        if isinstance(places, range):
            return [self._held.at(each) for each in places]
        return self._held.at(places)


class MadeLog(ChangeLog[str]):
    """A log in which `count` keys, that `key_at` gives, were there before any change."""

    def __init__(self, count: int, key_at: Callable[[int], str]) -> None:
        super().__init__()
        self._count = self._head = count
        self._key_at = key_at

    def after(self, cursor: int, limit: int, seen_from: int) -> tuple[list[Change[str]], int, bool]:
        """See `ChangeLog.after`; what is made comes first, in order of its numbers."""
        page: list[Change[str]] = []
        while cursor < self._count:
            key = self._key_at(cursor)
            if key not in self._last:  # else it comes again, later
                if len(page) == limit:
                    return page, cursor, True
                page.append(Change(cursor + 1, key, True, 0.0))
            cursor += 1
        rest, cursor, more = super().after(cursor, limit - len(page), seen_from)
        return page + rest, cursor, more


class MadeMailbox(Mailbox):
    """A mailbox whose messages `make` makes of a number and the folder."""

    def __init__(self, seed: int, owner: str, make: Make) -> None:
        super().__init__(seed, owner)
        self._make = make
        self._starts: list[int] = []
        self._places: list[Folder] = []
        self.total = 0

    def fill(self, folder: Folder, count: int, unread: int) -> None:
        """Let an empty folder have `count` messages of which `unread` are not read."""
        first = self.total
        self.total += count
        self._starts.append(first)
        self._places.append(folder)
        folder.messages = MadeMessages(self, folder, first, count)
        folder.log = MadeLog(count, lambda place: self.key(first + place))
        folder.unread = unread

    def key(self, number: int) -> str:
        """The immutable id of a number."""
        return naming.numbered_id(self._seed, self.owner, number)

    def number(self, key: str) -> int | None:
        """The number in an id of either kind; None when the mailbox did not make it."""
        number = naming.number_in(self._seed, self.owner, key)
        return number if number is not None and number < self.total else None

    def made(self, number: int, folder: Folder) -> Message:
        """The message of a number, as nobody changed it."""
        message = self._make(number, folder)
        message.key = self.key(number)
        message.movable = naming.numbered_id(self._seed, self.owner, number, movable=True)
        return message

    def message(self, key: str) -> Message:
        number = None if key in self._messages or key in self._movable else self.number(key)
        if number is not None:
            immutable = self.key(number)
            folder = self._places[bisect.bisect_right(self._starts, number) - 1]
            if immutable not in self._messages and immutable in folder.messages:
                return folder.messages[immutable]
        return super().message(key)

    def messages(self) -> Iterator[Message]:
        for folder in self._places:
            if isinstance(folder.messages, MadeMessages):
                yield from folder.messages.each()
        yield from super().messages()

    def remove(self, message: Message, *, at: float) -> None:
        self._keep(message)
        super().remove(message, at=at)

    def move(self, message: Message, folder: Folder, *, at: float) -> None:
        self._keep(message)
        super().move(message, folder, at=at)

    def touch(self, message: Message, *, at: float, is_read: bool | None = None) -> None:
        self._keep(message)
        super().touch(message, at=at, is_read=is_read)

    def _keep(self, message: Message) -> None:
        """Store a message that is about to change."""
        if message.key not in self._messages:
            self._messages[message.key] = message
            self._movable[message.movable] = message.key
            message.folder.messages[message.key] = message
