"""Writing of one part into a new file, sound or not."""

import os

from tools.reader.content import Content, Part
from tools.reader.folder import Damage
from tools.reader.packs import REFERENCE_BYTES

DAMAGED = b".damaged"


def printable(name: str | bytes) -> str:
    """A name for people: one line, no control characters."""
    text = name.decode(errors="backslashreplace") if isinstance(name, bytes) else name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def write_part(content: Content, part: Part, path: bytes, *, sparse: bool = False) -> None:
    """
    A part as a new file. Damage if not all came back: then what did is in `<path>.damaged`, zeros in place of the rest,
    or nowhere if nothing did. OSError: there is something already, or the disk is full.
    """
    missing: list[str] = []
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o600), "wb") as file:
        try:
            for piece in content.read(part, missing):
                if sparse and not piece.strip(b"\0"):
                    file.seek(len(piece), os.SEEK_CUR)
                else:
                    file.write(piece)
        except Damage as error:
            missing.append(str(error))
        except OSError:
            os.unlink(path)
            raise
        file.truncate(file.tell())
    if missing:
        if len(missing) < len(part.chunks) // REFERENCE_BYTES:
            # a link never replaces what is there
            os.link(path, path + DAMAGED)
        os.unlink(path)
        raise Damage(f"{len(missing)} of its chunks are missing: {missing[0]}")
