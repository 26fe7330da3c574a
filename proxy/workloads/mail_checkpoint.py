"""
Where the change feeds of a mailbox stand: one per folder, kept with the rows they cover.

A folder has two links: `kept`, which is stored, and `live`, where reading goes on. They differ while the folder has
removals that wait for the end of the rounds (an item gone from one folder may turn up in another): a crash then reads
the folder again from `kept` and finds the same removals.
"""

from dataclasses import dataclass

import msgspec

__all__ = ["FolderFeed", "MailBook", "TreeFeed"]

FORM = 2
RETRIES_MAX = 5_000


class _Folder(msgspec.Struct, omit_defaults=True):
    link: str = ""
    fresh: bool = False


class TreeFeed(msgspec.Struct, omit_defaults=True):
    """
    Where the folder tree stands: its change link (empty: list all), the sessions since it was listed, the folders that have a
    row, ids of folders to their well-known names.
    """

    link: str = ""
    sessions: int = 0
    shown: list[str] = []
    well_known: dict[str, str] = {}


class _Form(msgspec.Struct, omit_defaults=True):
    form: int = FORM
    folders: dict[str, _Folder] = {}
    retry: dict[str, str] = {}
    tree: TreeFeed = msgspec.field(default_factory=TreeFeed)
    selection: str = ""
    streams: bool = False


@dataclass(slots=True)
class FolderFeed:
    """
    One folder's feed.

    `fresh`: its token died, so what is gone has to be found by enumerating all; `seen` are the ids met so far while
    that goes on, None otherwise. `ended`: the live link is a delta link.
    """

    kept: str = ""
    live: str = ""
    fresh: bool = False
    held: bool = False
    ended: bool = False
    incomplete: bool = False
    seen: set[bytes] | None = None

    def go_on(self, link: str, *, ended: bool) -> None:
        """A page was taken; reading goes on behind `link`."""
        self.live = link
        self.ended = ended
        if not self.held:
            self.kept = link

    def hold(self) -> None:
        """Keep the stored link where it is until `release`."""
        self.held = True

    def release(self) -> None:
        """What was waited for is stored: the live link may be kept, if the enumeration got to its end."""
        if self.held and self.ended and not self.incomplete:
            self.held = self.fresh = False
            self.kept = self.live

    def begin_afresh(self) -> None:
        """The token is dead: enumerate everything, then remove what was not met."""
        self.kept = self.live = ""
        self.fresh = self.held = True
        self.ended = False
        self.seen = set()


class MailBook:
    """
    The checkpoint of a mailbox in memory.

    `retry`: ids of messages that failed, with their folder; `selection`: mark of what the rows were chosen by;
    `streams`: whether messages have their export streams.
    """

    def __init__(self, stored: bytes | None) -> None:
        self.folders: dict[str, FolderFeed] = {}
        self.retry: dict[str, str] = {}
        known = _decode(stored)
        self._lost = known is None  # what is stored is not known to be current: look at everything
        form = known or _Form()
        for folder, state in form.folders.items():
            feed = self.folders[folder] = FolderFeed(state.link, state.link)
            if state.fresh:
                feed.begin_afresh()
        self.retry.update(form.retry)
        self.tree = form.tree
        self.selection = form.selection
        self.streams = form.streams

    def feed(self, folder: str) -> FolderFeed:
        """The feed of a folder, a new one at the first sight of it."""
        if folder not in self.folders:
            feed = self.folders[folder] = FolderFeed()
            if self._lost:
                feed.begin_afresh()
        return self.folders[folder]

    def forget(self, folder: str) -> None:
        """The folder is gone."""
        self.folders.pop(folder, None)

    def failed(self, message: str, folder: str) -> None:
        """Try this message again in the next session."""
        if len(self.retry) < RETRIES_MAX:
            self.retry[message] = folder
            return
        feed = self.feed(folder)  # too many to name: the next session reads the pages again
        feed.hold()
        feed.incomplete = True

    def encode(self) -> bytes:
        """What is stored."""
        folders = {name: _Folder(feed.kept, feed.fresh) for name, feed in self.folders.items()}
        form = _Form(FORM, folders, self.retry, self.tree, self.selection, self.streams)
        return msgspec.json.encode(form)


def _decode(stored: bytes | None) -> _Form | None:
    """The stored form; None if it cannot be read, which costs a full enumeration and nothing else."""
    if not stored:
        return _Form()
    try:
        form = msgspec.json.decode(stored, type=_Form)
    except msgspec.DecodeError:
        return None
    return form if form.form == FORM else None
