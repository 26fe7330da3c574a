"""`strongroom import`, `points`, `export`: an identical tree, or one clear line and nothing changed."""

import os
import shutil
import socket
import stat
from pathlib import Path

import pytest

from repository import Places
from repository.blobstore.memory import MemoryStore
from repository.repository import initialize, open_on
from repository.tree import importer
from repository.tree.batches import Batch, BatchReader, ReadBatch
from repository.tree.importer import import_tree
from tests.fixtures.repositories import CHEAP, PASSPHRASE
from tests.fixtures.trees import ODD_NAMES, CommandLine, make_odd_tree, one_line, snapshot, stored

# -- there and back ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_odd_tree_comes_back_identical(tmp_path: Path, repo: Path, command: CommandLine) -> None:
    """Names of any bytes, folders, links, hard links, modes, times, holes, pipes: all as they were."""
    root = tmp_path / "odd"
    make_odd_tree(root)
    before = snapshot(root)
    answer = command("import", root, repo)
    assert (answer.code, answer.err) == (0, "")
    assert snapshot(root) == before
    answer = command("export", repo, "latest", tmp_path / "out")
    assert (answer.code, answer.err) == (0, "")
    assert snapshot(tmp_path / "out") == before
    assert (tmp_path / "out" / "sparse").stat().st_blocks * 512 < 200_000
    assert command("repo", "verify", repo, "--read-data").code == 0


@pytest.mark.slow
def test_a_tree_whose_own_name_is_no_text(tmp_path: Path, repo: Path, command: CommandLine) -> None:
    """The folder, the destination and the paths on the command line may have any bytes; output stays printable."""
    root = tmp_path / os.fsdecode(b"root-\xff")
    root.mkdir()
    name = os.fsdecode(b"n\xfe")
    (root / name).write_bytes(b"x")
    assert command("import", root, repo).code == 0
    assert command("import", root, repo, "--json", "--name", name).document["name"] == "n\ufffd"
    out = tmp_path / os.fsdecode(b"out-\xff")
    assert command("export", repo, "latest", out, "--path", name).code == 0
    assert (out / name).read_bytes() == b"x"
    missing = command("import", tmp_path / os.fsdecode(b"\xff"), repo, "--json")
    assert missing.code == 1
    assert missing.document["error"]["code"] == "folder-not-found"
    listed = command("browse", repo, "latest", "--json").document
    assert listed[0]["name_b64"] == "bv4="
    assert command("browse", repo, "latest").code == 0


@pytest.mark.slow
def test_a_sparse_gibibyte_comes_back_sparse(
    tmp_path: Path, repo: Path, command: CommandLine
) -> None:
    """One GiB of holes stores next to nothing, and its holes are made again."""
    root = tmp_path / "sparse"
    root.mkdir()
    with (root / "file").open("wb") as file:
        file.seek(512 * 1024**2)
        file.write(b"middle")
        file.truncate(1024**3)
    answer = command("import", root, repo, "--json")
    assert answer.document["bytes_stored"] < 200_000
    assert command("export", repo, "latest", tmp_path / "out").code == 0
    back = tmp_path / "out" / "file"
    assert back.stat().st_size == 1024**3
    assert back.stat().st_blocks * 512 < 100_000
    with back.open("rb") as file:
        file.seek(512 * 1024**2 - 5)
        assert file.read(20) == bytes(5) + b"middle" + bytes(9)


@pytest.mark.slow
def test_extended_attributes_come_back(tmp_path: Path, repo: Path, command: CommandLine) -> None:
    """Where the file system has them: on files and folders, with names and values of any bytes."""
    root = tmp_path / "x"
    root.mkdir()
    (root / "f").write_bytes(b"x")
    try:
        os.setxattr(root / "f", "user.plain", b"\0\xff value")
    except OSError:
        pytest.skip("file system without extended attributes")
    os.setxattr(root / "f", b"user.odd\xff", b"")
    os.setxattr(root, "user.folder", b"1")
    before = snapshot(root)
    assert command("import", root, repo).code == 0
    assert command("export", repo, "latest", tmp_path / "out").code == 0
    assert snapshot(tmp_path / "out") == before


def test_an_empty_folder(tmp_path: Path, repo: Path, command: CommandLine) -> None:
    """A tree of nothing is a restore point of nothing."""
    (tmp_path / "nothing").mkdir()
    assert command("import", tmp_path / "nothing", repo).code == 0
    (tmp_path / "out").mkdir()
    assert command("export", repo, "latest", tmp_path / "out").code == 0
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "nothing")


# -- the second time ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_second_import_reads_nothing(tree: Path, repo: Path, command: CommandLine) -> None:
    """Unchanged files are not read; --reread reads all and stores no data."""
    first = command("import", tree, repo, "--json").document
    assert (first["files_read"], first["bytes_read"]) == (3, 200_101)
    second = command("import", tree, repo, "--json").document
    assert (second["files_read"], second["bytes_read"], second["unchanged"]) == (0, 0, 6)
    assert (second["items"], second["bytes"]) == (first["items"], first["bytes"])
    packs = sorted((repo / "pack" / "d").rglob("*"))
    third = command("import", tree, repo, "--json", "--reread").document
    assert (third["files_read"], third["bytes_read"]) == (3, 200_101)
    assert sorted((repo / "pack" / "d").rglob("*")) == packs
    assert len(command("points", repo, "--json").document) == 3


@pytest.mark.slow
def test_changes_are_followed_and_earlier_points_stay(
    tree: Path, repo: Path, command: CommandLine, tmp_path: Path
) -> None:
    """Changed, renamed, removed, replaced nodes; every earlier restore point still gives its own tree."""
    states = []
    for step in range(6):
        if step == 1:
            (tree / "a").write_bytes(b"B" * 100)
            (tree / "sub" / "b").rename(tree / "renamed")
        elif step == 2:
            (tree / "sub" / "c").unlink()
            os.symlink("renamed", tree / "sub" / "c")
        elif step == 3:
            shutil.rmtree(tree / "sub")
            (tree / "sub").write_bytes(b"now a file")
        elif step == 4:
            os.link(tree / "renamed", tree / "0-first-name")
        elif step == 5:
            (tree / "renamed").unlink()
            os.chmod(tree / "a", 0o600)
        states.append(snapshot(tree))
        answer = command("import", tree, repo)
        assert (answer.code, answer.err) == (0, "")
    ids = [point["id"] for point in command("points", repo, "--json").document]
    assert len(ids) == 6
    for number, point in enumerate(ids):
        assert command("export", repo, point, tmp_path / f"out{number}").code == 0
        assert snapshot(tmp_path / f"out{number}") == states[number]
    assert command("repo", "verify", repo, "--level", "read").code == 0


# -- a part of it ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_path_of_a_folder_and_of_a_file(tmp_path: Path, repo: Path, command: CommandLine) -> None:
    """--path gives what is below a folder, or one file under its name; slashes and `.` do not matter."""
    root = tmp_path / "odd"
    make_odd_tree(root)
    assert command("import", root, repo).code == 0
    assert command("export", repo, "latest", tmp_path / "o1", "--path", "/d-plain/").code == 0
    assert snapshot(tmp_path / "o1").keys() == snapshot(root / "d-plain").keys()
    assert (tmp_path / "o1" / "hard-3").read_bytes() == b"hard" * 9000
    for number, name in enumerate(ODD_NAMES):
        out = tmp_path / f"single{number}"
        text = os.fsdecode(name)
        assert command("export", repo, "latest", out, f"--path=d-{text[:250]}/{text}").code == 0
        assert os.listdir(os.fsencode(out)) == [name]
    assert command("export", repo, "latest", tmp_path / "o2", "--path", "link-dangling").code == 0
    assert os.readlink(tmp_path / "o2" / "link-dangling").startswith("nowhere")
    assert command("export", repo, "latest", tmp_path / "o3", "--path", ".").code == 0
    assert snapshot(tmp_path / "o3") == snapshot(root)
    lost = command("export", repo, "latest", tmp_path / "o4", "--path", "d-pla")
    assert (lost.code, one_line(lost)) == (1, True)
    assert not (tmp_path / "o4").exists()
    found = {row["path"] for row in command("browse", repo, "latest", "--json").document}
    assert {"100%25~deadbeef", "d-plain", "%2F"} <= found
    for path in ("100%25~deadbeef", "d-plain", ""):
        assert command("browse", repo, "latest", path).code == 0


# -- what cannot be kept -----------------------------------------------------------------------------


def test_sockets_are_named(tree: Path, repo: Path, command: CommandLine) -> None:
    """A socket is skipped by name with exit 3; the rest is kept; a file it replaced is gone."""
    assert command("import", tree, repo).code == 0
    (tree / "a").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        before = os.getcwd()
        os.chdir(tree)
        server.bind("a")
        os.chdir(before)
        answer = command("import", tree, repo, "--json")
    assert answer.code == 3
    assert answer.document["result"] == "warning"
    assert [(p["path"], p["result"]) for p in answer.document["problems"]] == [("a", "skipped")]
    names = {row["name"] for row in command("browse", repo, "latest", "--json").document}
    assert names == {"sub"}


def test_a_file_that_grows_is_named(
    tree: Path, repo: Path, command: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file written to while it is read is kept as it was read, named, and read again the next time."""
    real = BatchReader.read

    def append_first(reader: BatchReader, batch: Batch) -> ReadBatch:
        with (tree / "a").open("ab") as other:
            other.write(b"more")
        return real(reader, batch)

    monkeypatch.setattr(BatchReader, "read", append_first)
    answer = command("import", tree, repo, "--json")
    monkeypatch.undo()
    assert answer.code == 3
    assert [(p["path"], p["result"]) for p in answer.document["problems"]] == [("a", "changed")]
    again = command("import", tree, repo, "--json")
    assert (again.code, again.document["files_read"]) == (0, 1)
    assert command("export", repo, "latest", tmp_path / "out").code == 0
    assert snapshot(tmp_path / "out") == snapshot(tree)


def test_what_vanishes_is_named_and_what_cannot_be_read_is_kept(
    tree: Path, repo: Path, command: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A folder that cannot be listed and a file that cannot be opened keep what was stored of them before."""
    assert command("import", tree, repo).code == 0
    before = snapshot(tree)
    (tree / "a").write_bytes(b"changed")
    real_scan, real_read = importer.filebatch.scan, BatchReader.read

    def scan(path: bytes) -> object:
        if path.endswith(b"/sub"):
            raise PermissionError(13, "Permission denied")
        return real_scan(path)

    def read(reader: BatchReader, batch: Batch) -> ReadBatch:
        (tree / "a").rename(tree.parent / "a")
        return real_read(reader, batch)

    monkeypatch.setattr(importer.filebatch, "scan", scan)
    monkeypatch.setattr(BatchReader, "read", read)
    answer = command("import", tree, repo, "--json")
    monkeypatch.setattr(importer.filebatch, "scan", real_scan)
    monkeypatch.setattr(BatchReader, "read", real_read)
    assert answer.code == 3
    assert {(p["path"], p["result"]) for p in answer.document["problems"]} == {
        ("sub", "failed"),
        ("a", "failed"),
    }
    assert answer.document["removed"] == 0
    assert command("export", repo, "latest", tmp_path / "out").code == 0
    assert snapshot(tmp_path / "out") == before


def test_unreadable_files_are_named_for_people_without_rights(nobody: Path) -> None:
    """As an ordinary user: files and folders without a right are named, the rest is kept."""
    tree = nobody / "tree"
    (tree / "sub").mkdir(parents=True)
    for path in (tree / "a", tree / "b", tree / "sub" / "c"):
        path.write_bytes(b"x")
    (tree / "a").chmod(0)
    (tree / "sub").chmod(0)
    store = MemoryStore()
    initialize(store, PASSPHRASE, CHEAP)
    with open_on(store, PASSPHRASE, Places(nobody / "c", nobody / "s")) as repository:
        result = import_tree(repository, tree, "tree")
        assert sorted((p.path, p.result) for p in result.problems) == [
            (b"a", "failed"),
            (b"sub", "failed"),
        ]
        assert result.files_read == 1
        assert result.point is not None
        assert result.point.result == "warning"
    (tree / "sub").chmod(0o700)


# -- one clear line ----------------------------------------------------------------------------------


def test_every_mistake_is_one_line_and_changes_nothing(
    tree: Path, repo: Path, command: CommandLine, tmp_path: Path
) -> None:
    """Wrong passphrase, missing folder or repository, foreign or newer repository, full destination: exit 1 or 2."""
    assert command("import", tree, repo).code == 0
    wrong = tmp_path / "wrong"
    wrong.write_text("not the passphrase")
    foreign = tmp_path / "restic"
    foreign.mkdir()
    (foreign / "config").write_bytes(os.urandom(155))
    newer = tmp_path / "newer"
    shutil.copytree(repo, newer)
    config = (newer / "config").read_text()
    (newer / "config").write_text(config.replace('"format": 1', '"format": 99'))
    full = tmp_path / "full"
    full.mkdir()
    (full / "x").write_text("x")
    file = tmp_path / "file"
    file.write_text("x")
    before = {path: stored(path) for path in (repo, foreign, newer, full)}
    p = ("--passphrase-file",)
    mistakes: list[tuple[int, str, tuple[str | Path, ...]]] = [
        (1, "passphrase is wrong", ("points", repo, *p, wrong)),
        (1, "passphrase is wrong", ("import", tree, repo, *p, wrong)),
        (1, "name an existing folder", ("import", tmp_path / "absent", repo, *p, wrong)),
        (2, "name a folder", ("import", file, repo, *p, wrong)),
        (1, "strongroom repo init", ("import", tree, tmp_path / "no-repo", *p, wrong)),
        (1, "strongroom repo init", ("points", tmp_path / "no-repo")),
        (2, "not a Strongroom repository", ("points", foreign, *p, wrong)),
        (1, "use a newer strongroom", ("points", newer, *p, wrong)),
        (1, "choose a new folder", ("export", repo, "latest", full)),
        (1, "is a file", ("export", repo, "latest", file)),
        (1, "strongroom points", ("export", repo, "ffffffffffff", tmp_path / "o")),
        (1, "strongroom points", ("export", repo, "other:latest", tmp_path / "o")),
        (1, "--passphrase-file", ("points", repo, *p, tmp_path / "absent")),
        (2, "--passphrase-file", ("points", repo)),
        (1, "choose a new folder", ("repo", "init", repo, *p, wrong)),
        (2, "8 characters", ("repo", "init", tmp_path / "short", *p, file)),
        (2, "native", ("export", repo, "latest", tmp_path / "o", "--format", "eml")),
    ]
    for code, text, words in mistakes:
        if "--passphrase-file" in words or words == ("points", repo):
            places = command.options()[2:]
            answer = command.plain(*words, *places)
        else:
            answer = command(*words)
        assert answer.code == code, (words, answer)
        assert one_line(answer), (words, answer)
        assert text in answer.err, (words, answer)
        document = command.plain(*words, "--json", *command.options()[2:]) if code else None
        assert document is None or document.document["error"]["code"]
    assert {path: stored(path) for path in (repo, foreign, newer, full)} == before
    assert not (tmp_path / "o").exists()
    assert not (tmp_path / "no-repo").exists()
    assert not (tmp_path / "short").exists()


def test_usage_errors_end_with_2(command: CommandLine) -> None:
    """Unknown commands and options, missing arguments."""
    for words in (("nonsense",), ("points",), ("points", "--nonsense", "x"), ("repo", "verify")):
        answer = command.plain(*words)
        assert answer.code == 2
        assert "Traceback" not in answer.err


@pytest.mark.slow
def test_a_damaged_pack_is_named(
    tree: Path, repo: Path, command: CommandLine, tmp_path: Path
) -> None:
    """Export fails with one line that names the pack and says what to do; verify names the file; nothing changes."""
    assert command("import", tree, repo).code == 0
    pack = max(
        (p for p in (repo / "pack" / "d").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size
    )
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(data)
    before = stored(repo)
    answer = command("export", repo, "latest", tmp_path / "out")
    assert (answer.code, one_line(answer)) == (1, True)
    assert pack.name[:16] in answer.err
    assert "repo verify" in answer.err
    assert command("repo", "verify", repo).code == 0  # the directory is whole
    scrubbed = command("repo", "verify", repo, "--level", "scrub", "--json")
    assert (scrubbed.code, [Path(n).name for n in scrubbed.document["damaged"]]) == (1, [pack.name])
    verified = command("repo", "verify", repo, "--level", "read")
    assert verified.code == 1
    assert pack.name in verified.err
    assert "affected" in verified.err
    pack.unlink()
    missing = command("export", repo, "latest", tmp_path / "out2")
    assert (missing.code, one_line(missing)) == (1, True)
    assert pack.name[:16] in missing.err
    assert command("repo", "verify", repo, "--level", "listing").code == 1
    assert stored(repo).keys() == before.keys() - {str(pack.relative_to(repo))}


def test_json_is_one_document_each(
    tree: Path, repo: Path, command: CommandLine, tmp_path: Path
) -> None:
    """Every command with --json prints one JSON document and nothing else on standard output."""
    for words in (
        ("import", tree, repo), ("points", repo), ("points", repo, "--objects"), ("browse", repo, "latest", "sub"),
        ("export", repo, "tree:latest", tmp_path / "out"), ("repo", "info", repo), ("repo", "stats", repo),
        ("repo", "verify", repo), ("repo", "verify", repo, "--level", "scrub"), ("repo", "init", tmp_path / "second"),
    ):  # fmt: skip
        answer = command(*words, "--json")
        assert answer.code == 0, answer
        assert answer.document is not None
        assert answer.err == ""
        if words[0] != "import" and words[:2] != ("repo", "init") and words[0] != "export":
            plain = command(*words)
            assert plain.code == 0
            assert plain.out


def test_nothing_of_a_repository_is_open_to_others(
    repo: Path, tree: Path, command: CommandLine
) -> None:
    """Files and folders of a repository are its owner's alone."""
    assert command("import", tree, repo).code == 0
    for path in (repo, *repo.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


# -- what changed ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_changed_between_two_trees(
    tmp_path: Path, tree: Path, repo: Path, command: CommandLine
) -> None:
    """Added, removed and changed files with sizes; a file that was only touched is none; names of any bytes."""
    assert command("import", tree, repo, "--name", "first").code == 0
    (tree / "a").write_bytes(b"B" * 300)
    shutil.rmtree(tree / "sub" / "empty")
    (tree / "sub" / "c").rename(tree / os.fsdecode(b"c\xff"))
    os.chmod(tree / "sub" / "b", 0o600)
    touched = tree / "touched"
    touched.write_bytes(b"t")
    os.utime(touched, ns=(5, 5))
    assert command("import", tree, repo, "--name", "second").code == 0
    os.chmod(touched, 0o644)
    assert command("import", tree, repo, "--name", "third", "--reread").code == 0
    shown = command("diff", repo, "first:latest", "second:latest")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.splitlines()[:6] == [
        "~ a  (content, details, 100 B -> 300 B)",
        "+ c\N{REPLACEMENT CHARACTER}",
        "~ sub/b  (details)",
        "- sub/c",
        "- sub/empty/",
        "+ touched",
    ]
    assert shown.out.splitlines()[-1] == "1 of 1 objects and workloads differ"
    document = command("diff", repo, "first:latest", "second:latest", "--json").document
    (entry,) = document["entries"]
    assert (document["older"]["name"], document["newer"]["name"]) == ("first", "second")
    assert [entry[c]["items"] for c in ("added", "removed", "changed")] == [2, 1, 2]
    assert entry["added"]["bytes_after"] == 2
    assert [c["path"] for c in entry["changes"]] == [
        "a", "c\N{REPLACEMENT CHARACTER}", "sub/b", "sub/c", "sub/empty", "touched",
    ]  # fmt: skip
    assert entry["changes"][1]["id_b64"] == "Y/8="
    same = command("diff", repo, "second:latest", "third:latest")
    assert (same.code, same.out) == (0, "0 of 1 objects and workloads differ\n")
    below = command("diff", repo, "first:latest", "second:latest", "--path", "sub", "--json")
    assert len(below.document["entries"][0]["changes"]) == 3
    short = command("diff", repo, "first:latest", "second:latest", "--summary", "--json")
    assert "changes" not in short.document["entries"][0]
    for options in ([], ["--json"]):
        missing = command("diff", repo, "first:latest", "latest", "--path", "nowhere", *options)
        assert (missing.code, one_line(missing)) == (1, True)
    assert command("diff", repo, "first:latest", "never:latest").code == 1
