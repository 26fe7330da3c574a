pytest_plugins = [
    "tests.fixtures.emulator",
    "tests.fixtures.content",
    "tests.fixtures.servers",
    "tests.fixtures.repositories",
]
