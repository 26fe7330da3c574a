"""Section "Objects": the files of a repository, read only."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from blake3 import blake3

from tools.reader.parity import mend


class Damage(Exception):
    """What is stored is not what was written, or is not there; the message says what."""


class Folder:
    """A repository in a local folder; objects go by their names, such as `run/<id>`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self, prefix: str, form: str) -> Iterator[str]:
        """Names below `prefix` (ends with a slash) whose rest has the form, rising; other files are none of ours."""
        base = self.root / prefix
        found = sorted(str(path.relative_to(base)) for path in base.rglob("*") if path.is_file())
        yield from (prefix + rest for rest in found if re.fullmatch(form, rest))

    def size(self, name: str) -> int:
        """Stored bytes."""
        try:
            return (self.root / name).stat().st_size
        except OSError as error:
            raise Damage(f"{name}: {error.strerror}") from error

    def read(self, name: str, offset: int = 0, size: int = -1) -> bytes:
        """A range of an object (all of it by default), in full length."""
        try:
            with open(self.root / name, "rb") as file:
                file.seek(offset)
                data = file.read(size)
        except OSError as error:
            raise Damage(f"{name}: {error.strerror}") from error
        if size >= 0 and len(data) != size:
            raise Damage(f"{name}: ends before {offset + size}")
        return data

    def read_checked(self, name: str) -> bytes:
        """A whole object (no pack) whose name must be the hash of its bytes, mended by its parity if need be."""
        data = self.read(name)
        whole = data if _is_named(name, data) else mend(data, 0, partial(_is_named, name))
        if whole is None:
            raise Damage(f"{name}: its bytes do not hash to its name")
        return whole


def _is_named(name: str, data: bytes) -> bool:
    return blake3(data).hexdigest() == name.rpartition("/")[2]
