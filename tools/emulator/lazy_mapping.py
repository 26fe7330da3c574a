"""
Collections too large to be listed whole: their values are made when a page asks for them.
"""

import abc
from collections.abc import Mapping, MutableMapping, Sequence
from typing import TypeVar

T = TypeVar("T")


class LazyMapping(MutableMapping[str, T], abc.ABC):
    """A mapping whose values are made when asked for."""

    @abc.abstractmethod
    def newest_first(self) -> Sequence[T]:
        """All values, the one that came last first; a slice makes only what is in it."""


def newest_first(held: Mapping[str, T]) -> Sequence[T]:
    """The values of a mapping, the one that came last first."""
    if isinstance(held, LazyMapping):
        found: Sequence[T] = held.newest_first()
        return found
    return list(held.values())[::-1]
