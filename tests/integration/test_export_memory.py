"""An export holds one item, however large the mailbox is."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from engine.catalog import Row
from engine.keys import KdfCost
from engine.manifest import ObjectKey
from repository import Places, PointDraft, create_repository, new_point_id

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

PASSPHRASE = "correct horse battery staple"
MESSAGES = 40_000
LARGE = 1_500  # of them, of LARGE_BYTES: 750 MB
LARGE_BYTES = 500_000
# The interpreter with its libraries takes 110; each row of the catalog with its name about 2 KiB.
PEAK_MIB_MAX = 260

MEASURED = """
import json, re, sys
from pathlib import Path
from tools.cli.main import run
code = run(sys.argv[1:])
# Not ru_maxrss: that begins with what the parent had when it forked.
peak_kib = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
print(json.dumps([code, peak_kib // 1024]), file=sys.stderr)
"""


def filled(url: str, places: Places) -> None:
    """One folder of many messages, some of them large."""
    body = random.Random(1).randbytes(LARGE_BYTES).hex().encode()[:LARGE_BYTES]
    with create_repository(url, PASSPHRASE, places=places, cost=KdfCost(64, 1, 1)) as repository:
        session = repository.write_session()
        inbox = Row(b"inbox", b"", b"Inbox", "container")
        slice_ = session.open_slice(ObjectKey("user", "1", "ann@example.com"), "mail", "s")
        rows = [inbox]
        for number in range(MESSAGES):
            text = b"From: a@example.com\\nSubject: %d\\n\\n" % number
            text += body if number < LARGE else b"short\\n"
            mime = session.store("mime", text)
            members = session.store("json", b'{"id":"%d","subject":"Number %d"}' % (number, number))
            name = b"Number %d" % number
            rows.append(
                Row(
                    b"%d" % number,
                    b"inbox",
                    name,
                    "message",
                    mime.size,
                    number,
                    parts=(members, mime),
                )
            )
        slice_.advance(rows, b"mark")
        slice_.finish()
        commit = session.commit()
        assert commit is not None
        entry = repository.entries.get(commit.entries[slice_])
        repository.seal_point(PointDraft(new_point_id(), "p", "s", "success", (entry.ref,)))
        session.close()


def test_the_size_of_a_mailbox_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mbox, zip and csv of 40,000 messages, 750 MB: the process stays small."""
    monkeypatch.setenv("STRONGROOM_PASSPHRASE", PASSPHRASE)
    places = Places(tmp_path / "cache", tmp_path / "state")
    url = str(tmp_path / "repository")
    filled(url, places)
    local = ["--cache-dir", str(places.cache_dir), "--state-dir", str(places.state_dir), "--json"]
    for form in ("mbox", "zip", "csv"):
        words = ["export", url, "latest", str(tmp_path / form), "--format", form, *local]
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *words], capture_output=True, text=True, check=True
        )
        code, peak_mib = json.loads(done.stderr.splitlines()[-1])
        written = json.loads(done.stdout)
        print(form, written["files"], written["bytes"], "bytes,", peak_mib, "MiB at most")
        assert code == 0
        assert form == "csv" or written["bytes"] > LARGE * LARGE_BYTES
        assert peak_mib < PEAK_MIB_MAX, form
