"""Paths of trees for people and programs, and the folder that an import begins with. Light: it needs no catalog."""

import base64
import stat
from pathlib import Path

from engine.errors import NotFound, UsageError


def check_folder(root: Path) -> None:
    """NotFound or UsageError unless `root` is a folder."""
    try:
        found = root.stat()
    except OSError as error:
        raise NotFound(
            f"{root} cannot be reached ({error.strerror}): name an existing folder",
            code="folder-not-found",
        ) from error
    if not stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{root} is not a folder: name a folder", code="not-a-folder")


def display(path: bytes) -> str:
    """A path for people; bytes that are not UTF-8 are shown as replacement characters."""
    return path.decode("utf-8", errors="replace")


def base64_name(path: bytes) -> str | None:
    """Base64 of a name that is not UTF-8, for --json; None if it is."""
    try:
        path.decode()
    except UnicodeDecodeError:
        return base64.b64encode(path).decode()
    return None
