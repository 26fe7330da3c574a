"""
When each pack was last verified, and how deep: kept in the state folder of this machine, so that checking can go round.

Losing it costs nothing but another look. It is advice, never proof: what is due is looked at, whatever it says of the rest.
"""

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

Level = Literal["listing", "directory", "scrub", "read", "drill"]
LEVELS: tuple[Level, ...] = ("listing", "directory", "scrub", "read", "drill")
NEVER = ""


@dataclass(frozen=True, slots=True)
class Rolling:
    """
    Which packs are looked at in one round: those looked at longest ago first.

    Attributes:
        share, budget_bytes: of the bytes of all packs at most so many, but at least one pack; None: all.
        older_than: those alone that were not looked at for so long.
    """

    share: float | None = None
    budget_bytes: int | None = None
    older_than: timedelta | None = None


class Ledger:
    """Pack name -> level -> time (RFC 3339 UTC) of the last look that found nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._times = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, str]])
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            self._times = {}

    def last(self, name: str, level: Level) -> str:
        """When a pack was last found sound at this level or a deeper one; NEVER if it was not."""
        deeper = LEVELS[LEVELS.index(level) :]
        times = self._times.get(name, {})
        return max((times[one] for one in deeper if one in times), default=NEVER)

    def due(self, sizes: Mapping[str, int], level: Level, rolling: Rolling, now: str) -> list[str]:
        """Names of the packs whose turn it is, out of those with these sizes."""
        if rolling.older_than is None:
            names = list(sizes)
        else:
            before = rfc3339(datetime.fromisoformat(now) - rolling.older_than)
            names = [name for name in sizes if self.last(name, level) < before]
        names.sort(key=lambda name: (self.last(name, level), name))
        left = min(
            [sum(sizes.values())]
            + ([] if rolling.share is None else [int(rolling.share * sum(sizes.values()))])
            + ([] if rolling.budget_bytes is None else [rolling.budget_bytes])
        )
        chosen: list[str] = []
        for name in names:
            if chosen and sizes[name] > left:
                break
            left -= sizes[name]
            chosen.append(name)
        return chosen

    def note(
        self, sound: Collection[str], damaged: Collection[str], level: Level, now: str
    ) -> None:
        """Packs that were looked at: found sound, found damaged."""
        for name in sound:
            self._times.setdefault(name, {})[level] = now
        for name in damaged:
            self._times.pop(name, None)

    def keep(self, names: Collection[str]) -> None:
        """Write the ledger, of these packs alone. OSError."""
        kept = {name: times for name, times in self._times.items() if name in names}
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self._path.with_suffix(f".{secrets.token_hex(8)}")
        try:
            temporary.write_bytes(msgspec.json.encode(kept))
            temporary.rename(self._path)
        finally:
            temporary.unlink(missing_ok=True)

    def oldest(self, names: Collection[str], level: Level) -> str | None:
        """The earliest of the times of these packs; NEVER if one was not looked at, None without packs."""
        return min((self.last(name, level) for name in names), default=None)


def rfc3339(moment: datetime) -> str:
    """A time as `ambient.now` writes it, so that times compare as text."""
    text = moment.astimezone(UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")
