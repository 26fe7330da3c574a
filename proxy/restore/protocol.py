"""
The border between a restore and the workloads it writes: what `run` asks of one workload of one target.

Places are the target's containers (mail folders, calendars, contact folders, task lists); present is what lies in one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal, Protocol

from engine.catalog import Row
from proxy.pipeline.outcome import SkipCause
from proxy.restore.target import Target

__all__ = ["Collision", "Place", "Present", "Restorer", "item_key"]

Collision = Literal["skip", "copy", "replace"]
KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Place:
    """
    A container of the target, or of the source as the target would see it.

    Attributes:
        parent: id of the container it is in; "" or an id that is no place for the top.
        known_as: the name that the service gives it in every language ("inbox"), or "".
        hidden: not shown to people. look: further members that it is made with (a colour).
    """

    id: str
    parent: str
    name: str
    known_as: str = ""
    hidden: bool = False
    look: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Present:
    """
    An item in a place.

    Attributes:
        key: as `item_key` makes it. version: its change key.
        tells_others: the service would write to other people if it were taken away.
        says_all: its version is made of all that it says, so that equal ones are the same wherever they came from.
    """

    id: str
    key: str
    version: str = ""
    tells_others: bool = False
    says_all: bool = False


def item_key(*members: str) -> str:
    """What makes two items the same for a person, as 32 hex digits that say nothing of them."""
    joined = "\0".join(members).encode("utf-8", "surrogatepass")
    return blake2b(joined, digest_size=KEY_BYTES).hexdigest()


class Restorer(Protocol):
    """Writes one workload of one target user. Errors are GraphErrors of the one item or place."""

    target: Target
    nested: bool  # whether places may be in places

    async def places(self) -> list[Place]:
        """All places of the target, parents first."""

    def source_place(self, row: Row) -> Place | None:
        """A container row of the restore point as a place; None: what is in it is not restored."""

    async def make_place(self, place: Place, parent: str) -> str:
        """
        Make a place of this name in `parent` ("": at the top); its id.

        Raises:
            GraphExists: one of this name is there. GraphAnswerLost: it may be there.
        """

    async def find_place(self, place: Place, parent: str) -> str | None:
        """The id of the place of this name in `parent`, if there is one."""

    async def present(self, place: str) -> list[Present]:
        """What lies in a place."""

    def key(self, row: Row) -> str:
        """The key of an item row, from the row alone."""

    def lessened(self, row: Row) -> SkipCause | None:
        """Why it is made in a lesser form; None: it is not."""

    def requests(self, row: Row) -> int:
        """About how many requests making it takes."""

    async def make(self, row: Row, place: str) -> str:
        """
        Make the item; its new id.

        Raises:
            GraphAnswerLost: it may be there.
        """

    async def overwrites(self, rows: Iterable[Row]) -> set[bytes]:
        """Ids of the rows that `overwrite` may be tried with, here and with the rights that there are."""

    async def overwrite(self, row: Row, old: str, version: str, place: str) -> bool:
        """
        Let the item `old`, of this version, become that of the row without a word to anybody; False: not possible.

        Twice is like once.
        """

    async def complete(self, row: Row, new: str, place: str) -> None:
        """Add what `make` left out. Twice is like once."""

    async def remove(self, old: str, place: str) -> None:
        """Take away an item that was replaced. Twice is like once."""

    async def settle(self, place: str, made: dict[str, Row]) -> None:
        """After all items of a place: bring their state (read, flags) to that of the rows; `made` by new id."""
