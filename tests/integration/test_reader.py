"""The stand-alone reader gets back what the product stored, knowing nothing but `docs/format.md`."""

import base64
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from repository import Places, Repository
from repository.blobstore.local import LocalStore
from repository.repository import initialize, open_on
from repository.tree.importer import import_tree
from tests.fixtures.repositories import (
    CHEAP,
    PASSPHRASE,
    OpenRepository,
    commit_files,
    object_key,
)
from tests.fixtures.trees import make_odd_tree, snapshot
from tools.reader.catalog import Row, decode_parts
from tools.reader.content import Content, Part, decode_recipe
from tools.reader.folder import Damage, Folder
from tools.reader.index import Index
from tools.reader.keys import Keys, derive, open_keys
from tools.reader.parity import protect
from tools.reader.sealing import CELL, HEADER_BYTES, MANIFEST, decode_header, open_object
from tools.reader.state import load_manifest
from tools.reader.trees import TreeWriter

ROOT = Path(__file__).parents[2]
OURS = {"cext", "engine", "repository", "proxy", "server"}
pytestmark = pytest.mark.slow  # every restore is a process of its own


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """An empty repository on disk."""
    path = tmp_path / "repo"
    path.mkdir()
    initialize(LocalStore.create(path), PASSPHRASE, CHEAP, parity="off")
    return path


@pytest.fixture
def opened(repo: Path, open_repo: OpenRepository) -> Repository:
    return open_repo(LocalStore(repo))


def read(
    repo: Path, *words: str | Path, passphrase: str = PASSPHRASE
) -> "subprocess.CompletedProcess[str]":
    """Run the reader; the repository stays as it was."""
    before = snapshot(repo)
    environment = {"PATH": os.environ["PATH"], "STRONGROOM_PASSPHRASE": passphrase}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tools.reader", repo, *words],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert snapshot(repo) == before
    assert "Traceback" not in done.stderr
    return done


def mail(subject: str, attachments: list[bytes], newline: bytes = b"\r\n") -> bytes:
    """A mail with base64 bodies in lines of 76 characters."""
    lines = [f"Subject: {subject}".encode(), b"Content-Type: multipart/mixed; boundary=b", b""]
    for attachment in attachments:
        text = base64.b64encode(attachment)
        lines += [b"--b", b"Content-Transfer-Encoding: base64", b""]
        lines += [text[start : start + 76] for start in range(0, len(text), 76)]
    return newline.join([*lines, b"--b--", b""])


def mails() -> dict[str, bytes]:
    """Mails that share attachments, and something that only looks like one."""
    rng = random.Random(7)
    large, small = rng.randbytes(700_000), rng.randbytes(3_001)
    return {
        "one.eml": mail("one", [large, small]),
        "two.eml": mail("two, with more before it", [small, large, b"x" * 3_000], b"\n"),
        "none.eml": mail("three", [b"short"]),
        "torn.eml": mail("four", [large])[:400_000],
    }


def make_tree(root: Path) -> None:
    """A small tree with everything that the page describes."""
    make_odd_tree(root)
    (root / "mails").mkdir()
    for name, data in mails().items():
        (root / "mails" / name).write_bytes(data)
    big = random.Random(3).randbytes(3_000_000)
    (root / "three-mb").write_bytes(big)
    (root / "d-plain" / "three-mb-again").write_bytes(big)
    try:
        os.setxattr(root / "plain", b"user.colour", b"\xffred")
        os.setxattr(root / "mails", b"user.kind", b"folder")
    except OSError:
        pass  # this file system keeps none


def first_run(repo: Path) -> Path:
    return max((repo / "run").iterdir(), key=lambda path: path.stat().st_size)


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def spoil(path: Path) -> None:
    """More than parity makes good."""
    data = path.read_bytes()
    path.write_bytes(data[:100] + bytes(len(data) - 100))


# -- trees -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", [(), ("--from-packs",)])
def test_a_tree_comes_back_identical(
    tmp_path: Path, repo: Path, opened: Repository, option: tuple[str, ...]
) -> None:
    """Names, bytes, links, hard links, pipes, modes, times, attributes; with the runs, and from the packs alone."""
    root = tmp_path / "tree"
    make_tree(root)
    import_tree(opened, root, "documents")
    done = read(repo, tmp_path / "out", *option)
    assert (done.returncode, done.stderr) == (0, "")
    assert snapshot(tmp_path / "out") == snapshot(root)


def test_the_second_state_of_a_tree(tmp_path: Path, repo: Path, opened: Repository) -> None:
    """Rows that were replaced or removed later do not come back; an older point still has them."""
    root = tmp_path / "tree"
    root.mkdir()
    for name in ("stays", "changes", "goes"):
        (root / name).write_bytes(name.encode())
    import_tree(opened, root, "documents")
    first = snapshot(root)
    (root / "changes").write_bytes(b"changed")
    (root / "goes").unlink()
    import_tree(opened, root, "documents")
    assert read(repo, tmp_path / "new").returncode == 0
    assert snapshot(tmp_path / "new") == snapshot(root)
    listed = read(repo, "--list").stdout.splitlines()
    oldest = listed[0].split()[0]
    assert read(repo, tmp_path / "old", "--point", oldest).returncode == 0
    names = set(snapshot(tmp_path / "old"))
    assert names == set(first)
    assert (tmp_path / "old" / "changes").read_bytes() == b"changes"


def test_a_damaged_run(tmp_path: Path, repo: Path, opened: Repository) -> None:
    """A run with one wrong bit is named; --from-packs does without any run, generation and cell."""
    root = tmp_path / "tree"
    make_tree(root)
    import_tree(opened, root, "documents")
    run = first_run(repo)
    spoil(run)
    done = read(repo, tmp_path / "some")
    assert done.returncode == 1
    assert f"run/{run.name}: its bytes do not hash to its name" in done.stderr
    for cell in (repo / "sess").iterdir():
        cell.unlink()
    done = read(repo, tmp_path / "out", "--from-packs")
    assert (done.returncode, done.stderr) == (0, "")
    assert snapshot(tmp_path / "out") == snapshot(root)


def test_parity_makes_good(tmp_path: Path) -> None:
    """With parity a flipped byte in every pack, run, manifest, point and cell costs nothing, and nobody complains."""
    repo, root = tmp_path / "repo", tmp_path / "tree"
    repo.mkdir()
    initialize(LocalStore.create(repo), PASSPHRASE, CHEAP)
    make_tree(root)
    with open_on(
        LocalStore(repo), PASSPHRASE, Places(tmp_path / "cache", tmp_path / "state")
    ) as opened:
        import_tree(opened, root, "documents")
    damaged = [
        p for kind in ("pack", "run", "manifest", "point", "sess") for p in (repo / kind).rglob("*")
    ]
    for number, path in enumerate(p for p in damaged if p.is_file()):
        flip(path, [40, path.stat().st_size // 3, path.stat().st_size - 30][number % 3])
    for number, options in enumerate(((), ("--from-packs",))):
        done = read(repo, tmp_path / f"out{number}", *options)
        assert (done.returncode, done.stderr) == (0, "")
        assert snapshot(tmp_path / f"out{number}") == snapshot(root)


def tear(pack: Path) -> None:
    with pack.open("r+b") as file:
        file.truncate(10 << 20)


def spoil_trailer(pack: Path) -> None:
    flip(pack, pack.stat().st_size - 40)


def spoil_header(pack: Path) -> None:
    flip(pack, 40)


@pytest.mark.parametrize(
    ("damage", "option", "sound_min", "sound_max"),
    [
        (tear, (), 6, 11),
        (tear, ("--from-packs",), 5, 11),
        (spoil_trailer, (), 13, 13),
        (spoil_trailer, ("--from-packs",), 5, 13),
        (spoil_header, ("--from-packs",), 13, 13),
    ],
)
def test_a_damaged_pack(
    tmp_path: Path, repo: Path, opened: Repository,
    damage: Callable[[Path], None], option: tuple[str, ...], sound_min: int, sound_max: int,
) -> None:  # fmt: skip
    """Everything before the tear (from packs: before the last salvage point) comes back; every other file is named."""
    root = tmp_path / "tree"
    root.mkdir()
    rng = random.Random(5)
    for number in range(13):
        (root / f"file-{number:02}").write_bytes(rng.randbytes(1 << 20))
    import_tree(opened, root, "documents")
    damage(max((repo / "pack" / "d").glob("*/*"), key=lambda path: path.stat().st_size))
    done = read(repo, tmp_path / "out", *option)
    sound = 0
    for path in root.iterdir():
        restored = tmp_path / "out" / path.name
        if restored.exists():
            assert restored.read_bytes() == path.read_bytes()
            sound += 1
        else:
            assert f"\n{path.name}: " in "\n" + done.stderr
    assert sound_min <= sound <= sound_max
    assert done.returncode == int(bool(done.stderr))
    if option and damage is not spoil_header:
        assert "come from salvage points" in done.stderr
    else:
        assert bool(done.stderr) == (sound < 13)


def test_never_out_of_the_destination(tmp_path: Path) -> None:
    """Rows that lead upwards, or through a link of the tree itself, are refused; what lies there is untouched."""
    outside, base = tmp_path / "outside", tmp_path / "base"
    outside.mkdir()
    base.mkdir()

    def link(row_id: bytes) -> Row:
        meta = {"link": base64.b64encode(os.fsencode(outside)).decode()}
        return Row(row_id, b"", row_id, "link", 0, 0, 0, "", meta, ())

    folder = Row(b"../outside/new", b"", b"", "container", 0, 0, 0, "", {}, ())
    complaints: list[str] = []
    none = Keys(b"", b"", None, {})  # type: ignore[arg-type]
    content = Content(Folder(tmp_path), none, Index([]))
    rows = [link(b"a"), link(b"a/b"), link(b"../up"), link(b"/abs"), link(b"x//y"), folder]
    TreeWriter(content, os.fsencode(base), complaints.append).write(rows)
    assert list(outside.iterdir()) == []
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "base", "base/a", "base/a/b", "outside",
    ]  # fmt: skip
    assert len(complaints) == 5


# -- items -----------------------------------------------------------------------------------------


def test_items_of_objects_that_are_no_trees(tmp_path: Path, repo: Path, opened: Repository) -> None:
    """Every item's parts as files, mails rebuilt from their recipes, the rows in catalog.jsonl; without a restore point."""
    files = {**mails(), "../odd\x00na\u2028me": b"odd", "empty": b""}
    with opened.write_session() as session:
        commit_files(opened, session, files, object_key("ann@example.com"))
        entry = commit_files(opened, session, {"empty": b"not now"}, object_key("ann@example.com"))
    assert any(part.recipe for row in opened.catalog(entry).rows() for part in row.parts)
    done = read(repo, tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    (folder,) = (tmp_path / "out").iterdir()
    assert folder.name.startswith("ann@example.com.files~")
    documents = [json.loads(line) for line in (folder / "catalog.jsonl").open()]
    found = {d["id"]: (folder / d["parts"][0]["file"]).read_bytes() for d in documents}
    assert found == {**files, "empty": b"not now"}
    assert len(list(folder.iterdir())) == len(files) + 1


# -- refusals --------------------------------------------------------------------------------------


def test_a_wrong_passphrase_says_so(tmp_path: Path, repo: Path) -> None:
    """One line, exit code 1, nothing written."""
    done = read(repo, tmp_path / "out", passphrase="another")
    assert (done.returncode, done.stderr) == (1, "wrong passphrase\n")
    assert not (tmp_path / "out").exists()


def test_the_destination_must_be_empty(tmp_path: Path, repo: Path) -> None:
    """A folder with something in it, or inside the repository, is a usage error."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    assert read(repo, tmp_path / "out").returncode == 2
    assert read(repo, repo / "sub" / "out").returncode == 2


def test_a_manifest_with_a_wrong_bit_is_refused(
    tmp_path: Path, repo: Path, opened: Repository
) -> None:
    """It is named, nothing of it is restored."""
    root = tmp_path / "tree"
    root.mkdir()
    (root / "a").write_bytes(b"A")
    import_tree(opened, root, "documents")
    (manifest,) = (repo / "manifest").iterdir()
    spoil(manifest)
    done = read(repo, tmp_path / "out")
    assert done.returncode == 1
    assert f"manifest/{manifest.name}: " in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def resealed(keys: Keys, name: str, stored: bytes, object_class: int, old: str, new: str) -> bytes:
    """An object whose plain bytes were changed by somebody who has the metadata key."""
    header = decode_header(stored, object_class, keys)
    plain = open_object(keys, name, stored, object_class).replace(old.encode(), new.encode())
    key = derive(keys.epochs[header.epoch].metadata, "object", header.salt)
    named = name.encode() if object_class == CELL else b""
    packed = zstandard.ZstdCompressor().compress(plain)
    sealed = AESGCM(key).encrypt(bytes(12), packed, header.encode() + named)
    return protect(stored[:HEADER_BYTES] + sealed, b"")


def test_a_forged_manifest_is_refused(tmp_path: Path, repo: Path, opened: Repository) -> None:
    """The metadata key alone does not sign: a manifest sealed anew, under its right name, fails its signature."""
    with opened.write_session() as session:
        commit_files(opened, session, {"a": b"A"})
    folder = Folder(repo)
    keys, _ = open_keys(folder, PASSPHRASE)
    (path,) = (repo / "manifest").iterdir()
    assert [entry.items for entry in load_manifest(folder, keys, path.name)] == [1]
    forged = resealed(
        keys, f"manifest/{path.name}", path.read_bytes(), MANIFEST, '"items":1', '"items":2'
    )
    name = blake3(forged).hexdigest()
    (repo / "manifest" / name).write_bytes(forged)
    (cell,) = (repo / "sess").iterdir()
    stored = resealed(keys, f"sess/{cell.name}", cell.read_bytes(), CELL, path.name, name)
    cell.write_bytes(stored)
    done = read(repo, tmp_path / "out")
    assert done.returncode == 1
    assert f"manifest/{name}: its signature is wrong" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


# -- alone -----------------------------------------------------------------------------------------


def test_nothing_of_ours_is_loaded(tmp_path: Path, repo: Path, opened: Repository) -> None:
    """A whole restore loads tools.reader and nothing else of the project."""
    with opened.write_session() as session:
        commit_files(opened, session, {"a": b"A"})
    program = (
        "import sys; from tools.reader.__main__ import main; code = main(sys.argv[1:]);"
        "print('\\n'.join(sys.modules)); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, repo, tmp_path / "out"],
        cwd=ROOT, env={"STRONGROOM_PASSPHRASE": PASSPHRASE}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.split()
    assert not OURS & {name.partition(".")[0] for name in loaded}
    tools = {name for name in loaded if name.startswith("tools.")}
    assert {name for name in tools if not name.startswith("tools.reader")} == set()


def test_parts_are_decoded_as_msgpack() -> None:
    """Every width of length and number, against a full msgpack library."""
    sizes = (0, 1, 31, 32, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**62)
    rows = [("r" * (size % 300), size, b"c" * min(size, 70_000), b"") for size in sizes]
    for parts in (rows[:1], rows, rows * 2, []):
        packed = msgspec.msgpack.encode(parts)
        assert decode_parts(packed) == tuple(Part(*part) for part in parts)
        for end in range(min(len(packed), 200)):
            with pytest.raises(Damage):
                decode_parts(packed[:end])


@pytest.mark.parametrize(
    "recipe",
    [
        b"\0", b"\0\1", b"\0\1\0", b"\0\1\0\3", b"\0\0\0\0", b"\0\1\5\1", b"\0\1\xe8\x07\1",
        b"\x80\0\1\0\0", b"\xff" * 10, b"\0\x81\x80\x80\x80\x80\x80\x01\0\0",
    ],
)  # fmt: skip
def test_recipes_out_of_form_are_damage(recipe: bytes) -> None:
    """Torn, out of bounds, numbers longer than need be."""
    with pytest.raises(Damage):
        decode_recipe(recipe)
