"""Fixtures that every test may ask for, and how Hypothesis draws: the same examples each time, whatever they take."""

from hypothesis import HealthCheck, settings

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
