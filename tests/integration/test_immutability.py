"""A locked repository on S3 (SeaweedFS) at the command line: promise, audit, attack, restore as of a time before it."""

import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.fixtures.locks import locked_bucket
from tests.fixtures.object_servers import ObjectServer, s3_client
from tests.fixtures.trees import CommandLine, one_line, snapshot

pytestmark = pytest.mark.slow


@pytest.fixture
def server(seaweed: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)
    return seaweed


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for number in range(6):
        (root / f"f{number % 2}").mkdir(parents=True, exist_ok=True)
        (root / f"f{number % 2}" / f"n{number}").write_bytes(os.urandom(50_000 * number) + b"text")
    return root


def everything(client: Any, bucket: str) -> list[dict[str, Any]]:
    pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket)
    return [
        form for p in pages for kind in ("Versions", "DeleteMarkers") for form in p.get(kind, ())
    ]


def attack(server: ObjectServer, bucket: str) -> tuple[int, int]:
    """With the writer's credentials: delete all that can be, overwrite and hide the rest. Versions deleted, refused."""
    client = s3_client(server.port)
    deleted = refused = 0
    for form in everything(client, bucket):
        try:
            client.delete_object(Bucket=bucket, Key=form["Key"], VersionId=form["VersionId"])
            deleted += 1
        except ClientError:
            refused += 1
    for form in everything(client, bucket):
        client.put_object(Bucket=bucket, Key=form["Key"], Body=b"garbage")
        client.delete_object(Bucket=bucket, Key=form["Key"])
    return deleted, refused


def test_an_attack_on_a_locked_repository(
    server: ObjectServer, tree: Path, tmp_path: Path, command: CommandLine
) -> None:
    """Two points survive whatever the writer's credentials allow, and come back byte for byte by --as-of."""
    address = locked_bucket(server)
    bucket = address.split("/")[2]
    made = command("repo", "init", address, "--immutable", "30", "--json")
    assert made.document["lock"] == {"mode": "compliance", "days": 30}
    assert command("import", tree, address, "--name", "tree").code == 0
    first = tmp_path / "first"
    shutil.copytree(tree, first, symlinks=True)
    (tree / "f0" / "n0").write_bytes(b"changed")
    assert command("import", tree, address, "--name", "tree").code == 0
    assert command("repo", "collect", address).code == 0
    report = command("repo", "lock", "audit", address, "--json")
    assert (report.code, report.document["drifts"]) == (0, [])
    points = [point["id"] for point in command("points", address, "--json").document]
    time.sleep(2)
    moment = datetime.now(UTC).isoformat()
    time.sleep(2)
    deleted, refused = attack(server, bucket)
    assert deleted
    assert refused
    ruined = command("points", address)
    assert (ruined.code, one_line(ruined)) == (1, True)
    then = command("points", address, "--as-of", moment, "--json")
    assert [point["id"] for point in then.document] == points
    assert "f0/" in command("browse", address, points[0], "--as-of", moment).out
    assert command("repo", "verify", address, "--read-data", "--as-of", moment).code == 0
    for number, expected in enumerate((first, tree)):
        out = tmp_path / f"out{number}"
        assert command("export", address, points[number], out, "--as-of", moment).code == 0
        assert contents(out) == contents(expected)
    assert snapshot(tmp_path / "out1") == snapshot(tree)
    assert command("points", address, "--as-of", "2020-01-01").code == 1


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_locks_at_the_command_line(
    server: ObjectServer, tree: Path, tmp_path: Path, command: CommandLine
) -> None:
    """Days grow and never shrink; what somebody changed is named by the audit, with exit code 1; forgotten packs wait."""
    address = locked_bucket(server)
    bucket = address.split("/")[2]
    client = s3_client(server.port)
    assert command("repo", "init", address, "--immutable", "5", "--governance").code == 0
    assert command("import", tree, address, "--name", "tree").code == 0
    shutil.rmtree(tree / "f1")
    (tree / "f0" / "n0").write_bytes(os.urandom(90_000))
    assert command("import", tree, address, "--name", "tree").code == 0
    assert command("forget", address, "--keep-last", "1", "--force").code == 0
    collected = command("repo", "collect", address, "--max-unused", "0", "--json")
    assert collected.document["locked"] > 0
    assert collected.document["copied_packs"] == 0
    assert command("repo", "collect", address, "--json").code == 0
    shorter = command("repo", "lock", "set", address, "--days", "4")
    assert (shorter.code, one_line(shorter), "lock-shorter" in shorter.err) == (2, True, True)
    planned = command("repo", "lock", "set", address, "--days", "9", "--dry-run")
    assert "nothing was changed" in planned.out
    assert command("repo", "info", address, "--json").document["locked"] == "governance, 5 days"
    assert command("repo", "lock", "set", address, "--days", "9").code == 0
    assert command("repo", "info", address, "--json").document["locked"] == "governance, 9 days"
    assert command("repo", "lock", "audit", address).code == 0
    key = next(form["Key"] for form in everything(client, bucket) if "/config" in form["Key"])
    same = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    client.put_object(Bucket=bucket, Key=key, Body=same)
    audited = command("repo", "lock", "audit", address, "--json")
    kinds = {drift["kind"] for drift in audited.document["drifts"]}
    assert (audited.code, kinds) == (1, {"unlocked", "overwritten"})
    assert command("repo", "lock", "extend", address).code == 0
    audited = command("repo", "lock", "audit", address, "--json")
    assert {drift["kind"] for drift in audited.document["drifts"]} == {"overwritten"}


def test_where_nothing_can_be_locked(
    server: ObjectServer, tmp_path: Path, command: CommandLine
) -> None:
    """A folder, a bucket without Object Lock, a repository without locks: one line each, nothing is made."""
    for address, code in (
        (str(tmp_path / "repository"), "locks-unsupported"),
        (server.address(), "bucket-lockless"),
    ):
        made = command("repo", "init", address, "--immutable", "30")
        assert (made.code, one_line(made)) == (1, True)
        assert f"({code})" in made.err
        assert "(repository-not-found)" in command("points", address).err
    address = server.address()
    assert command("repo", "init", address, "--governance").code == 2
    assert command("repo", "init", address).code == 0
    assert "(not-immutable)" in command("repo", "lock", "audit", address).err
    scrubbed = command("repo", "verify", address, "--level", "scrub", "--as-of", "2026-01-01")
    assert "(as-of-options)" in scrubbed.err
