"""Fixtures that every test may ask for, and how Hypothesis draws: the same examples each time, whatever they take."""

import signal

from hypothesis import HealthCheck, settings

# A run in the background of a shell may begin with Ctrl-C ignored, and so would every program that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A deadline, or the check that drawing is fast, is a claim about the machine; tests that may draw anew say so themselves.
settings.register_profile(
    "strongroom",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("strongroom")

pytest_plugins = [
    "tests.fixtures.emulator",
    "tests.fixtures.content",
    "tests.fixtures.servers",
    "tests.fixtures.object_servers",
    "tests.fixtures.installation",
    "tests.fixtures.repositories",
    "tests.fixtures.skips",
    "tests.fixtures.trees",
    "tests.fixtures.whole_system",
]
