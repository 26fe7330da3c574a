"""Fixtures that every test may ask for."""

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
