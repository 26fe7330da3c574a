"""What each command asks of object storage: the table in docs/operations.md is what an S3 server counts."""

import random
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.s3_sink import BUCKET, Sink, Way
from tests.fixtures.object_servers import s3_environment
from tests.fixtures.trees import CommandLine

pytestmark = pytest.mark.slow

REPO = f"s3://{BUCKET}/repository"
PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
KINDS = ("PUT", "GET", "LIST", "DELETE")
STEPS = (
    "repo init",
    "import",
    "import, nothing changed",
    "points",
    "repo verify --level listing",
    "repo verify",
    "repo verify --read-data",
    "export",
    "forget",
    "repo collect",
)


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    """A server that counts, in this process."""
    server = Sink(Way())
    for name, value in s3_environment(server.server_port).items():
        monkeypatch.setenv(name, value)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def told() -> dict[str, tuple[int, ...]]:
    """The table of the page: step -> requests by kind."""
    row = re.compile(r"\| `([^|]*)` \|" + r" ?(\d*) \|" * len(KINDS))
    found = {m[1].replace("`", ""): m.groups()[1:] for m in row.finditer(PAGE.read_text())}
    return {step: tuple(int(n or 0) for n in counts) for step, counts in found.items()}


def test_each_command_asks_what_the_page_says(
    sink: Sink, command: CommandLine, tmp_path: Path
) -> None:
    """
    Two files in one data pack, two restore points, one of them forgotten: every request of every command.

    Sizes are such that what a pack is cut into does not change how often it is asked.
    """
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a").write_bytes(random.Random(1).randbytes(400_000))
    (tree / "b").write_bytes(random.Random(2).randbytes(400_000))
    words: dict[str, tuple[str | Path, ...]] = {
        "repo init": ("repo", "init", REPO),
        "import": ("import", tree, REPO),
        "import, nothing changed": ("import", tree, REPO),
        "points": ("points", REPO),
        "export": ("export", REPO, "latest", tmp_path / "out"),
        "repo verify --level listing": ("repo", "verify", REPO, "--level", "listing"),
        "repo verify": ("repo", "verify", REPO),
        "repo verify --read-data": ("repo", "verify", REPO, "--read-data"),
        "repo collect": ("repo", "collect", REPO),
    }
    counted = {}
    for step in STEPS:
        if step == "forget":
            oldest = command("points", REPO, "--json").document[0]["id"]
            words[step] = ("forget", REPO, oldest)
        sink.bucket.take_counts()
        answer = command(*words[step])
        assert answer.code == 0, (step, answer.err, answer.out)
        counts = sink.bucket.take_counts()
        assert not counts.get("HEAD")
        counted[step] = tuple(counts.get(kind, 0) for kind in KINDS)
    assert counted == told()
