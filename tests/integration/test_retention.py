"""`strongroom forget`, `retain`, `hold`: what goes goes, what stays is explained, and nothing goes by accident."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.catalog import Row
from engine.manifest import ObjectKey
from repository import Places, PointDraft, ambient, new_point_id, open_repository
from tests.fixtures.repositories import PASSPHRASE
from tests.fixtures.trees import CommandLine, one_line

pytestmark = pytest.mark.slow
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    """What the repository takes for the time."""

    def __init__(self) -> None:
        self.moment = START

    def now(self) -> str:
        return self.moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(ambient, "now", made.now)
    return made


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "a").write_bytes(b"a")
    return root


def import_daily(
    command: CommandLine, clock: Clock, tree: Path, repo: Path, days: int, name: str = "docs"
) -> list[str]:
    """One restore point a day, oldest first; the clock stands at the last."""
    made = []
    for day in range(days):
        clock.moment = START + timedelta(days=day)
        made.append(command("import", tree, repo, "--name", name, "--json").document["id"])
    return made


def ids(command: CommandLine, repo: Path) -> list[str]:
    return [point["id"] for point in command("points", repo, "--json").document]


def policy(folder: Path, text: str) -> Path:
    file = folder / "policy.toml"
    file.write_text(text)
    return file


def kept(document: Any) -> list[str]:
    return [point["id"] for point in document["points"] if point["keep"]]


def test_forget_names_points(
    tmp_path: Path, command: CommandLine, clock: Clock, tree: Path, repo: Path
) -> None:
    """A dry run changes nothing; the run does what it said; a point that is gone is not found."""
    made = import_daily(command, clock, tree, repo, 3)
    dry = command("forget", repo, made[0], made[1][:10], "--dry-run", "--json")
    assert (dry.code, kept(dry.document), ids(command, repo)) == (0, made[2:], made)
    done = command("forget", repo, made[0], made[1][:10])
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(
        "2 restore points forgotten; `strongroom repo collect` gives the space back\n"
    )
    assert ids(command, repo) == made[2:]
    again = command("forget", repo, made[0])
    assert (again.code, one_line(again)) == (1, True)
    everything = command("forget", repo, "latest")
    assert (everything.code, one_line(everything), ids(command, repo)) == (1, True, made[2:])
    assert "forget-all" in everything.err
    assert command("forget", repo, "latest", "--force").code == 0
    assert ids(command, repo) == []


def test_forget_keeps_the_last_of_each_name(
    tmp_path: Path, command: CommandLine, clock: Clock, tree: Path, repo: Path
) -> None:
    """`--keep-last` counts by name."""
    first = import_daily(command, clock, tree, repo, 3)
    second = import_daily(command, clock, tree, repo, 2, name="other")
    clock.moment += timedelta(days=9)
    done = command("forget", repo, "--keep-last", "1", "--json").document
    assert (done["forgotten"], set(kept(done))) == (3, {first[2], second[1]})
    assert set(ids(command, repo)) == {first[2], second[1]}
    for words in ([], ["--keep-last", "1", first[2]], ["--keep-last", "0"]):
        assert command("forget", repo, *words).code == 2


def test_retain_does_what_its_preview_said(
    tmp_path: Path, command: CommandLine, clock: Clock, tree: Path, repo: Path
) -> None:
    """The preview gives a reason for every point, also for a later day; then exactly those go."""
    made = import_daily(command, clock, tree, repo, 10)
    rules = policy(tmp_path, "[[rule]]\nseries = 'do*'\nwindow = '6 days'\nlast = 2\n")
    dry = command("retain", repo, "--policy", rules, "--dry-run", "--json").document
    assert kept(dry) == made[3:]
    assert all(point["reasons"] for point in dry["points"])
    later = command("retain", repo, "--policy", rules, "--dry-run", "--at", "2026-03-12", "--json")
    assert kept(later.document) == made[5:]
    shown = command("retain", repo, "--policy", rules, "--dry-run")
    assert shown.out.endswith("3 of 10 restore points would be forgotten\n")
    assert shown.out.count("goes") == 3
    assert "not among the last 2; older than 6 days" in shown.out
    assert ids(command, repo) == made
    assert command("retain", repo, "--policy", rules, "--at", "2026-03-12").code == 2
    assert command("retain", repo, "--policy", rules, "--dry-run", "--at", "soon").code == 2
    done = command("retain", repo, "--policy", rules)
    assert (done.code, done.out.count("goes"), ids(command, repo)) == (0, 3, made[3:])
    again = command("retain", repo, "--policy", rules, "--json").document
    assert (again["forgotten"], ids(command, repo)) == (0, made[3:])


def test_a_hold_stops_rules_and_people(
    tmp_path: Path, command: CommandLine, clock: Clock, tree: Path, repo: Path
) -> None:
    """Held points stay under any policy and cannot be forgotten until released."""
    made = import_daily(command, clock, tree, repo, 4)
    assert command("hold", "add", repo, made[0][:12], "--reason", "court").code == 0
    listed = command("hold", "list", repo, "--json").document
    assert [(h["id"], h["name"], h["reason"]) for h in listed] == [(made[0], "docs", "court")]
    for words in (["--dry-run"], [], ["--force"]):
        refused = command("forget", repo, made[0], made[1], *words)
        assert (refused.code, one_line(refused)) == (1, True)
        assert "point-held" in refused.err
    assert ids(command, repo) == made
    rules = policy(tmp_path, "[[rule]]\nlast = 1\n")
    document = command("retain", repo, "--policy", rules, "--json").document
    assert (document["forgotten"], ids(command, repo)) == (2, [made[0], made[3]])
    assert document["points"][0]["reasons"] == [{"rule": "hold", "text": "held: court"}]
    assert command("hold", "remove", repo, made[0]).code == 0
    assert command("hold", "remove", repo, made[0]).code == 1
    assert command("hold", "list", repo).out == "no restore point is held\n"
    assert command("forget", repo, made[0]).code == 0
    assert ids(command, repo) == made[3:]


def test_guard_rails(
    tmp_path: Path, command: CommandLine, clock: Clock, tree: Path, repo: Path
) -> None:
    """A jump of the clock and a policy that drops most are refused, the preview says so, --force goes on."""
    made = import_daily(command, clock, tree, repo, 10)
    rules = policy(tmp_path, "[[rule]]\nwindow = '30 days'\n")
    clock.moment += timedelta(days=40)
    refused = command("retain", repo, "--policy", rules, "--json")
    assert refused.code == 1
    assert refused.document["error"]["code"] == "retention-silence"
    dry = command("retain", repo, "--policy", rules, "--dry-run")
    assert (dry.code, one_line(dry), "retention-silence" in dry.err) == (0, True, True)
    clock.moment -= timedelta(days=40)
    rules = policy(tmp_path, "[[rule]]\nlast = 2\n")
    refused = command("retain", repo, "--policy", rules)
    assert (refused.code, one_line(refused), "retention-share" in refused.err) == (1, True, True)
    assert ids(command, repo) == made
    assert command("retain", repo, "--policy", rules, "--force").code == 0
    assert ids(command, repo) == made[8:]
    clock.moment = START
    ahead = command("retain", repo, "--policy", rules)
    assert (ahead.code, ahead.err.count("from the future")) == (3, 2)


def test_item_periods_do_not_reach_trees_and_bad_policies_change_nothing(
    tmp_path: Path, command: CommandLine, clock: Clock, tree: Path, repo: Path
) -> None:
    """Files of a tree have old times from the beginning."""
    made = import_daily(command, clock, tree, repo, 2)
    rules = policy(tmp_path, "[items]\nperiod = '1 year'\n[[rule]]\nlast = 1\n")
    refused = command("retain", repo, "--policy", rules)
    assert (refused.code, one_line(refused)) == (2, True)
    assert "item-period-unfit" in refused.err
    for file, code in ((tmp_path / "missing", 1), (tmp_path, 2), (tree / "a", 2)):
        refused = command("retain", repo, "--policy", file)
        assert (refused.code, one_line(refused)) == (code, True)
    assert ids(command, repo) == made


def old_and_new_mail(repo: Path, tmp_path: Path) -> None:
    """A mailbox with a folder, three messages of last year and one of today."""
    year_ns = 365 * 24 * 3600 * 10**9
    today_ns = int(START.timestamp()) * 10**9
    folder = Row(b"f", b"", b"Inbox", "container", created_ns=1, modified_ns=1)
    made = [
        Row(b"%d" % n, b"f", b"m", "message", created_ns=created, modified_ns=created)
        for n, created in enumerate([today_ns - year_ns] * 3 + [today_ns])
    ]
    places = Places(tmp_path / "mail-cache", tmp_path / "mail-state")
    with (
        open_repository(str(repo), PASSPHRASE, places) as repository,
        repository.write_session("mail") as session,
    ):
        slice_ = session.open_slice(ObjectKey("user", "ann", "ann"), "mail", "s")
        slice_.advance([folder, *made])
        slice_.finish()
        commit = session.commit()
        assert commit is not None
        refs = tuple(commit.entries.values())
        session.seal_point(PointDraft(new_point_id(), "mail", "s", "success", refs))


def test_an_item_period_that_takes_most_items_is_refused(
    tmp_path: Path, command: CommandLine, clock: Clock, repo: Path
) -> None:
    """A slip (days for years): the preview says how many of the items would go, and the command wants --force."""
    old_and_new_mail(repo, tmp_path)
    rules = policy(tmp_path, "[items]\nperiod = '5 days'\n[[rule]]\nlast = 1\n")
    dry = command("retain", repo, "--policy", rules, "--dry-run")
    assert dry.code == 0
    assert "3 of 4 in the newest states" in dry.out
    assert "retention-share" in dry.err
    document = command("retain", repo, "--policy", rules, "--dry-run", "--json").document
    assert document["items"] == {"going": 3, "there": 4}
    refused = command("retain", repo, "--policy", rules)
    assert (refused.code, one_line(refused), "retention-share" in refused.err) == (1, True, True)
    half = policy(
        tmp_path, "drop_share_max = 0.75\n[items]\nperiod = '5 days'\n[[rule]]\nlast = 1\n"
    )
    assert command("retain", repo, "--policy", half).code == 0
    assert command("repo", "collect", repo).code == 0
    clock.moment += timedelta(days=1)
    document = command("retain", repo, "--policy", half, "--dry-run", "--json").document
    assert document["items"] == {"going": 0, "there": 1}


def test_damage_never_costs_a_good_point(
    tmp_path: Path, command: CommandLine, clock: Clock, tree: Path, repo: Path
) -> None:
    """A point whose manifest is damaged, or which is damaged itself, stays, is named, and counts for nothing."""
    made = import_daily(command, clock, tree, repo, 3)
    newest = command("points", repo, "--objects", "--json").document[-1]
    manifest = repo / "manifest" / newest["entries"][0]["manifest"]
    manifest.chmod(0o600)
    manifest.write_bytes(b"x" + manifest.read_bytes()[1:])
    rules = policy(tmp_path, "[[rule]]\nlast = 1\n")
    done = command("retain", repo, "--policy", rules, "--json")
    assert (done.code, kept(done.document)) == (3, made[1:])
    (file,) = (repo / "point").glob(f"{made[1]}*")
    file.chmod(0o600)
    file.write_bytes(b"x" + file.read_bytes()[1:])
    done = command("forget", repo, "--keep-last", "1", "--json")
    assert (done.code, done.document["forgotten"], len(done.document["damaged"])) == (3, 0, 1)
