"""
What this machine remembers of a repository's keys: the highest ring it saw, which key opened it last, a mark of the key set.

None is secret. The first makes an older ring noticed; the second spares the Argon2 of passphrases that do not fit; the mark
makes a made-up repository noticed by a recipient, to whom anybody could seal a ring.
"""

import secrets
from pathlib import Path

import msgspec

from engine.errors import Corruption
from repository.witness import state_unusable


class _Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ring: int = 0
    key: str = ""
    mark: str = ""


class KeyMemory:
    """One file of the state folder, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._held = msgspec.json.decode(path.read_bytes(), type=_Memory)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            self._held = _Memory()
        except OSError as error:
            raise state_unusable(path, error) from error

    @property
    def folder(self) -> Path:
        """The repository's folder of this machine."""
        return self._path.parent

    @property
    def key(self) -> str:
        """Id of the key that opened last; empty if none is known."""
        return self._held.key

    def check(self, ring: int) -> None:
        """Corruption if a ring is older than one that was seen."""
        if ring < self._held.ring:
            raise Corruption(
                "the store shows older keys than this machine has seen: it was rolled back or restored "
                f"from a copy; if that was on purpose, delete {self._path}",
                code="store-rolled-back",
            )

    def remember(self, ring: int, key: str, mark: str) -> None:
        """Keep what opened now. Corruption(key-foreign) if its mark is not the one that was seen before."""
        if self._held.mark not in ("", mark):
            raise Corruption(
                "the repository has other keys than this machine has seen: it was put in place of the true one; "
                f"if that was on purpose, delete {self._path}",
                code="key-foreign",
            )
        now = _Memory(ring, key, mark)
        if now == self._held:
            return
        temporary = self._path.with_suffix(f".{secrets.token_hex(8)}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.write_bytes(msgspec.json.encode(now))
            temporary.rename(self._path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise state_unusable(self._path, error) from error
        self._held = now
