"""
The Azure account of the tests' own process answers as Azurite does, wherever Azurite can answer.

The same requests of Azure's own client go to both; status, codes, headers and bodies that matter are compared. obstore's go to
both in test_blob_store.py. What Azurite lacks (versions, policies) follows the documentation named in fixtures/azure_blobs.py.
"""

import contextlib
import http.client
import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.blob import (
    BlobBlock,
    ContainerClient,
    ImmutabilityPolicy,
    generate_container_sas,
)

from tests.fixtures.locks import AzureInProcess
from tests.fixtures.object_servers import (
    AZURE_ACCOUNT,
    AZURE_KEY,
    BUCKET,
    ObjectServer,
    make_container,
)

HEADERS = (
    "content-length",
    "content-range",
    "content-type",
    "x-ms-blob-type",
)  # of answers that are no errors
OWN_BODIES = (
    "comp=list",
    "comp=batch",
)  # listings and batches are compared by what clients read of them
Step = Callable[[ContainerClient, dict[str, Any]], Any]


def client(server: ObjectServer, container: str, credential: Any = None) -> ContainerClient:
    key = {"account_name": AZURE_ACCOUNT, "account_key": AZURE_KEY}
    endpoint = server.environment["AZURE_STORAGE_ENDPOINT"]
    return ContainerClient(endpoint, container, credential=credential or key, retry_total=0)


def seen(container: ContainerClient, held: dict[str, Any], step: Step) -> dict[str, Any]:
    """What one step was answered: everything that no server may choose for itself."""
    answers: list[Any] = []

    def note(answer: Any) -> None:
        answers.append(answer.http_response)

    try:
        result = step(container, {**held, "hook": note})
    except HttpResponseError as error:
        answer = error.response
        assert answer is not None
        code = re.search(rb"<Code>(\w+)</Code>", answer.body())
        return {
            "status": answer.status_code,
            "code": str(getattr(error, "error_code", None)),
            "header": answer.headers.get("x-ms-error-code"),
            "body": code[1] if code else None,
        }
    last = answers[-1]
    headers = {name.lower(): value for name, value in last.headers.items()}
    compared = () if any(comp in last.request.url for comp in OWN_BODIES) else HEADERS
    return {
        "status": last.status_code,
        "result": result,
        "headers": {name: headers[name] for name in compared if name in headers},
        "has": sorted({"etag", "last-modified", "date"} & headers.keys()),
    }


def _put(name: str, data: bytes, **more: Any) -> Step:
    def step(container: ContainerClient, held: dict[str, Any]) -> None:
        blob = container.get_blob_client(name)
        answer = blob.upload_blob(
            data, raw_response_hook=held["hook"], **{"overwrite": True, **more}
        )
        held["etags"][name] = answer["etag"]

    return step


def _put_if(name: str, data: bytes, etag_of: str) -> Step:
    """If the entity tag is the one that `etag_of` has, or `*`, or one that nothing has."""

    def step(container: ContainerClient, held: dict[str, Any]) -> None:
        blob = container.get_blob_client(name)
        answer = blob.upload_blob(
            data,
            overwrite=True,
            etag=held["etags"].get(etag_of, etag_of),
            match_condition=MatchConditions.IfNotModified,
            raw_response_hook=held["hook"],
        )
        held["etags"][name] = answer["etag"]

    return step


def _get(name: str, **more: Any) -> Step:
    def step(container: ContainerClient, held: dict[str, Any]) -> bytes:
        blob = container.get_blob_client(name)
        return blob.download_blob(raw_response_hook=held["hook"], **more).readall()

    return step


def _head(name: str) -> Step:
    def step(container: ContainerClient, held: dict[str, Any]) -> list[Any]:
        found = container.get_blob_client(name).get_blob_properties(raw_response_hook=held["hook"])
        policy = found.immutability_policy
        return [
            found.size,
            found.etag == held["etags"].get(name),
            policy.policy_mode,
            policy.expiry_time,
        ]

    return step


def _delete(name: str, **more: Any) -> Step:
    def step(container: ContainerClient, held: dict[str, Any]) -> None:
        container.get_blob_client(name).delete_blob(raw_response_hook=held["hook"], **more)

    return step


def _list(prefix: str, **more: Any) -> Step:
    def step(container: ContainerClient, held: dict[str, Any]) -> list[Any]:
        pages = container.list_blobs(prefix, raw_response_hook=held["hook"], **more)
        return [
            [
                b.name,
                b.size,
                b.version_id,
                b.is_current_version,
                b.etag == held["etags"].get(b.name),
            ]
            for b in pages
        ]

    return step


def _blocks(name: str, pieces: list[bytes], commit: list[int]) -> Step:
    def step(container: ContainerClient, held: dict[str, Any]) -> None:
        blob = container.get_blob_client(name)
        for number, piece in enumerate(pieces):
            blob.stage_block(f"block-{number}", piece)
        answer = blob.commit_block_list(
            [BlobBlock(f"block-{number}") for number in commit], raw_response_hook=held["hook"]
        )
        held["etags"][name] = answer["etag"]

    return step


def _batch(*names: str) -> Step:
    def step(container: ContainerClient, held: dict[str, Any]) -> list[int]:
        answers = container.delete_blobs(
            *names, raise_on_any_failure=False, raw_response_hook=held["hook"]
        )
        return [answer.status_code for answer in answers]

    return step


def _properties(container: ContainerClient, held: dict[str, Any]) -> list[Any]:
    found = container.get_container_properties(raw_response_hook=held["hook"])
    return [bool(found.has_legal_hold), bool(found.has_immutability_policy)]


STEPS: list[Step] = [
    _properties,
    _list(""),
    _get("absent"),
    _head("absent"),
    _delete("absent"),
    _put("a/small", b"content", overwrite=False),
    _put("a/small", b"others", overwrite=False),
    _get("a/small"),
    _head("a/small"),
    _put("a/empty", b""),
    _get("a/empty"),
    _put("a/small", b"second"),
    _put_if("a/small", b"third", "a/small"),
    _put_if("a/small", b"fourth", "a/empty"),
    _put_if("a/small", b"fourth", '"0x8D0000000000000"'),
    _put_if("never", b"x", "a/small"),
    _get("a/small"),
    _get("a/small", offset=2, length=2),
    _get("a/small", offset=2, length=100),
    _get("a/small", offset=99, length=1),
    _put("b", bytes(300_000)),
    _put("a/z.y_x-w=1", b"name"),
    _list(""),
    _list("a/"),
    _list("a/s"),
    _list("none"),
    _list("", results_per_page=2),
    _blocks("blocks", [b"one ", b"two ", b"three"], [0, 2]),
    _get("blocks"),
    _blocks("blocks", [b"four"], [0, 3]),
    _get("blocks"),
    _delete("blocks", etag='"0x8D0000000000000"', match_condition=MatchConditions.IfNotModified),
    _delete("blocks"),
    _delete("blocks"),
    _batch("a/empty", "absent", "b"),
    _list(""),
]  # fmt: skip


@pytest.mark.slow
def test_it_answers_as_azurite_does(azurite: ObjectServer, azure_wire: AzureInProcess) -> None:
    """Every request that both know: same status, error code, body, and headers that clients read."""
    name = f"wire-{secrets.token_hex(6)}"
    both = []
    for server in (azurite, azure_wire.server):
        make_container(server.port, name)
        both.append((client(server, name), {"etags": {}}))
    differing = []
    for number, step in enumerate(STEPS):
        real, ours = (seen(container, held, step) for container, held in both)
        if real != ours:
            differing.append((number, real, ours))
    assert differing == []


@pytest.mark.slow
def test_it_knows_the_same_signatures(azurite: ObjectServer, azure_wire: AzureInProcess) -> None:
    """A wrong key, an unsigned header of a policy, a shared access signature that has ended, allows less or was changed."""
    now = datetime.now(UTC)
    hour = timedelta(hours=1)

    def sas(permission: str, begins: datetime = now - hour, ends: datetime = now + hour) -> str:
        return generate_container_sas(
            AZURE_ACCOUNT, BUCKET, AZURE_KEY, permission=permission, start=begins, expiry=ends
        )

    wrong = {"account_name": AZURE_ACCOUNT, "account_key": AZURE_KEY[::-1].replace("==", "") + "=="}
    cases: dict[str, Any] = {
        "wrong key": wrong,
        "read": sas("r"),
        "write": sas("cw"),
        "over": sas("rcw", ends=now - hour / 2),
        "changed": sas("rcw").replace("sp=rcw", "sp=rcwd"),
    }
    azure_wire.account.containers[BUCKET] = azure_wire.account.containers["plain"]
    for what, credential in cases.items():
        statuses = []
        for server in (azurite, azure_wire.server):
            client(server, BUCKET).upload_blob("there", b"x", overwrite=True)
            container, held = client(server, BUCKET, credential), {"etags": {}}
            steps = (_get("there"), _put("there", b"y", overwrite=True), _properties)
            statuses.append([seen(container, held, step)["status"] for step in steps])
        assert statuses[0] == statuses[1], what


def raw(server: ObjectServer, method: str, path: str, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path, b"", headers)
        return connection.getresponse().status


@pytest.mark.slow
def test_a_header_that_is_not_signed_is_refused(
    azurite: ObjectServer, azure_wire: AzureInProcess
) -> None:
    """
    By both. So the headers of a policy never travel under the account key's own signature, which obstore makes without them.
    """
    azure_wire.account.containers[BUCKET] = azure_wire.account.containers["locked"]
    for server in (azurite, azure_wire.server):
        sent: list[Any] = []
        container = client(server, BUCKET)
        container.upload_blob("x", b"", overwrite=True, raw_request_hook=sent.append)
        request = sent[-1].http_request
        path = f"{urlsplit(request.url).path}?{urlsplit(request.url).query}".rstrip("?")
        headers = {name: value for name, value in request.headers.items() if value}
        assert raw(server, "PUT", path, headers) == 201
        for name in ("x-ms-immutability-policy-mode", "x-ms-anything"):
            assert raw(server, "PUT", path, headers | {name: "Unlocked"}) == 403


# -- what Azurite lacks -------------------------------------------------------------------------------


@pytest.fixture
def container(azure_wire: AzureInProcess) -> ContainerClient:
    return client(azure_wire.server, "locked")


def refusal(act: Callable[[], object]) -> tuple[int | None, str]:
    with pytest.raises(HttpResponseError) as caught:
        act()
    code = getattr(caught.value, "error_code", "")
    return caught.value.status_code, str(getattr(code, "value", code))


def versions(container: ContainerClient, name: str) -> list[tuple[str, bool]]:
    found = container.list_blobs(name, include=["versions"])
    return [(blob.version_id, bool(blob.is_current_version)) for blob in found]


def test_versions_as_documented(container: ContainerClient) -> None:
    """
    "Blob versioning", "Delete Blob": a write and a deletion make a previous version; a previous one goes by its id, the current
    one does not.
    """
    blob = container.get_blob_client("a")
    ids = [blob.upload_blob(b"%d" % n, overwrite=True)["version_id"] for n in range(3)]
    assert ids == sorted(ids)
    assert versions(container, "a") == [(ids[0], False), (ids[1], False), (ids[2], True)]
    assert [blob.download_blob(version_id=i).readall() for i in ids] == [b"0", b"1", b"2"]
    assert refusal(lambda: blob.delete_blob(version_id=ids[2])) == (
        403,
        "OperationNotAllowedOnRootBlob",
    )
    blob.delete_blob()
    assert refusal(blob.download_blob) == (404, "BlobNotFound")
    assert versions(container, "a") == [(i, False) for i in ids]
    blob.delete_blob(version_id=ids[1])
    assert versions(container, "a") == [(ids[0], False), (ids[2], False)]
    assert blob.upload_blob(b"new", overwrite=False)["version_id"] > ids[2]


def test_policies_as_documented(container: ContainerClient, azure_wire: AzureInProcess) -> None:
    """
    "Version-level WORM policies", "Set Blob Immutability Policy": an active policy keeps its version; a locked one only
    grows; an unlocked one may be shortened and taken away; a write adds a version.
    """
    until = azure_wire.clock().replace(microsecond=0) + timedelta(hours=1)

    def policy(mode: str, hours: int = 0) -> ImmutabilityPolicy:
        return ImmutabilityPolicy(expiry_time=until + timedelta(hours=hours), policy_mode=mode)

    blob = container.get_blob_client("a")
    first = blob.upload_blob(b"1", immutability_policy=policy("Locked"))["version_id"]
    second = blob.upload_blob(b"2", overwrite=True)["version_id"]
    assert blob.get_blob_properties().immutability_policy.policy_mode is None
    found = blob.get_blob_properties(version_id=first).immutability_policy
    assert (found.policy_mode, found.expiry_time) == ("locked", until)
    immutable = (409, "BlobImmutableDueToPolicy")
    assert refusal(lambda: blob.delete_blob(version_id=first)) == immutable
    blob.set_immutability_policy(policy("Unlocked", 2))
    blob.set_immutability_policy(policy("Unlocked", 1))
    blob.delete_immutability_policy()
    blob.set_immutability_policy(policy("Unlocked", 1))
    blob.set_immutability_policy(policy("Locked", 1))
    for changed in (policy("Locked"), policy("Unlocked", 3)):
        assert refusal(lambda p=changed: blob.set_immutability_policy(p))[0] == 409  # type: ignore[misc]
    assert refusal(blob.delete_immutability_policy)[0] == 409
    blob.set_immutability_policy(policy("Locked", 2))
    blob.delete_blob()
    assert refusal(lambda: blob.delete_blob(version_id=second)) == immutable
    azure_wire.clock.advance(3600)
    blob.delete_blob(version_id=first)
    azure_wire.clock.advance(7200)
    blob.delete_blob(version_id=second)
    assert versions(container, "a") == []


def test_a_container_without_support_takes_no_policy(azure_wire: AzureInProcess) -> None:
    """Neither with a write nor afterwards; and says so in its properties."""
    until = azure_wire.clock() + timedelta(hours=1)
    policy = ImmutabilityPolicy(expiry_time=until, policy_mode="Locked")
    for name in ("versioned", "plain"):
        container = client(azure_wire.server, name)
        blob = container.get_blob_client("a")
        with pytest.raises(AzureError):
            blob.upload_blob(b"1", immutability_policy=policy)
        blob.upload_blob(b"1")
        with pytest.raises(AzureError):
            blob.set_immutability_policy(policy)
        found = container.get_container_properties()
        assert found.immutable_storage_with_versioning_enabled is False
        assert (blob.get_blob_properties().version_id is not None) == (name == "versioned")
