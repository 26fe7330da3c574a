"""The stand-alone reader opens a repository with whatever people keep: passphrase, recovery sheet, private key file."""

import base64
import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from engine.checkedjson import encode_checked
from engine.keyfile import encode_private_key
from engine.keys import OpeningKey
from repository import Repository
from repository.keyservice import _KeyFile
from repository.scopes import destroy_scope
from repository.unlocking import recipient_key, recovery_key
from tests.fixtures.formats import TIME, UUID
from tests.fixtures.keyrings import SERVICE_KEY
from tests.fixtures.repositories import CHEAP, PASSPHRASE, commit_files
from tests.fixtures.scopes import CONTOSO, FABRIKAM, service_key, with_scopes
from tests.integration.test_reader import ROOT, flip, opened, read, repo
from tools.reader.keys import Opening, _fitting, _key_set, _opened, read_checked

__all__ = ["opened", "repo"]  # fixtures
pytestmark = pytest.mark.slow  # every restore is a process of its own


def test_every_key_that_people_keep_opens_every_epoch(
    tmp_path: Path, repo: Path, opened: Repository
) -> None:
    """A typed recovery secret, private key files with and without a passphrase; two epochs; a damaged copy is named."""
    recovery, lines = recovery_key()
    private = b"p" * 32
    for key in (recovery, recipient_key(OpeningKey(private).public)):
        opened.keyring.add(key)
    files = {"one": b"epoch 1", "two": b"epoch 2"}
    for name, data in files.items():
        with opened.write_session() as session:
            commit_files(opened, session, {name: data})
        opened.keyring.rotate()
    assert opened.keys.newest_epoch == 2
    typed = tmp_path / "typed"
    typed.write_text("".join(f"{n}) {line.lower()}\n" for n, line in enumerate(lines, 1)))
    plain, sealed = tmp_path / "plain.key", tmp_path / "sealed.key"
    plain.write_bytes(encode_private_key(private, TIME, None, bytes(32), CHEAP))
    sealed.write_bytes(encode_private_key(private, TIME, PASSPHRASE, bytes(32), CHEAP))
    openings: tuple[tuple[str | Path, ...], ...] = (
        (), ("--passphrase-file", typed), ("--key-file", plain), ("--key-file", sealed),
    )  # fmt: skip
    for number, opening in enumerate(openings):
        out = tmp_path / str(number)
        done = read(repo, out, *opening)
        assert (done.returncode, done.stderr) == (0, "")
        assert {p.name: p.read_bytes() for p in out.iterdir()} == files
    first = min((repo / "keys").iterdir())
    flip(first, 200)
    done = read(repo, tmp_path / "out")
    assert done.returncode == 1
    assert f"keys/{first.name}: " in done.stderr
    assert {p.name for p in (tmp_path / "out").iterdir()} == set(files)


def test_keys_that_do_not_fit_say_so(tmp_path: Path, repo: Path, opened: Repository) -> None:
    """A mistyped line is named; a stranger's private key and a wrong passphrase of a key file are told apart."""
    recovery, lines = recovery_key()
    opened.keyring.add(recovery)
    wrong = lines[1][:-1] + ("A" if lines[1][-1] != "A" else "B")
    typed = tmp_path / "typed"
    typed.write_text("\n".join([lines[0], wrong, *lines[2:]]))
    stranger, sealed = tmp_path / "stranger.key", tmp_path / "sealed.key"
    stranger.write_bytes(encode_private_key(b"q" * 32, TIME, None, bytes(32), CHEAP))
    sealed.write_bytes(encode_private_key(b"q" * 32, TIME, "another", bytes(32), CHEAP))
    for words, said in (
        (("--passphrase-file", typed), "line 2 of the recovery secret is not as printed"),
        (("--key-file", stranger), "no such key"),
        (("--key-file", sealed), f"{sealed}: wrong passphrase"),
    ):
        done = read(repo, tmp_path / "out", *words)
        assert (done.returncode, done.stderr) == (1, said + "\n")


def test_scopes_need_their_own_keys(tmp_path: Path, repo: Path, opened: Repository) -> None:
    """The file of a scope's service key gives its data back, by runs and by packs; without it, and shredded, the rest comes."""
    with_scopes(opened, tmp_path / "kms", lambda name: {f"of {name or 'nobody'}": b"d" * 99})
    keys = {name: tmp_path / "kms" / f"{name.lower()}.key" for name in (FABRIKAM, CONTOSO)}
    every = [word for key in keys.values() for word in ("--scope-key", key)]

    def back(out: str, *words: str | Path) -> tuple[set[str], "subprocess.CompletedProcess[str]"]:
        done = read(repo, tmp_path / out, "--point", "heads", *words)
        found = {p.name: p for p in (tmp_path / out).rglob("*") if p.is_file()}
        return {name for name, p in found.items() if p.read_bytes() == b"d" * 99}, done

    for out, more in (("runs", ()), ("packs", ("--from-packs",))):
        found, done = back(out, *every, *more)
        assert len(found) == 3, done.stderr
        assert done.returncode == 0
    found, done = back("one", "--scope-key", keys[CONTOSO])
    assert (len(found), done.returncode) == (2, 1)
    assert "fabrikam.key" in done.stderr
    destroy_scope(
        opened.keyring, opened.keyring.scope(FABRIKAM), service_key(tmp_path / "kms", "fabrikam")
    )
    found, done = back("shredded", *every)
    assert (len(found), "shredded on" in done.stderr) == (2, True)


def test_golden_keys_open() -> None:
    """The checked-in ring opens to each kind of key that the reader knows; key files and public keys fit each other."""
    golden = json.loads((ROOT / "tests" / "golden" / "format-1.json").read_text())["exact"]
    ring = read_checked(golden["key_ring"].encode())
    stored = read_checked(golden["private_key"].encode())
    assert stored["public_key"] == ring["keys"][2]["public_key"]
    assert golden["recipient"].split(" ")[1].startswith(stored["public_key"])
    private = Opening(X25519PrivateKey.from_private_bytes(b"r" * 32), bytes(32))
    for secret in ("passphrase", "\n".join(golden["recovery"]), private):
        key, opening = _fitting(ring["keys"], secret)
        key_set = _opened(ring, key, opening, UUID)
        assert base64.b64decode(key_set["id_key"]) == b"i" * 32
        assert set(key_set["epochs"]) == {"1", "2"}


def test_golden_scopes_open(tmp_path: Path) -> None:
    """The checked-in ring of scopes opens, and the file of the service key gives the checked-in keys."""
    golden = json.loads((ROOT / "tests" / "golden" / "format-1.json").read_text())["exact"]
    ring = read_checked(golden["key_ring_of_scopes"].encode(), newest=2)
    key_set = _opened(ring, *_fitting(ring["keys"], "passphrase"), UUID)
    file = tmp_path / "fabrikam.key"
    file.write_bytes(encode_checked(_KeyFile(1, {"1": SERVICE_KEY})))
    keys = _key_set(key_set, UUID, [file])
    assert sorted(keys.epochs) == [1, 2, 3]
    scope = keys.epochs[3]
    assert [k.hex() for k in (scope.data, scope.metadata, scope.id_key)] == golden["scope_keys"][:3]
    assert "shredded" in keys.closed[4]
    assert sorted(_key_set(key_set, UUID, []).closed) == [3, 4]
