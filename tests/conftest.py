pytest_plugins = [
    "tests.fixtures.emulator",
    "tests.fixtures.content",
    "tests.fixtures.servers",
    "tests.fixtures.installation",
    "tests.fixtures.repositories",
    "tests.fixtures.skips",
    "tests.fixtures.trees",
    "tests.fixtures.whole_system",
]
