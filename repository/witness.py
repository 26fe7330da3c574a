"""
What this machine has seen of a repository, so that a store that shows an older state is noticed.

Kept in the state folder, not in a cache: whoever deletes it starts to believe the store anew.
"""

import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.errors import BackupError, Corruption, Unavailable
from repository.state import State


class _Seen(msgspec.Struct, forbid_unknown_fields=True):
    generation: int = 0
    turns: dict[str, int] = {}


class Witness:
    """Highest generation and turns seen. One file, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._load()

    def _load(self) -> _Seen:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Seen)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return _Seen()
        except OSError as error:
            raise state_unusable(self._path, error) from error

    @property
    def generation(self) -> int:
        """Highest generation number seen."""
        return self._seen.generation

    @property
    def turns(self) -> Mapping[str, int]:
        """Highest turn seen of each writer."""
        return self._seen.turns

    def check(self, state: State) -> None:
        """Compare a state read now with what was seen; Corruption if it is older. Then remember it."""
        behind = [
            writer
            for writer, turn in self._seen.turns.items()
            if writer not in state.cells or state.cells[writer].turn < turn
        ]
        if behind or state.generation.number < self._seen.generation:
            raise self.rolled_back()
        turns = {writer: cell.turn for writer, cell in state.cells.items()}
        if turns != self._seen.turns or state.generation.number != self._seen.generation:
            self._seen = _Seen(state.generation.number, turns)
            try:
                self._keep()
            except OSError as error:
                raise state_unusable(self._path, error) from error

    def rolled_back(self) -> Corruption:
        """The error that says so, and which file to delete if it was on purpose."""
        return Corruption(
            "the store shows an older state than this machine has seen: it was rolled back or restored "
            f"from a copy; if that was on purpose, delete {self._path}",
            code="store-rolled-back",
        )

    def _keep(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self._path.with_suffix(f".{secrets.token_hex(8)}")
        try:
            temporary.write_bytes(msgspec.json.encode(self._seen))
            temporary.rename(self._path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def state_unusable(path: Path, error: OSError) -> BackupError:
    """The state folder fails (full disk, no right): one line that says what to do."""
    return Unavailable(
        f"{path} cannot be used ({error.strerror}): free some space or choose another --state-dir",
        code="state-unavailable",
    )
