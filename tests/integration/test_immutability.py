"""A locked repository on S3 (SeaweedFS) and Azure (of this process) at the command line: promise, audit, attack, way back."""

import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import ContainerClient
from botocore.exceptions import ClientError

from tests.fixtures.locks import AzureInProcess, locked_bucket
from tests.fixtures.object_servers import AZURE_ACCOUNT, AZURE_KEY, ObjectServer, s3_client
from tests.fixtures.trees import CommandLine, one_line, snapshot

pytestmark = pytest.mark.slow


class Locking(Protocol):
    """A service that locks, and what its own client does there with the writer's credentials."""

    environment: dict[str, str]

    def address(self) -> str:
        """A place where locks are kept."""

    def lockless(self) -> str:
        """One where none are."""

    def moment(self) -> str:
        """A time of the service after all that was done and before all that will be."""

    def attack(self, address: str) -> tuple[int, int]:
        """Delete all versions that can be, overwrite and hide the rest. Versions deleted, refused."""

    def overwrite(self, address: str, kind: str, *, damaged: bool = False) -> None:
        """One object of a kind, without a lock: with the same bytes, or with one of them flipped."""

    def delete(self, address: str, kind: str) -> None:
        """All objects of a kind, in sight: their versions stay."""


class S3Locking:
    """See Locking."""

    def __init__(self, server: ObjectServer) -> None:
        self._server = server
        self._client = s3_client(server.port)
        self.environment = server.environment

    def address(self) -> str:
        return locked_bucket(self._server)

    def lockless(self) -> str:
        return self._server.address()

    def moment(self) -> str:
        time.sleep(2)
        moment = datetime.now(UTC).isoformat()
        time.sleep(2)
        return moment

    def _everything(self, bucket: str) -> list[dict[str, Any]]:
        pages = self._client.get_paginator("list_object_versions").paginate(Bucket=bucket)
        kinds = ("Versions", "DeleteMarkers")
        return [form for page in pages for kind in kinds for form in page.get(kind, ())]

    def attack(self, address: str) -> tuple[int, int]:
        bucket = address.split("/")[2]
        deleted = refused = 0
        for form in self._everything(bucket):
            which = {"Bucket": bucket, "Key": form["Key"]}
            try:
                self._client.delete_object(**which, VersionId=form["VersionId"])
                deleted += 1
            except ClientError:
                refused += 1
        for form in self._everything(bucket):
            which = {"Bucket": bucket, "Key": form["Key"]}
            self._client.put_object(**which, Body=b"garbage")
            self._client.delete_object(**which)
        return deleted, refused

    def _keys(self, address: str, kind: str) -> tuple[str, list[str]]:
        bucket = address.split("/")[2]
        found = self._client.list_objects_v2(Bucket=bucket, Prefix=f"repository/{kind}")
        return bucket, [form["Key"] for form in found["Contents"]]

    def overwrite(self, address: str, kind: str, *, damaged: bool = False) -> None:
        bucket, (key, *_) = self._keys(address, kind)
        held = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        self._client.put_object(Bucket=bucket, Key=key, Body=flipped(held) if damaged else held)

    def delete(self, address: str, kind: str) -> None:
        bucket, keys = self._keys(address, kind)
        for key in keys:
            self._client.delete_object(Bucket=bucket, Key=key)


class AzureLocking:
    """See Locking."""

    def __init__(self, azure: AzureInProcess) -> None:
        self._azure = azure
        self.environment = azure.server.environment

    def address(self) -> str:
        return self._azure.address("locked")

    def lockless(self) -> str:
        return self._azure.address("plain")

    def moment(self) -> str:
        self._azure.clock.advance(2)
        moment = self._azure.clock().isoformat()
        self._azure.clock.advance(2)
        return moment

    def _container(self, address: str) -> tuple[ContainerClient, str]:
        _, _, name, prefix = address.split("/")
        key = {"account_name": AZURE_ACCOUNT, "account_key": AZURE_KEY}
        return ContainerClient(
            self.environment["AZURE_STORAGE_ENDPOINT"], name, credential=key
        ), prefix

    def attack(self, address: str) -> tuple[int, int]:
        container, prefix = self._container(address)
        for blob in container.list_blobs(prefix):
            container.delete_blob(blob.name)
        deleted = refused = 0
        for blob in list(container.list_blobs(prefix, include=["versions"])):
            try:
                container.delete_blob(blob.name, version_id=blob.version_id)
                deleted += 1
            except HttpResponseError:
                refused += 1
        for name in {blob.name for blob in container.list_blobs(prefix, include=["versions"])}:
            container.upload_blob(name, b"garbage")
            container.delete_blob(name)
        return deleted, refused

    def overwrite(self, address: str, kind: str, *, damaged: bool = False) -> None:
        container, prefix = self._container(address)
        name = next(container.list_blobs(f"{prefix}/{kind}")).name
        held = container.download_blob(name).readall()
        container.upload_blob(name, flipped(held) if damaged else held, overwrite=True)

    def delete(self, address: str, kind: str) -> None:
        container, prefix = self._container(address)
        for blob in list(container.list_blobs(f"{prefix}/{kind}")):
            container.delete_blob(blob.name)


def flipped(data: bytes) -> bytes:
    return data[:70] + bytes([data[70] ^ 1]) + data[71:]


@pytest.fixture(params=["s3", "azure"])
def service(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Locking:
    made: Locking
    if request.param == "s3":
        made = S3Locking(request.getfixturevalue("seaweed"))
    else:
        made = AzureLocking(request.getfixturevalue("azure_wire"))
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for number in range(6):
        (root / f"f{number % 2}").mkdir(parents=True, exist_ok=True)
        (root / f"f{number % 2}" / f"n{number}").write_bytes(os.urandom(50_000 * number) + b"text")
    return root


def test_an_attack_on_a_locked_repository(
    service: Locking, tree: Path, tmp_path: Path, command: CommandLine
) -> None:
    """Two points survive whatever the writer's credentials allow, and come back byte for byte by --as-of."""
    address = service.address()
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
    moment = service.moment()
    deleted, refused = service.attack(address)
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
    service: Locking, tree: Path, tmp_path: Path, command: CommandLine
) -> None:
    """Days grow and never shrink; what somebody changed is named by the audit, with exit code 1; forgotten packs wait."""
    address = service.address()
    made = command("repo", "init", address, "--immutable", "5", "--governance")
    assert (made.code, "stolen credentials" in made.err) == (0, address.startswith("az://"))
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
    service.overwrite(address, "config")
    audited = command("repo", "lock", "audit", address, "--json")
    kinds = {drift["kind"] for drift in audited.document["drifts"]}
    assert (audited.code, kinds) == (1, {"unlocked", "overwritten"})
    assert command("repo", "lock", "extend", address).code == 0
    audited = command("repo", "lock", "audit", address, "--json")
    assert {drift["kind"] for drift in audited.document["drifts"]} == {"overwritten"}


def test_locks_end_and_what_is_dead_goes(
    azure_wire: AzureInProcess,
    tree: Path,
    tmp_path: Path,
    command: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    On Azure, whose time the test moves: what was forgotten waits for its locks, then goes with every version; what is needed
    is locked anew, and the audit says when it was not.
    """
    service = AzureLocking(azure_wire)
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    address = service.address()
    assert command("repo", "init", address, "--immutable", "5").code == 0
    assert command("import", tree, address, "--name", "tree").code == 0
    shutil.rmtree(tree / "f1")
    assert command("import", tree, address, "--name", "tree").code == 0
    assert command("forget", address, "--keep-last", "1", "--force").code == 0
    collected = [command("repo", "collect", address, "--json").document for _ in range(2)]
    waiting = collected[-1]["locked"]
    assert waiting > 0
    assert [report["deleted"] for report in collected] == [0, 0]
    azure_wire.clock.advance(20 * 24 * 3600)
    audited = command("repo", "lock", "audit", address, "--json")
    assert (audited.code, {d["kind"] for d in audited.document["drifts"]}) == (1, {"short"})
    assert command("repo", "lock", "extend", address).code == 0
    audited = command("repo", "lock", "audit", address, "--json")
    assert (audited.code, audited.document["drifts"]) == (0, [])
    assert command("repo", "collect", address, "--json").document["locked"] == 0
    container, prefix = service._container(address)
    kinds = [f"{prefix}/{kind}/" for kind in ("pack", "run", "manifest", "point")]
    left = [b for kind in kinds for b in container.list_blobs(kind, include=["versions"])]
    assert {blob.is_current_version for blob in left} == {True}
    assert command("repo", "lock", "audit", address).code == 0
    assert command("repo", "verify", address, "--read-data").code == 0
    assert command("export", address, "tree:latest", tmp_path / "out").code == 0
    assert snapshot(tmp_path / "out") == snapshot(tree)


def test_what_repair_and_salvage_put_back_is_locked(
    service: Locking, tree: Path, tmp_path: Path, command: CommandLine
) -> None:
    """A damaged manifest by parity, runs and cells that were hidden made again: all with locks, and the tree is whole."""
    address = service.address()
    assert command("repo", "init", address, "--immutable", "5").code == 0
    assert command("import", tree, address, "--name", "tree").code == 0
    service.overwrite(address, "manifest/", damaged=True)
    repaired = command("repo", "verify", address, "--level", "listing", "--repair", "--json")
    assert repaired.code == 0, repaired
    for kind in ("sess/", "run/"):
        service.delete(address, kind)
    assert command("repo", "salvage", address, "--force").code == 0
    audited = command("repo", "lock", "audit", address, "--json").document
    assert {drift["kind"] for drift in audited["drifts"]} <= {"overwritten", "hidden"}
    assert command("repo", "verify", address, "--read-data").code == 0
    assert command("export", address, "tree:latest", tmp_path / "out").code == 0
    assert snapshot(tmp_path / "out") == snapshot(tree)


def test_where_nothing_can_be_locked(
    service: Locking, tmp_path: Path, command: CommandLine
) -> None:
    """A folder, a bucket or container without locks, a repository without locks: one line each, nothing is made."""
    for address, code in (
        (str(tmp_path / "repository"), "locks-unsupported"),
        (service.lockless(), "bucket-lockless"),
    ):
        made = command("repo", "init", address, "--immutable", "30")
        assert (made.code, one_line(made)) == (1, True)
        assert f"({code})" in made.err
        assert "(repository-not-found)" in command("points", address).err
    address = service.lockless()
    assert command("repo", "init", address, "--governance").code == 2
    assert command("repo", "init", address).code == 0
    assert "(not-immutable)" in command("repo", "lock", "audit", address).err
    scrubbed = command("repo", "verify", address, "--level", "scrub", "--as-of", "2026-01-01")
    assert "(as-of-options)" in scrubbed.err
