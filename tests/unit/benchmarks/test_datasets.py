"""Data sets are the same each time, and look like what they stand for."""

import email
import email.policy
from pathlib import Path

import pytest

from benchmarks import mail
from benchmarks.datasets import DataSet, Facts, files, prepare, tree_digest


@pytest.mark.slow
def test_a_message_depends_on_seed_and_number_alone() -> None:
    """The same from a longer plan, another from another seed."""
    short, long = mail.plan(1, 50), mail.plan(1, 80)
    assert long.attachment[:50] == short.attachment
    for number in (0, 7, 49):
        assert mail.message(1, number, short) == mail.message(1, number, long)
    assert mail.message(2, 7, mail.plan(2, 50)) != mail.message(1, 7, short)


@pytest.mark.slow
def test_messages_parse_and_carry_their_attachments() -> None:
    """No defect for Python's parser; shares of attachments and repeats are near the wanted ones."""
    plan = mail.plan(1, 20_000)
    carriers = [number for number, of in enumerate(plan.attachment) if of >= 0]
    repeats = [number for number in carriers if plan.attachment[number] != number]
    assert 0.14 < len(carriers) / 20_000 < 0.16
    assert 0.18 < len(repeats) / len(carriers) < 0.22

    def attached(number: int) -> bytes:
        parsed = email.message_from_bytes(
            mail.message(1, number, plan), policy=email.policy.default
        )
        assert not any(part.defects for part in parsed.walk())
        (part,) = parsed.iter_attachments()
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        return content

    assert attached(repeats[0]) == attached(plan.attachment[repeats[0]])
    assert attached(carriers[0]) != attached(carriers[1])


def test_a_change_is_taken_back_by_renames(tmp_path: Path) -> None:
    """Replaced and added files come and go; the mark of a changed set is there as long as it is changed."""
    for name, content in (("data/a", "old"), ("change/a", "new"), ("change/b", "added")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    before = tree_digest(tmp_path / "data")
    data = DataSet(tmp_path, Facts("x", 1, 3, replaced=["a"], added=["b"]))
    data.toggle()
    assert (data.data / "a").read_text() == "new"
    assert (data.data / "b").read_text() == "added"
    assert (tmp_path / "changed").exists()
    assert tree_digest(data.data) != before
    data.toggle()
    assert tree_digest(data.data) == before
    assert not (tmp_path / "changed").exists()


def test_a_digest_covers_names_and_borders(tmp_path: Path) -> None:
    """Moving a byte from one file to the next, or renaming, changes it."""
    digests = set()
    for number, (first, second, name) in enumerate(
        [("ab", "c", "y"), ("a", "bc", "y"), ("ab", "c", "z")]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "x").write_text(first)
        (folder / name).write_text(second)
        digests.add(tree_digest(folder))
    assert len(digests) == 3


@pytest.mark.slow
def test_a_set_is_the_same_each_time(tmp_path: Path) -> None:
    """Made twice: equal digests before and after the change; a kept set is not made again."""
    one, two = (prepare("small", 0.001, tmp_path / name) for name in "ab")
    assert one.facts == two.facts
    assert one.facts.digests["before"] != one.facts.digests["after"]
    made = (one.folder / "facts.json").stat().st_mtime_ns
    assert prepare("small", 0.001, tmp_path / "a").facts == one.facts
    assert (one.folder / "facts.json").stat().st_mtime_ns == made


@pytest.mark.slow
def test_files_tell_their_unique_bytes(tmp_path: Path) -> None:
    """Copies add only what was inserted."""
    (tmp_path / "data").mkdir()
    (tmp_path / "change").mkdir()
    ideal, changed = files(tmp_path, 0.005)
    total = sum(path.stat().st_size for path in (tmp_path / "data").iterdir())
    assert 0.4 * total < ideal < total
    assert 0.005 * total < changed < 0.015 * total
