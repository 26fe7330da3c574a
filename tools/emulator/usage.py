"""What clients use of the buckets: who was let through when, and how many were refused."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tools.emulator.errors import GraphError
from tools.emulator.serve import Emulator

__all__ = ["Usage"]

EMPTY_S = 60.0  # virtual seconds between two calls on a mailbox: its window was used up


@dataclass
class Usage:
    """Calls on mailboxes by virtual time, and refusals of any bucket, from `watch` on."""

    passed: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    refused: int = 0

    def watch(self, emulator: Emulator) -> None:
        """See every call."""
        throttle: Any = emulator.services.throttle
        for bucket in ("mailbox", "files", "identity"):
            setattr(throttle, bucket, self._seen(emulator, bucket, getattr(throttle, bucket)))

    def _seen(
        self, emulator: Emulator, bucket: str, admit: Callable[..., Any]
    ) -> Callable[..., Any]:
        def seen(*arguments: Any) -> Any:
            try:
                answer = admit(*arguments)
            except GraphError:
                self.refused += 1
                raise
            if bucket == "mailbox":
                self.passed[arguments[0]].append(emulator.clock.now())
            return answer

        return seen

    def share(self, limit: int, window_s: float) -> float:
        """
        The part used of windows with `limit` calls in `window_s`, over all mailboxes.

        Counted from the first call to the end of the last wait for a window: what comes after has not had its time yet.
        """
        used = offered = 0.0
        for times in self.passed.values():
            waits = [n for n in range(1, len(times)) if times[n] - times[n - 1] > EMPTY_S]
            if waits:
                used += waits[-1]
                offered += limit * (times[waits[-1]] - times[0]) / window_s
        return used / offered if offered else 0.0
