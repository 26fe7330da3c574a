"""Groups of errors, flattened for people: they see one line."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from engine.errors import BackupError

T = TypeVar("T")


def leaves(group: BaseExceptionGroup[BackupError]) -> Iterator[BackupError]:
    """The single errors of a group, depth first."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


def flat(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; of a group of errors of the tree the first one is told."""
    try:
        return asyncio.run(work)
    except BaseExceptionGroup as errors:
        known, others = errors.split(BackupError)
        if known is None or others is not None:
            raise
        raise next(leaves(known)) from None
