"""
Throttling as a mechanism: windows and buckets on the virtual clock, not random errors.

Each bucket is a `Gate`: it admits a call or refuses it with the time after which it would be
admitted. Whoever calls before that time breaks a rule, and is made to wait longer.

Limits: Microsoft's published service limits as of 2026 (Outlook, SharePoint, identity).
"""

import dataclasses
from collections import deque

from tools.emulator.clock import Clock
from tools.emulator.errors import GraphError
from tools.emulator.ledger import Ledger
from tools.emulator.options import Throttling

PUNISHMENT_MAX = 300.0  # virtual seconds
CONCURRENCY_PAUSE = 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one profile; None where a profile does not limit."""

    mailbox_requests: int | None
    mailbox_window: float
    mailbox_concurrency: int | None
    mailbox_upload_bytes: int | None
    mailbox_upload_window: float
    files_units: int | None
    files_window: float
    identity_units: int | None
    identity_window: float


PROFILES: dict[Throttling, Limits] = {
    "off": Limits(None, 600.0, None, None, 300.0, None, 60.0, None, 10.0),
    "real": Limits(10_000, 600.0, 4, 150_000_000, 300.0, 1_250, 60.0, 3_500, 10.0),
    "tiny": Limits(100, 600.0, 4, 1_500_000, 300.0, 12, 60.0, 35, 10.0),
}


class Gate:
    """Who may pass: remembers how long it told callers to wait."""

    def __init__(self, clock: Clock, grace: float) -> None:
        self._clock = clock
        self._grace = grace
        self._shut_until = 0.0
        self._told_at = float("-inf")
        self._strikes = 0

    def early(self) -> bool:
        """True for a call inside the time it was told to wait; such calls lengthen it."""
        now = self._clock.now()
        if now >= self._shut_until:
            self._strikes = 0
            return False
        if self._clock.real() - self._told_at > self._grace:
            self._strikes += 1
            left = self._shut_until - now
            self._shut_until = now + min(PUNISHMENT_MAX, max(left, 2.0**self._strikes))
            return True
        return False

    def remaining(self) -> float:
        """Virtual seconds until the gate opens; 0 when it is open."""
        return max(0.0, self._shut_until - self._clock.now())

    def shut(self, seconds: float) -> int:
        """Refuse calls for `seconds` of virtual time; returns the Retry-After to send."""
        told = self._clock.sent(seconds)
        until = self._clock.now() + told * self._clock.rate
        if until > self._shut_until:
            self._shut_until = until
            self._told_at = self._clock.real()
        return told


class SlidingWindow:
    """At most `limit` calls in any `window` virtual seconds."""

    def __init__(self, limit: int, window: float, clock: Clock) -> None:
        self._limit = limit
        self._window = window
        self._clock = clock
        self._calls: deque[float] = deque(maxlen=limit)

    def admit(self) -> float:
        """0 when the call is admitted, else the virtual seconds until one would be."""
        now = self._clock.now()
        if len(self._calls) == self._limit:
            wait = self._calls[0] + self._window - now
            if wait > 0:
                return wait
        self._calls.append(now)
        return 0.0


class VolumeWindow:
    """At most `limit` bytes in any `window` virtual seconds; one larger body passes an idle one."""

    def __init__(self, limit: int, window: float, clock: Clock) -> None:
        self._limit = limit
        self._window = window
        self._clock = clock
        self._sent: deque[tuple[float, int]] = deque()
        self._used = 0

    def admit(self, size: int) -> float:
        """0 when `size` bytes are admitted, else the virtual seconds until they would be."""
        now = self._clock.now()
        while self._sent and self._sent[0][0] + self._window <= now:
            self._used -= self._sent.popleft()[1]
        over = self._used + size - self._limit
        if self._sent and over > 0:
            for at, bytes_sent in self._sent:
                over -= bytes_sent
                if over <= 0:
                    return at + self._window - now
            return self._sent[-1][0] + self._window - now
        self._sent.append((now, size))
        self._used += size
        return 0.0


class UnitWindow:
    """At most `limit` resource units in each window of `window` virtual seconds."""

    def __init__(self, limit: int, window: float, clock: Clock) -> None:
        self.limit = limit
        self.window = window
        self._clock = clock
        self._opened = clock.now()
        self.used = 0

    def admit(self, units: int) -> float:
        """0 when admitted, else the virtual seconds until the next window; refused calls count."""
        now = self._clock.now()
        if now - self._opened >= self.window:
            self._opened = now
            self.used = 0
        self.used += units
        return 0.0 if self.used <= self.limit else self.left()

    def left(self) -> float:
        """Virtual seconds until the window closes."""
        return max(0.001, self._opened + self.window - self._clock.now())


class Throttle:
    """All buckets of one app in one tenant."""

    def __init__(self, profile: Throttling, clock: Clock, ledger: Ledger, grace: float) -> None:
        self._clock = clock
        self._ledger = ledger
        self._grace = grace
        self._gates: dict[str, Gate] = {}
        self.set_profile(profile)

    def set_profile(self, profile: Throttling) -> None:
        """Change the limits; buckets start empty, gates open."""
        self.profile = profile
        self.limits = limits = PROFILES[profile]
        self._gates.clear()
        self._mailboxes: dict[str, SlidingWindow] = {}
        self._volumes: dict[str, VolumeWindow] = {}
        self._files = self._window(limits.files_units, limits.files_window)
        self._identity = self._window(limits.identity_units, limits.identity_window)

    def _window(self, units: int | None, window: float) -> UnitWindow | None:
        return UnitWindow(units, window, self._clock) if units else None

    def gate(self, bucket: str) -> Gate:
        """The gate of `mailbox:<user id>`, `files` or `identity`."""
        return self._gates.setdefault(bucket, Gate(self._clock, self._grace))

    def _early(self, bucket: str) -> int | None:
        """The Retry-After for a call at a shut gate, None when the gate is open."""
        gate = self.gate(bucket)
        if gate.early():
            self._ledger.breach("call-in-retry-after", bucket, self._clock.now())
        left = gate.remaining()
        return self._clock.sent(left) if left > 0 else None

    def mailbox(self, owner: str, running: int, body_bytes: int = 0) -> None:
        """Admit a call on a mailbox on which `running` calls run, this one included; else 429."""
        bucket = f"mailbox:{owner}"
        if (wait := self._early(bucket)) is not None:
            raise _mail_429(wait, "Application is over its request limit for this mailbox.")
        if self.limits.mailbox_concurrency and running > self.limits.mailbox_concurrency:
            told = self.gate(bucket).shut(CONCURRENCY_PAUSE)
            raise _mail_429(told, "Application is over its MailboxConcurrency limit.")
        if self.limits.mailbox_requests:
            window = self._mailboxes.get(owner)
            if window is None:
                window = self._mailboxes[owner] = SlidingWindow(
                    self.limits.mailbox_requests, self.limits.mailbox_window, self._clock
                )
            if (seconds := window.admit()) > 0:
                told = self.gate(bucket).shut(seconds)
                raise _mail_429(told, "Application is over its request limit for this mailbox.")
        if self.limits.mailbox_upload_bytes and body_bytes:
            volume = self._volumes.get(owner)
            if volume is None:
                volume = self._volumes[owner] = VolumeWindow(
                    self.limits.mailbox_upload_bytes, self.limits.mailbox_upload_window, self._clock
                )
            if (seconds := volume.admit(body_bytes)) > 0:
                told = self.gate(bucket).shut(seconds)
                raise _mail_429(told, "Application is over its upload limit for this mailbox.")

    def files(self, units: int) -> dict[str, str]:
        """Admit a call of `units` RU on SharePoint; returns its headers; else 429."""
        wait = self._early("files")
        window = self._files
        over = window.admit(units) if window else 0.0
        if wait is None and over > 0:
            wait = self.gate("files").shut(over)
        headers = self._rate_headers(window)
        if wait is not None:
            quota = {"code": "throttledRequest", "innerError": {"code": "quota"}}
            raise GraphError(
                429,
                "activityLimitReached",
                "The app or user has been throttled.",
                headers | {"Retry-After": str(wait)},
                {"innerError": quota},
            )
        return headers

    def _rate_headers(self, window: UnitWindow | None) -> dict[str, str]:
        if window is None or window.used < 0.8 * window.limit:
            return {}
        return {
            "RateLimit-Limit": str(window.limit),
            "RateLimit-Remaining": str(max(0, window.limit - window.used)),
            "RateLimit-Reset": str(self._clock.sent(window.left())),
        }

    def identity(self, units: int) -> dict[str, str]:
        """Admit a call of `units` RU on the directory; returns its headers; else 429."""
        wait = self._early("identity")
        window = self._identity
        headers = {"x-ms-resource-unit": str(units)}
        over = window.admit(units) if window else 0.0
        if window and window.used >= 0.8 * window.limit:
            share = min(1.8, window.used / window.limit)
            headers["x-ms-throttle-limit-percentage"] = f"{share:.1f}"
        if wait is None and over > 0:
            wait = self.gate("identity").shut(over)
        if wait is not None:
            headers |= {
                "Retry-After": str(wait),
                "x-ms-throttle-scope": "Tenant_Application/ReadWrite",
                "x-ms-throttle-information": "ResourceUnitLimitExceeded",
            }
            raise GraphError(429, "TooManyRequests", "Too many requests.", headers)
        return headers


def _mail_429(wait: int, message: str) -> GraphError:
    return GraphError(429, "ApplicationThrottled", message, {"Retry-After": str(wait)})
