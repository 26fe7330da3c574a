"""Where the change feeds of a user's drives stand, kept with the rows they cover."""

from dataclasses import dataclass, field

import msgspec

__all__ = ["DriveFeed", "DriveBook"]

FORM = 1
RETRIES_MAX = 5_000
SEPARATOR = "/"  # in no id of the service


@dataclass(slots=True)
class DriveFeed:
    """
    One drive.

    Attributes:
        prefix: in front of its item ids; empty for the user's first drive.
        link: next or delta link, empty: from the beginning.
        fresh: the token died; what is not met until the end of the enumeration is gone.
        root: id of its root, to remove everything once the drive is gone.
        deleted: folders that were deleted; what is still in them goes at the end of the round.
        missing: folders that items are in, and which the feed has not shown.
        retry: items that failed, to try again in the next session.
    """

    prefix: str = ""
    link: str = ""
    fresh: bool = False
    root: str = ""
    deleted: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    retry: set[str] = field(default_factory=set)
    seen: set[bytes] | None = None

    def row_id(self, item: str) -> bytes:
        """The row id of an item of this drive."""
        return (self.prefix + item).encode()

    def owns(self, row_id: bytes) -> bool:
        """Whether a row id is of this drive."""
        if self.prefix:
            return row_id.startswith(self.prefix.encode())
        return SEPARATOR.encode() not in row_id

    def begin_afresh(self) -> None:
        """The token is dead."""
        self.link = ""
        self.fresh = True
        self.seen = set()

    def failed(self, item: str) -> None:
        """Try this item again in the next session."""
        if len(self.retry) < RETRIES_MAX:
            self.retry.add(item)
        else:
            self.fresh = True  # too many to name: the next session enumerates everything


class _Drive(msgspec.Struct, omit_defaults=True):
    prefix: str = ""
    link: str = ""
    fresh: bool = False
    root: str = ""
    deleted: list[str] = []
    missing: list[str] = []
    retry: list[str] = []


class _Form(msgspec.Struct, omit_defaults=True):
    form: int = FORM
    drives: dict[str, _Drive] = {}


class DriveBook:
    """The checkpoint of a user's drives in memory."""

    def __init__(self, stored: bytes | None) -> None:
        self.drives: dict[str, DriveFeed] = {}
        form = _decode(stored)
        self._lost = form is None  # what is stored is not known to be current: look at everything
        for drive, state in (form or _Form()).drives.items():
            feed = DriveFeed(
                state.prefix,
                state.link,
                root=state.root,
                deleted=set(state.deleted),
                missing=set(state.missing),
                retry=set(state.retry),
            )
            if state.fresh:
                feed.begin_afresh()
            self.drives[drive] = feed

    def feed(self, drive: str) -> DriveFeed:
        """The feed of a drive; the first one ever met needs no prefix."""
        if drive not in self.drives:
            plain = all(feed.prefix for feed in self.drives.values())
            feed = self.drives[drive] = DriveFeed("" if plain else drive + SEPARATOR)
            if self._lost:
                feed.begin_afresh()
        return self.drives[drive]

    def encode(self) -> bytes:
        """What is stored."""
        drives = {
            drive: _Drive(
                feed.prefix,
                "" if feed.fresh else feed.link,
                feed.fresh,
                feed.root,
                sorted(feed.deleted),
                sorted(feed.missing),
                sorted(feed.retry),
            )
            for drive, feed in self.drives.items()
        }
        return msgspec.json.encode(_Form(drives=drives))


def _decode(stored: bytes | None) -> _Form | None:
    """The stored form; None if it cannot be read, which costs a full enumeration and nothing else."""
    if not stored:
        return _Form()
    try:
        form = msgspec.json.decode(stored, type=_Form)
    except msgspec.DecodeError:
        return None
    return form if form.form == FORM else None
