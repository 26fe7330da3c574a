"""Groups of errors, flattened for people: they see one line."""

from collections.abc import Iterator

from engine.errors import BackupError


def leaves(group: BaseExceptionGroup[BackupError]) -> Iterator[BackupError]:
    """The single errors of a group, depth first."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error
