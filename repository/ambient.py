"""The real clock and entropy: the only code of the repository that reads time or randomness."""

import os
import random
import secrets
import time
from datetime import UTC, datetime


def random_bytes(count: int) -> bytes:
    """`count` random bytes from the operating system."""
    return secrets.token_bytes(count)


def now() -> str:
    """RFC 3339 UTC with microseconds; for people, no rule rests on it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def today() -> int:
    """Days since 1970, UTC, as this machine believes."""
    return int(time.time() // 86400)


def since_boot_s() -> float:
    """Seconds that have passed on this machine, those in which it slept too; only differences mean something."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def pause(seconds: float) -> None:
    """Wait about as long, half to whole, so that clients that failed together do not come back together."""
    time.sleep(seconds * random.uniform(0.5, 1))  # noqa: S311


def wait(seconds: float) -> None:
    """Wait so long."""
    time.sleep(seconds)


def monotonic_s() -> float:
    """Seconds since some moment; for durations alone."""
    return time.monotonic()


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0))


def temporary_folder() -> str | None:
    """For large files: TMPDIR, else /var/tmp, because /tmp is memory on many machines. None: where Python puts such files."""
    return None if os.environ.get("TMPDIR") or not os.access("/var/tmp", os.W_OK) else "/var/tmp"  # noqa: S108
