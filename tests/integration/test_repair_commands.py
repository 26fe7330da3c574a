"""`repo verify --repair`, rolling checks, drill and `repo salvage` from the command line."""

import random
import shutil
from pathlib import Path

import pytest

from tests.fixtures.trees import CommandLine, one_line, snapshot

pytestmark = pytest.mark.slow


@pytest.fixture
def filled(tmp_path: Path, repo: Path, command: CommandLine) -> Path:
    """A small tree, imported."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(3):
        (tree / f"file-{number}").write_bytes(random.Random(number).randbytes(300_000))
    (tree / "x.json").write_text('{"a": 1}')
    assert command("import", tree, repo).code == 0
    return tree


def objects(repo: Path, *kinds: str) -> list[Path]:
    return [p for kind in kinds for p in sorted((repo / kind).rglob("*")) if p.is_file()]


def held(repo: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in objects(repo, ".")}


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_damage_is_put_back(filled: Path, repo: Path, command: CommandLine) -> None:
    """A dry run says it and changes nothing; the repair gives the very bytes; then there is nothing to do."""
    before = held(repo)
    for path in objects(repo, "pack", "run", "manifest", "point", "sess"):
        flip(path, path.stat().st_size // 2)
    damaged = held(repo)
    told = command("repo", "verify", repo, "--repair", "--dry-run")
    assert told.code == 1
    assert "would be repaired: sess/" in told.out
    assert held(repo) == damaged
    done = command("repo", "verify", repo, "--repair")
    assert (done.code, done.err) == (0, "")
    assert done.out.count("repaired: ") == 6
    assert held(repo) == before
    assert "nothing to repair" in command("repo", "verify", repo, "--repair").out


def test_a_copy_and_the_source_help(
    filled: Path, repo: Path, command: CommandLine, tmp_path: Path
) -> None:
    """A lost pack comes from a copy of the files; without one it is marked, and the next import brings it back."""
    copy = tmp_path / "copy"
    shutil.copytree(repo, copy)
    (pack,) = objects(repo, "pack/d")
    pack.unlink()
    answer = command("repo", "verify", repo, "--repair", "--from", copy, "--json")
    assert answer.code == 0
    assert answer.document["repair"]["repaired"][0]["by"] == "another repository"
    pack.unlink()
    lost = command("repo", "verify", repo, "--repair")
    assert lost.code == 1
    assert "file-0" in lost.err
    assert command("import", filled, repo).code == 0
    assert command("repo", "verify", repo, "--read-data").code == 0
    assert command("export", repo, "latest", tmp_path / "out").code == 0
    assert snapshot(tmp_path / "out") == snapshot(filled)


def test_what_a_repair_brings_back_is_told_apart(
    filled: Path, repo: Path, command: CommandLine
) -> None:
    """A machine without a cache, a lost index run and a flipped byte: every finding names the repair; then all is well."""
    (run,), (pack,) = objects(repo, "run"), objects(repo, "pack/d")
    run.unlink()
    flip(pack, 200)
    shutil.rmtree(command.cache_dir)
    answer = command("repo", "verify", repo, "--json")
    assert answer.code == 1
    assert {p["remedy"] for p in answer.document["problems"]} == {"strongroom repo verify --repair"}
    assert answer.document["points_affected"]
    assert answer.document["points_lost"] == []
    assert command("repo", "verify", repo, "--repair").code == 0


def test_a_lost_catalog_is_written_anew(
    filled: Path, repo: Path, command: CommandLine, tmp_path: Path
) -> None:
    """With the pack that holds it marked, the next import reads everything and goes on."""
    (pack,) = objects(repo, "pack/m")
    pack.unlink()
    assert command("import", filled, repo).code == 1
    assert command("repo", "verify", repo, "--repair").code == 1
    assert command("import", filled, repo).code == 0
    assert command("export", repo, "latest", tmp_path / "out").code == 0
    assert snapshot(tmp_path / "out") == snapshot(filled)


def test_rounds(filled: Path, repo: Path, command: CommandLine) -> None:
    """Part of the packs each time, with and without the passphrase; the age of the oldest look is said."""
    words = ("repo", "verify", repo, "--level", "scrub")
    first = command(*words, "--budget", "1%", "--json").document
    assert (first["packs_looked_into"], first["packs"], first["oldest"]) == (1, 2, "")
    second = command(*words, "--budget", "1%", "--json").document
    assert second["oldest"]
    assert "looked into 0 of 2 packs" in command(*words, "--older-than", "1d").out
    for bad in (("--budget", "much"), ("--older-than", "long"), ("--dry-run",), ("--from", "x")):
        assert command("repo", "verify", repo, *bad).code == 2
    answer = command("repo", "verify", repo, "--repair", "--budget", "5%")
    assert (answer.code, one_line(answer)) == (2, True)


def test_a_drill(filled: Path, repo: Path, command: CommandLine) -> None:
    """Kinds and counts."""
    answer = command("repo", "verify", repo, "--level", "drill", "--json")
    assert answer.code == 0
    assert answer.document["drill"]["kinds"]["file"]["items"] == 4


def test_salvage(filled: Path, repo: Path, command: CommandLine, tmp_path: Path) -> None:
    """Without cells and runs: listed, then opened again with everything."""
    assert command("repo", "salvage", repo).code == 2
    for path in objects(repo, "sess", "run"):
        path.unlink()
    before = held(repo)
    told = command("repo", "salvage", repo, "--list", "--json")
    assert told.code == 0
    assert len(told.document["points"]) == 1
    assert [key["kind"] for key in told.document["configuration"]["keys"]] == ["passphrase"]
    assert "protected: tree" in command("repo", "salvage", repo, "--list").out
    assert command("repo", "salvage", repo, "--list", "--dry-run").code == 2
    listed = command("repo", "salvage", repo, "--dry-run")
    assert listed.code == 0
    assert "1 restore points" in listed.out
    assert held(repo) == before
    assert command("points", repo).code == 1  # this machine knew a newer state
    done = command("repo", "salvage", repo, "--json")
    assert done.code == 0
    assert done.document["generation"] == 1
    assert command("export", repo, "latest", tmp_path / "out").code == 0
    assert snapshot(tmp_path / "out") == snapshot(filled)
    assert command("import", filled, repo).code == 0
