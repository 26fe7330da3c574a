"""Bad input at the REST API: every refusal is a problem with the right status, nothing breaks."""

import asyncio
import contextlib
import json
import re
import ssl
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import asyncpg
import pytest

from server.api.access import token_hash
from server.settings import read_settings
from tests.fixtures.installation import Installation, until

pytestmark = pytest.mark.slow

UNKNOWN = "0" * 32
GOOD_ORGANIZATION = {
    "name": "Fabrikam",
    "tenant_id": "t",
    "client_id": "c",
    "client_secret": "the client secret",
}
GOOD_JOB = {
    "name": "J",
    "organization": UNKNOWN,
    "repository": UNKNOWN,
    "workloads": ["mail"],
    "users": [],
}


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("organizations", {**GOOD_ORGANIZATION, "extra": 1}, "/body/extra"),
        ("organizations", {**GOOD_ORGANIZATION, "name": 7}, "/body/name"),
        ("organizations", {**GOOD_ORGANIZATION, "name": ""}, "/body/name"),
        ("organizations", {**GOOD_ORGANIZATION, "name": "a\0b"}, "/body/name"),
        ("organizations", {**GOOD_ORGANIZATION, "name": "a" * 201}, "/body/name"),
        ("organizations", {**GOOD_ORGANIZATION, "name": None}, "/body/name"),
        ("organizations", {**GOOD_ORGANIZATION, "authority": "http://x"}, "/body/authority"),
        ("organizations", {**GOOD_ORGANIZATION, "certificate": "x"}, "/body"),
        ("organizations", {"name": "x", "tenant_id": "t", "client_id": "c"}, "/body"),
        ("organizations", [], "/body"),
        ("organizations", "text", "/body"),
        ("organizations", None, "/body"),
        ("jobs", {**GOOD_JOB, "workloads": ["tree"]}, "/body/workloads/0"),
        ("jobs", {**GOOD_JOB, "workloads": []}, "/body/workloads"),
        ("jobs", {**GOOD_JOB, "workloads": "mail"}, "/body/workloads"),
        ("jobs", {**GOOD_JOB, "users": [1]}, "/body/users/0"),
        ("jobs", {**GOOD_JOB, "organization": "../x"}, "/body/organization"),
        ("jobs", {**GOOD_JOB, "organization": True}, "/body/organization"),
        ("users", {"name": "u", "password": "short", "roles": ["viewer"]}, "/body/password"),
        ("users", {"name": "u", "password": "x" * 20, "roles": ["king"]}, "/body/roles/0"),
        ("pools", {"name": "Not.A.Word"}, "/body/name"),
    ],
)
def test_wrong_bodies(installation: Installation, path: str, body: Any, place: str) -> None:
    """422, and where; what was sent is not repeated."""
    headers = {"Content-Type": "application/json"}
    raw = json.dumps(body).encode()
    answer = installation.call("POST", f"/api/v1/{path}", raw=raw, headers=headers)
    assert answer.status == 422, answer.body
    assert place in {error["location"] for error in answer.problem["errors"]}
    assert b"the client secret" not in answer.body


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/jobs?limit=0",
        "/api/v1/jobs?limit=x",
        "/api/v1/jobs?limit=1001",
        "/api/v1/jobs/not-an-id",
        "/api/v1/sessions?job=x",
        "/api/v1/restore-points",
        "/api/v1/audit?after=-1",
        f"/api/v1/restore-points/{UNKNOWN}/a%00b/browse",
    ],
)
def test_wrong_parameters(installation: Installation, path: str) -> None:
    """422 as well."""
    answer = installation.call("GET", path)
    assert (answer.status, answer.problem["code"]) == (422, "invalid")


@pytest.mark.parametrize("raw", [b"{", b"", b"\xff\xfe", b'{"name": NaN', b"[" * 100_000])
def test_malformed_json(installation: Installation, raw: bytes) -> None:
    """400, or 422 for no body at all."""
    headers = {"Content-Type": "application/json"}
    answer = installation.call("POST", "/api/v1/jobs", raw=raw, headers=headers)
    assert answer.status == (400 if raw else 422), answer.body
    assert answer.problem["code"] == ("malformed" if raw else "invalid")


def test_other_media_types(installation: Installation) -> None:
    """415 for JSON operations and for the form of /token."""
    for sent in ("text/plain", "application/xml", "application/x-www-form-urlencoded", "nonsense"):
        answer = installation.call(
            "POST", "/api/v1/jobs", raw=b"{}", headers={"Content-Type": sent}
        )
        assert (answer.status, answer.problem["code"]) == (415, "media-type-unsupported"), sent
    answer = installation.call("POST", "/api/v1/token", {"username": "a"})
    assert answer.status == 415


def test_other_methods_and_paths(installation: Installation) -> None:
    """405 with Allow, 404."""
    answer = installation.call("DELETE", "/api/v1/jobs")
    assert (answer.status, answer.problem["code"]) == (405, "method-not-allowed")
    assert answer.headers["allow"]
    for path in ("/api/v1/nothing", "/nothing", f"/api/v1/jobs/{UNKNOWN}", "/api/v1/jobs/"):
        assert installation.call("GET", path).problem["status"] == 404


def test_huge_bodies(installation: Installation) -> None:
    """413, announced or in pieces, before it is all taken; signing in as well."""
    headers = {"Content-Type": "application/json"}
    huge = b'"' + b"x" * (2 * 1024 * 1024) + b'"'
    answer = installation.call("POST", "/api/v1/jobs", raw=huge, headers=headers)
    assert (answer.status, answer.problem["code"]) == (413, "body-too-large")

    def pieces() -> Iterator[bytes]:
        for _ in range(32):
            yield b"x" * 65536

    answer = installation.call("POST", "/api/v1/jobs", raw=pieces(), headers=headers)
    assert (answer.status, answer.problem["code"]) == (413, "body-too-large")
    form = urlencode({"grant_type": "password", "username": "a", "password": "x" * 2_000_000})
    assert installation.call("POST", "/api/v1/token", raw=form.encode()).status == 413


def test_tokens(installation: Installation) -> None:
    """None, unknown, of another kind, revoked: 401 with a challenge; nothing is said about why."""
    for header in ({}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}):
        with signed_in_as(installation, ""):
            answer = installation.call("GET", "/api/v1/jobs", headers=header)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    for token in ("nonsense", "x" * 5000, "é"):
        with signed_in_as(installation, ""):
            sent = {"Authorization": f"Bearer {token}"}
            answer = installation.call("GET", "/api/v1/jobs", headers=sent)
        assert (answer.status, answer.problem["code"]) == (401, "unauthenticated")
    with signed_in_as(installation, installation.sign_in().json["access_token"]):
        assert installation.call("GET", "/api/v1/me").json["name"] == "admin"
        assert installation.call("POST", "/api/v1/token/revoke").status == 204
        assert installation.call("GET", "/api/v1/me").status == 401


def test_an_expired_token(installation: Installation) -> None:
    """A token whose life has run out is worth nothing: 401, like one that never was."""
    token = installation.sign_in().json["access_token"]
    settings = read_settings(installation.data_dir / "server.json")

    async def run_out() -> None:
        connection = await asyncpg.connect(settings.postgres)
        try:
            done = await connection.execute(
                "UPDATE tokens SET expires_at = now() - interval '1 second' WHERE hash = $1",
                token_hash(token),
            )
            assert done == "UPDATE 1"
        finally:
            await connection.close()

    with signed_in_as(installation, token):
        assert installation.call("GET", "/api/v1/me").status == 200
        asyncio.run(run_out())
        answer = installation.call("GET", "/api/v1/me")
    assert (answer.status, answer.problem["code"]) == (401, "unauthenticated")


@contextlib.contextmanager
def signed_in_as(installation: Installation, token: str) -> Iterator[None]:
    """Use another token for a while."""
    before, installation.token = installation.token, token
    try:
        yield
    finally:
        installation.token = before


def test_rights(installation: Installation) -> None:
    """A role's scopes and a narrower token's: 403 with the missing scope; removal ends it all."""
    password = "a long enough password"
    user = installation.call(
        "POST", "/api/v1/users", {"name": "vera", "password": password, "roles": ["viewer"]}
    )
    assert user.status == 201
    assert "password" not in user.json
    token = installation.sign_in("vera", password).json["access_token"]
    refused = [
        ("POST", "/api/v1/jobs", GOOD_JOB),
        ("POST", "/api/v1/organizations", GOOD_ORGANIZATION),
        ("POST", f"/api/v1/jobs/{UNKNOWN}/start", None),
        ("POST", "/api/v1/pools/default/proxies", None),
        ("GET", f"/api/v1/restore-points?repository={UNKNOWN}", None),
        ("GET", f"/api/v1/restore-points/{UNKNOWN}/p/download?path=a", None),
        ("GET", "/api/v1/users", None),
        ("GET", "/api/v1/audit", None),
    ]
    with signed_in_as(installation, token):
        for method, path, body in refused:
            answer = installation.call(method, path, body)
            assert (answer.status, answer.problem["code"]) == (403, "missing-right"), path
            assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        assert installation.call("GET", "/api/v1/jobs").status == 200
    narrow = installation.sign_in(scope="jobs:read").json
    assert narrow["scope"] == "jobs:read"
    with signed_in_as(installation, narrow["access_token"]):
        assert installation.call("GET", "/api/v1/jobs").status == 200
        assert installation.call("GET", "/api/v1/sessions").status == 403
    wide = installation.sign_in("vera", password, "users:write")
    assert (wide.status, wide.problem["error"]) == (400, "invalid_scope")
    assert installation.call("DELETE", f"/api/v1/users/{user.json['id']}").status == 204
    with signed_in_as(installation, token):
        assert installation.call("GET", "/api/v1/jobs").status == 401


def test_the_last_administrator_stays(installation: Installation) -> None:
    """Nobody locks everybody out."""
    me = installation.call("GET", "/api/v1/me").json["id"]
    answer = installation.call("DELETE", f"/api/v1/users/{me}")
    assert (answer.status, answer.problem["code"]) == (409, "last-administrator")


def test_conflicts(installation: Installation) -> None:
    """Names are unique; what is referred to stays; what is not there cannot be referred to."""
    job = installation.made_job(["good"])
    row = installation.call("GET", f"/api/v1/jobs/{job}").json
    name = installation.call("GET", f"/api/v1/repositories/{row['repository']}").json["name"]
    twice = {"name": name, "url": "/vault", "passphrase": "p"}
    assert installation.call("POST", "/api/v1/repositories", twice).problem["status"] == 409
    assert installation.call("DELETE", f"/api/v1/repositories/{row['repository']}").status == 409
    assert installation.call("DELETE", f"/api/v1/organizations/{row['organization']}").status == 409
    assert installation.call("POST", "/api/v1/jobs", GOOD_JOB).problem["code"] == "in-use"
    changed = {"name": "Renamed", "workloads": ["drives", "drives"], "users": []}
    answer = installation.call("PUT", f"/api/v1/jobs/{job}", changed)
    assert (answer.status, answer.json["workloads"]) == (200, ["drives"])
    assert installation.call("DELETE", f"/api/v1/jobs/{job}").status == 204
    assert installation.call("DELETE", f"/api/v1/repositories/{row['repository']}").status == 204
    assert installation.call("DELETE", f"/api/v1/organizations/{row['organization']}").status == 204


def test_secrets_are_never_returned(installation: Installation) -> None:
    """Nothing that reads organizations and repositories shows what signs in to them."""
    installation.made_job(["good"])
    for path in ("organizations", "repositories", "jobs", "audit"):
        answer = installation.call("GET", f"/api/v1/{path}?limit=1000")
        assert answer.status == 200
        assert b"the client secret" not in answer.body
        assert b"the passphrase" not in answer.body


def test_pages(installation: Installation) -> None:
    """Following `next` gives everything once."""
    for number in range(5):
        installation.call("POST", "/api/v1/pools", {"name": f"pool-{number}"})
    found, after = [], ""
    while True:
        page = installation.call("GET", f"/api/v1/pools?limit=2&after={after}").json
        assert len(page["items"]) <= 2
        found += [pool["name"] for pool in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert found == sorted(set(found))
    assert {"default", "pool-0", "pool-4"} <= set(found)


def test_a_proxy_joins_and_is_removed(installation: Installation) -> None:
    """The document comes once; the account is gone with the proxy."""
    document = installation.call("POST", "/api/v1/pools/default/proxies").json
    account = installation.data_dir / "nats" / "users" / f"{document['proxy']}.json"
    assert account.stat().st_mode & 0o077 == 0
    listed = installation.call("GET", "/api/v1/proxies").json["items"]
    online = {proxy["id"]: proxy["online"] for proxy in listed}
    assert online[document["proxy"]] is False
    assert sum(online.values()) == 2
    assert installation.call("DELETE", f"/api/v1/proxies/{document['proxy']}").status == 204
    assert installation.call("DELETE", f"/api/v1/proxies/{document['proxy']}").status == 404
    assert not account.exists()
    users = installation.data_dir / "nats" / "users.conf"
    until(lambda: document["proxy"] not in users.read_text(encoding="utf-8"), 10)
    assert installation.call("POST", "/api/v1/pools/none/proxies").problem["status"] == 404


def test_no_proxy_in_the_pool(installation: Installation) -> None:
    """503 that says so."""
    installation.call("POST", "/api/v1/pools", {"name": "empty"})
    made = {"name": "Alone", "url": "/v", "passphrase": "p", "pool": "empty"}
    repository = installation.call("POST", "/api/v1/repositories", made).json["id"]
    answer = installation.call("GET", f"/api/v1/restore-points/{repository}/latest/browse")
    assert (answer.status, answer.problem["code"]) == (503, "no-proxy")
    assert "empty" in answer.problem["detail"]


def test_headers(installation: Installation) -> None:
    """Security headers on answers, errors and pages."""
    for path in ("/api/v1/health", "/api/v1/jobs", "/nothing", "/api/v1/openapi.json"):
        headers = installation.call("GET", path).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["strict-transport-security"].startswith("max-age=")
        assert "server" not in headers
    front = urllib.request.Request(f"{installation.url}/", method="HEAD")
    context = ssl.create_default_context(cafile=str(installation.data_dir / "ca" / "ca.pem"))
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(front, context=context, timeout=10)


def test_guessing_is_braked(installation: Installation) -> None:
    """After some failures the address waits, whatever name it tries; then the right one too."""
    statuses = [installation.sign_in("nobody", f"guess {n}").status for n in range(11)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    answer = installation.sign_in()
    assert (answer.status, answer.problem["code"]) == (429, "too-many-attempts")
    assert int(answer.headers["retry-after"]) > 0
    # A token that was given before works on.
    assert installation.call("GET", "/api/v1/me").status == 200
    # The table is in the server's memory: a new process lets the other tests sign in.
    installation.kill("server")
    until(lambda: installation.sign_in().status == 200, 30, installation.logs)


def test_the_document_is_complete(installation: Installation) -> None:
    """OpenAPI 3.1: every operation named, secured, with its errors as problems."""
    document = installation.call("GET", "/api/v1/openapi.json").json
    assert document["openapi"].startswith("3.1")
    names = []
    for path, methods in document["paths"].items():
        for operation in methods.values():
            names.append(operation["operationId"])
            assert operation["summary"]
            assert operation["tags"]
            open_to_all = path in ("/api/v1/health", "/api/v1/token")
            assert open_to_all or operation["security"], path
            for status, response in operation["responses"].items():
                if int(status) >= 400 and path != "/api/v1/health":
                    assert list(response["content"]) == ["application/problem+json"], path
    assert len(names) == len(set(names)) > 30
    assert all(re.fullmatch(r"[a-z][A-Za-z]+", name) for name in names)
    flow = document["components"]["securitySchemes"]["token"]["flows"]["password"]
    assert "jobs:run" in flow["scopes"]


def test_a_job_keeps_whom_and_what_it_covers(installation: Installation) -> None:
    """The selection comes back as it was given, everything by default; what is no date or policy is refused."""
    job = f"/api/v1/jobs/{installation.made_job(['good'])}"
    made = installation.call("GET", job).json
    assert made["selection"] == {
        "groups": [],
        "filter": "",
        "without_users": [],
        "folders": [],
        "without_folders": [],
        "received_from": "",
        "received_until": "",
        "recoverable_items": False,
        "mail_policy": "full",
        "dated_from": "",
        "dated_until": "",
    }
    chosen = {
        "groups": ["Legal"],
        "folders": ["@inbox", "calendar:Team"],
        "dated_from": "2026-01-01",
    }
    content = {"name": made["name"], "workloads": ["mail"], "users": [], "selection": chosen}
    changed = installation.call("PUT", job, content)
    assert changed.status == 200
    assert installation.call("GET", job).json["selection"] == made["selection"] | chosen
    for wrong in ({"dated_from": "yesterday"}, {"mail_policy": "some"}, {"colour": "red"}):
        answer = installation.call("PUT", job, content | {"selection": wrong})
        assert answer.status == 422, wrong
