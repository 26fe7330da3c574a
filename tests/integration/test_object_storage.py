"""`strongroom` on s3:// and az:// addresses: as on a path, also when the way there is bad."""

import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from repository import Places
from repository.blobstore.addresses import create_store, open_store
from repository.blobstore.locks import lock_store
from repository.blobstore.remote import Patience
from repository.immutability import is_locked_kind
from repository.repository import initialize, open_repository, probe_compare_and_swap
from repository.settings import LockForm
from repository.tree.importer import import_tree
from tests.fixtures.http_faults import Fault, FaultyWay, at_random, faulty_way, no_fault
from tests.fixtures.locks import AzureInProcess, locked_bucket
from tests.fixtures.object_servers import BUCKET, ObjectServer, running_rclone, s3_client
from tests.fixtures.repositories import CHEAP, PASSPHRASE
from tests.fixtures.trees import CommandLine, one_line, snapshot
from tools.cli.output import DONE, WARNINGS

pytestmark = pytest.mark.slow

SEED = 20261124
FAULTS: tuple[Fault, ...] = (
    *("lost", "refused", "doubled", "late", "cut", "lying-500"),
    *("409", "412", "500", "503"),
)


@pytest.fixture(params=["seaweed", "azurite"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    server: ObjectServer = request.getfixturevalue(request.param)
    use(server.environment, monkeypatch)
    return server


def use(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def way(server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyWay]:
    with faulty_way(server.port) as way:
        use(server.through(way.port), monkeypatch)
        yield way


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files that fill several frames, some compressible."""
    root = tmp_path / "tree"
    for folder in range(3):
        (root / f"f{folder}").mkdir(parents=True)
        for number in range(8):
            path = root / f"f{folder}" / f"n{number}"
            path.write_bytes(os.urandom(60_000 * number) + b"text " * 5000)
    return root


def test_every_command_works_as_on_a_path(
    server: ObjectServer, tree: Path, tmp_path: Path, command: CommandLine
) -> None:
    """Each command answers 0, space comes back, and the tree is the same, also after a copy to a second repository."""
    address = server.address()
    made = command("repo", "init", address, "--json")
    assert made.document["compare_and_swap"] is True
    again = command("repo", "init", address)
    assert (again.code, one_line(again)) == (1, True)
    assert "(store-not-empty)" in again.err
    assert command("import", tree, address, "--name", "tree").code == 0
    (tree / "f0" / "n1").write_bytes(b"changed")
    assert command("import", tree, address, "--name", "tree").code == 0
    assert len(command("points", address, "--json").document) == 2
    assert "f0/" in command("browse", address, "latest").out
    assert command("repo", "info", address, "--json").document["points"] == 2
    assert command("repo", "stats", address, "--json").document["points"] == 2
    for level in ("listing", "directory", "scrub", "read"):
        assert command("repo", "verify", address, "--level", level).code == 0
    (tree / "f1" / "n7").unlink()
    assert command("import", tree, address, "--name", "tree").code == 0
    assert command("forget", address, "--keep-last", "1", "--force").code == 0
    before = command("repo", "stats", address, "--json").document["stored_bytes"]
    assert command("repo", "collect", address, "--max-unused", "0").code == 0
    assert command("repo", "collect", address).code == 0
    assert command("repo", "stats", address, "--json").document["stored_bytes"] < before
    assert command("repo", "verify", address, "--read-data").code == 0
    other = server.address()
    assert command("repo", "init", other).code == 0
    copy = command("repo", "copy", address, other, "--to-passphrase-file", command.passphrase_file)
    assert (copy.code, copy.err) == (0, "")
    for place, out in ((address, tmp_path / "out"), (other, tmp_path / "copied")):
        assert command("export", place, "tree:latest", out).code == 0
        assert snapshot(out) == snapshot(tree)


def test_foreign_objects_are_left_alone(
    seaweed: ObjectServer, command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that a console made does not make a prefix used, and other programs' objects are no part of a repository."""
    use(seaweed.environment, monkeypatch)
    address = seaweed.address()
    prefix = address.rpartition("/")[2]
    client = s3_client(seaweed.port)
    client.put_object(Bucket=BUCKET, Key=f"{prefix}/", Body=b"")
    assert command("repo", "init", address).code == 0
    for foreign in ("Thumbs.db", "sess/", "pack/.hidden"):
        client.put_object(Bucket=BUCKET, Key=f"{prefix}/{foreign}", Body=b"x")
    answer = command("repo", "verify", address, "--json")
    assert (answer.code, answer.document["problems"]) == (0, [])
    assert client.get_object(Bucket=BUCKET, Key=f"{prefix}/Thumbs.db")["Body"].read() == b"x"


def test_another_machine_sees_the_same(
    server: ObjectServer, tree: Path, tmp_path: Path, command: CommandLine
) -> None:
    """What one machine stored another reads, with nothing but the address and the passphrase."""
    address = server.address()
    assert command("repo", "init", address).code == 0
    assert command("import", tree, address).code == 0
    shutil.rmtree(command.cache_dir)
    shutil.rmtree(command.state_dir)
    assert command("export", address, "latest", tmp_path / "out").code == 0
    assert snapshot(tmp_path / "out") == snapshot(tree)


@pytest.mark.parametrize(
    ("address", "code"),
    [("s3://strongroom/none", "repository-not-found"), ("s3://strongroom/a b", "bad-address")],
)
def test_wrong_addresses(
    seaweed: ObjectServer,
    command: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    code: str,
) -> None:
    """What is not there or cannot be an address is told in one line."""
    use(seaweed.environment, monkeypatch)
    answer = command("repo", "info", address)
    assert (answer.code in (1, 2), one_line(answer)) == (True, True)
    assert f"({code})" in answer.err


@pytest.mark.parametrize(
    ("environment", "code"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "credentials-refused"),
        ({"AWS_ACCESS_KEY_ID": ""}, "credentials-missing"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_PROFILE": "nobody"}, "profile-unusable"),
        ({"AWS_ENDPOINT_URL": "http://192.0.2.1:80"}, "endpoint-insecure"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "store-unavailable"),
    ],
)
def test_wrong_settings(
    seaweed: ObjectServer,
    command: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    code: str,
) -> None:
    """Wrong, missing or unsafe settings are told in one line that holds no secret, before a passphrase is asked for."""
    nowhere = {
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    use({**seaweed.environment, **nowhere, **environment}, monkeypatch)
    answer = command.plain("repo", "info", f"s3://{BUCKET}/x")
    assert (answer.code in (1, 2), one_line(answer)) == (True, True)
    assert f"({code})" in answer.err
    assert "wrong-secret" not in answer.err


def test_a_profile_gives_credentials(
    seaweed: ObjectServer, command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS_PROFILE and AWS's own files are enough."""
    key, secret = (
        seaweed.environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    )
    file = tmp_path / "credentials"
    file.write_text(f"[mine]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", seaweed.environment["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    assert command("repo", "init", seaweed.address()).code == 0


def test_a_connection_string_is_enough(
    azurite: ObjectServer, command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the Azure portal offers to copy holds account, key and endpoint."""
    for name in azurite.environment:
        monkeypatch.delenv(name, raising=False)
    account, key, endpoint = (
        azurite.environment[f"AZURE_STORAGE_{name}"]
        for name in ("ACCOUNT_NAME", "ACCOUNT_KEY", "ENDPOINT")
    )
    text = f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};BlobEndpoint={endpoint};"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    assert command("repo", "init", azurite.address()).code == 0
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"AccountName={account}")
    answer = command("repo", "info", azurite.address())
    assert "(bad-connection-string)" in answer.err
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    answer = command("repo", "info", azurite.address())
    assert "(credentials-missing)" in answer.err


def test_an_address_may_say_where_the_service_is(
    seaweed: ObjectServer,
    azurite: ObjectServer,
    command: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Endpoint, region and account of the address go before those of the environment, credentials never stand in it."""
    elsewhere = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AZURE_STORAGE_ENDPOINT": "http://127.0.0.1:1",
        "AZURE_STORAGE_ACCOUNT_NAME": "another",
    }
    use({**seaweed.environment, **azurite.environment, **elsewhere}, monkeypatch)
    s3 = f"{seaweed.address()}?endpoint={seaweed.environment['AWS_ENDPOINT_URL']}&region=eu-west-1"
    az = f"{azurite.address()}?endpoint={azurite.environment['AZURE_STORAGE_ENDPOINT']}&account=devstoreaccount1"
    for address in (s3, az):
        assert command("repo", "init", address).code == 0
        assert command("repo", "info", address).code == 0


def test_a_store_without_conditions_is_noticed(
    tmp_path: Path, tree: Path, command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that ignores the conditions of writes is found out by `repo init`, and `repo info` says so."""
    with running_rclone(tmp_path / "rclone") as server:
        use(server.environment, monkeypatch)
        address = server.address()
        assert probe_compare_and_swap(create_store(server.address())) is False
        made = command("repo", "init", address)
        assert made.code == 0
        assert "lacks compare-and-swap" in made.err
        assert command("import", tree, address).code == 0
        info = command("repo", "info", address, "--json")
        assert info.document["compare_and_swap"] is False
        assert command("repo", "verify", address, "--read-data").code == 0


@pytest.mark.parametrize("service", ["s3", "azure"])
def test_a_bucket_that_keeps_versions_is_noticed(
    request: pytest.FixtureRequest,
    command: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    service: str,
) -> None:
    """`repo init` and `repo info` say that deleted objects stay; a rotation of keys names the rings that do."""
    if service == "azure":
        azure: AzureInProcess = request.getfixturevalue("azure_wire")
        use(azure.server.environment, monkeypatch)
        kept, plain = azure.address("versioned"), azure.address("plain")
    else:
        seaweed: ObjectServer = request.getfixturevalue("seaweed")
        use(seaweed.environment, monkeypatch)
        client, bucket = s3_client(seaweed.port), f"versions-{secrets.token_hex(6)}"
        client.create_bucket(Bucket=bucket)
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        kept, plain = f"s3://{bucket}/repository", seaweed.address()
    for address, versions in ((kept, True), (plain, False)):
        made = command("repo", "init", address)
        assert (made.code, "keeps versions" in made.err) == (0, versions)
        info = command("repo", "info", address, "--json")
        assert info.document["versions_kept"] is versions
        rotated = command("repo", "key", "rotate", address)
        assert (rotated.code, "versions-kept" in rotated.err) == (
            (3, True) if versions else (0, False)
        )


def test_an_import_over_a_bad_way_ends_right_or_goes_on(
    server: ObjectServer,
    way: FaultyWay,
    tree: Path,
    tmp_path: Path,
    command: CommandLine,
) -> None:
    """
    A fifth of all requests fail in some way: each command succeeds or says one clear line, and repeating it ends right.

    So with import, a change of keys, forget, collect, copy, verify.
    """
    address, other = server.address(), server.address()
    for place in (address, other):
        initialize(create_store(place), PASSPHRASE, CHEAP)
    way.clear()
    way.schedule = at_random(SEED, 0.2, FAULTS)

    def until_done(*words: str | Path) -> None:
        for _ in range(10):
            answer = command(*words)
            if answer.code in (DONE, WARNINGS):  # old key rings that stay are named
                return
            assert one_line(answer), answer.err
            assert re.search(r"\((store-unavailable|store-throttled|turn-revoked)\)", answer.err)
        raise AssertionError(f"{words[0]} never succeeded")

    until_done("import", tree, address, "--name", "one")
    (tree / "f1" / "n2").write_bytes(os.urandom(100_000))
    until_done("repo", "key", "rotate", address)
    until_done("import", tree, address, "--name", "one")
    until_done("forget", address, "--keep-last", "1", "--force")
    until_done("repo", "collect", address, "--max-unused", "0")
    until_done("repo", "copy", address, other, "--to-passphrase-file", command.passphrase_file)
    until_done("repo", "verify", address, "--read-data")
    until_done("points", address)
    met = {fault for fault in way.faults if fault != "none"}
    assert len(met) >= 3
    for late in way.late:
        late.join()
    way.schedule = no_fault
    for number, place in enumerate((address, other)):
        assert command("repo", "verify", place, "--read-data").code == 0
        assert len(command("points", place, "--json").document) == 1
        out = tmp_path / f"out{number}"
        assert command("export", place, "one:latest", out).code == 0
        assert snapshot(out) == snapshot(tree)


@pytest.mark.long
def test_a_bucket_that_vanishes_in_the_middle(
    seaweed: ObjectServer,
    tree: Path,
    tmp_path: Path,
    command: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The import says one clear line, at whatever request; once the bucket is back with what it held the next one ends."""
    client, bucket = s3_client(seaweed.port), f"vanishing-{secrets.token_hex(6)}"
    address = f"s3://{bucket}/repository"
    client.create_bucket(Bucket=bucket)
    held: dict[str, bytes] = {}

    def vanish() -> None:
        for form in client.list_objects_v2(Bucket=bucket).get("Contents", ()):
            key = form["Key"]
            held[key] = client.get_object(Bucket=bucket, Key=key)["Body"].read()
            client.delete_object(Bucket=bucket, Key=key)
        client.delete_bucket(Bucket=bucket)

    with faulty_way(seaweed.port) as way:
        use(seaweed.through(way.port), monkeypatch)
        initialize(create_store(address), PASSPHRASE, CHEAP)
        for after in (5, 15, 25):
            left, one_by_one = [after], threading.Lock()  # nobody sees half of it

            def schedule(
                _: object, left: list[int] = left, turn: threading.Lock = one_by_one
            ) -> Fault:
                with turn:
                    left[0] -= 1
                    if left[0] == 0:
                        vanish()
                return "none"

            way.schedule = schedule
            (tree / "new").write_bytes(os.urandom(100_000))
            answer = command("import", tree, address)
            assert answer.code in (1, 2)
            assert one_line(answer), answer
            # SeaweedFS knows a bucket for some seconds longer: then only objects are missing
            assert re.search(r"\((bucket-not-found|cell-missing)\)$", answer.err.strip())
            assert left[0] <= 0
            with suppress(client.exceptions.BucketAlreadyOwnedByYou):  # a write made it again
                client.create_bucket(Bucket=bucket)
            for key, data in held.items():
                client.put_object(Bucket=bucket, Key=key, Body=data)
            assert command("import", tree, address).code == 0
    use(seaweed.environment, monkeypatch)
    assert command("repo", "verify", address, "--read-data").code == 0
    assert command("export", address, "latest", tmp_path / "out").code == 0
    assert snapshot(tmp_path / "out") == snapshot(tree)


@pytest.mark.parametrize("service", ["s3", "azure"])
def test_a_copy_into_a_repository_with_locks(
    request: pytest.FixtureRequest,
    service: str,
    tree: Path,
    tmp_path: Path,
    repo: Path,
    command: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From a folder without locks: everything that stays is locked from its first moment, and reads as the original."""
    if service == "azure":
        azure: AzureInProcess = request.getfixturevalue("azure_wire")
        use(azure.server.environment, monkeypatch)
        address = azure.address("locked")
    else:
        seaweed: ObjectServer = request.getfixturevalue("seaweed")
        use(seaweed.environment, monkeypatch)
        address = locked_bucket(seaweed)
    assert command("import", tree, repo).code == 0
    initialize(create_store(address), PASSPHRASE, CHEAP, lock=LockForm("compliance", 1))
    copy = command("repo", "copy", repo, address, "--to-passphrase-file", command.passphrase_file)
    assert (copy.code, copy.err) == (0, "")
    store = open_store(address)
    locks = lock_store(store)
    kept = {blob.name for blob in store.list("") if is_locked_kind(blob.name)}
    assert {name.partition("/")[0] for name in kept} >= {"pack", "run", "manifest", "point"}
    assert [name for name in kept if locks.lock_of(name) is None] == []
    assert command("repo", "lock", "audit", address).code == 0
    assert command("export", address, "latest", tmp_path / "out").code == 0
    assert snapshot(tmp_path / "out") == snapshot(tree)


def test_an_outage_in_the_middle_loses_nothing_committed(
    server: ObjectServer,
    way: FaultyWay,
    tree: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When the service goes away for good the import fails soon enough, and the next one ends right."""
    address = server.address()
    quick = Patience(repetitions_max=2, pause_s=0.01, pause_s_max=0.02)
    for module in ("s3", "azure"):
        monkeypatch.setattr(f"repository.blobstore.{module}.Patience", lambda: quick)
    initialize(create_store(address), PASSPHRASE, CHEAP)
    for after in (0, 4, 8):
        left = [after]

        def schedule(_: object, left: list[int] = left) -> Fault:
            left[0] -= 1
            return "none" if left[0] >= 0 else "refused"

        places = Places(tmp_path / f"cache{after}", tmp_path / f"state{after}")
        way.schedule = no_fault
        with open_repository(address, PASSPHRASE, places) as repository:
            way.schedule = schedule
            with pytest.raises(Exception, match=r"does not answer|settled nothing"):
                import_tree(repository, tree, "tree")
        way.schedule = no_fault
    with open_repository(address, PASSPHRASE, places) as repository:
        import_tree(repository, tree, "tree")
        assert repository.verify("read").ok
