"""Sessions through the public API of a whole installation: real servers, real processes."""

import http.client
import json
import ssl
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from server.domain.audit import AuditRecord, ChainCheck
from tests.fixtures.installation import Installation, until

pytestmark = pytest.mark.slow


def test_a_session_with_good_and_bad_objects(installation: Installation) -> None:
    """Ends with a warning; every object says what happened to it, every item its cause."""
    session = installation.started(["good", "partial", "broken", "bug"])
    row = installation.ended(session)
    assert (row["state"], row["totals"]["tasks"], row["totals"]["tasks_failed"]) == (
        "warning",
        6,
        2,
    )
    tasks = {task["object_name"] or task["kind"]: task for task in installation.tasks(session)}
    assert tasks["good"]["state"] == "success"
    assert tasks["partial"]["state"] == "warning"
    assert tasks["broken"]["error_code"] == "mailbox-unavailable"
    assert tasks["bug"]["error_code"] == "internal-error"
    # An exception's own text may quote items: it is nowhere.
    assert "secret item text" not in installation.logs()
    assert "secret item text" not in json.dumps(tasks)
    outcomes = installation.call("GET", f"/api/v1/sessions/{session}/outcomes").json["items"]
    assert [(o["item"], o["cause"]) for o in outcomes] == [("m1", "item-too-large")]
    points = (installation.script_dir / "points").read_text().splitlines()
    point, manifests = json.loads(points[-1])
    assert point == row["point"]
    assert set(manifests) == {f"manifest-{tasks[name]['id']}" for name in ("good", "partial")}
    organization = row["organization"]
    objects = installation.call("GET", f"/api/v1/organizations/{organization}/objects").json
    assert {found["name"] for found in objects["items"]} == {"good", "partial", "broken", "bug"}


def _events(installation: Installation, path: str, last: str = "") -> Iterator[tuple[str, Any]]:
    headers = {"Authorization": f"Bearer {installation.token}"}
    if last:
        headers["Last-Event-ID"] = last
    request = urllib.request.Request(f"{installation.url}{path}", headers=headers)
    context = ssl.create_default_context(cafile=str(installation.data_dir / "ca" / "ca.pem"))
    with urllib.request.urlopen(request, context=context, timeout=30) as stream:
        place = ""
        for raw in stream:
            line = raw.decode().rstrip("\n")
            if line.startswith("id: "):
                place = line[4:]
            elif line.startswith("data: "):
                yield place, json.loads(line[6:])


def test_events_are_streamed_and_replayed(installation: Installation) -> None:
    """From the beginning, then again from the middle: the same events in the same order."""
    session = installation.started(["good"])
    path = f"/api/v1/sessions/{session}/events"
    seen = list(_events(installation, path))
    kinds = [body["kind"] for _, body in seen]
    assert kinds[0] == kinds[-1] == "session"
    assert {"leased", "discovered", "committed", "finished"} <= set(kinds)
    assert list(_events(installation, path, seen[3][0])) == seen[4:]


def test_a_job_runs_once_at_a_time_and_can_be_stopped(installation: Installation) -> None:
    """A second start is a conflict; stop ends it without a restore point."""
    job = installation.made_job(["slow"])
    session = installation.call("POST", f"/api/v1/jobs/{job}/start").json["id"]
    again = installation.call("POST", f"/api/v1/jobs/{job}/start")
    assert (again.status, again.problem["code"]) == (409, "job-running")
    assert installation.call("DELETE", f"/api/v1/jobs/{job}").status == 409
    until(lambda: (installation.script_dir / "waiting").exists(), 20)
    assert installation.call("POST", f"/api/v1/sessions/{session}/stop").status == 202
    row = installation.ended(session)
    assert (row["state"], row["point"]) == ("stopped", None)
    late = installation.call("POST", f"/api/v1/sessions/{session}/stop")
    assert (late.status, late.problem["code"]) == (409, "session-ended")
    assert installation.call("DELETE", f"/api/v1/jobs/{job}").status == 204


def test_a_verification_is_a_session(installation: Installation) -> None:
    """Its task carries the report."""
    installation.made_job(["good"])
    repository = installation.call("GET", "/api/v1/repositories").json["items"][-1]["id"]
    answer = installation.call("POST", f"/api/v1/repositories/{repository}/verify")
    assert answer.status == 202
    assert installation.ended(answer.json["id"])["state"] == "success"
    assert installation.tasks(answer.json["id"])[0]["report"] == {"packs": 7}
    wrong = installation.call(
        "POST", f"/api/v1/repositories/{repository}/verify", {"level": "deep"}
    )
    assert wrong.status == 422


def test_restore_points_are_asked_of_a_proxy(installation: Installation) -> None:
    """Listing, browsing, errors of the proxy, bytes through its own port."""
    installation.made_job(["good"])
    repository = installation.call("GET", "/api/v1/repositories?limit=1000").json["items"][-1]["id"]
    base = f"/api/v1/restore-points/{repository}"
    points = installation.call("GET", f"/api/v1/restore-points?repository={repository}").json
    assert [point["id"] for point in points["items"]] == ["p2", "p1"]
    page = installation.call("GET", f"{base}/latest/browse?path=user/mail&limit=2").json
    assert [item["name"] for item in page["items"]] == ["user/mail/0", "user/mail/1"]
    assert page["next"] == "more"
    missing = installation.call("GET", f"{base}/nowhere/browse")
    assert (missing.status, missing.problem["code"]) == (404, "point-not-found")
    item = installation.call("GET", f"{base}/latest/download?path=user/mail/1")
    assert item.body == b"x" * (40 * 65536)
    assert item.headers["content-disposition"].startswith('attachment; filename="Re_ _offer_')
    assert "set-cookie" not in item.headers
    page = installation.call("GET", f"{base}/latest/download?path=user/mail/1&format=html")
    assert page.headers["content-disposition"].startswith('attachment; filename="page.html"')
    assert installation.call("GET", f"{base}/latest/download?path=a&format=pst").status == 422
    with pytest.raises((http.client.IncompleteRead, OSError)):
        installation.call("GET", f"{base}/latest/download?path=torn")


def test_the_audit_chain_is_whole(installation: Installation) -> None:
    """What people did is there, in a chain that verifies; secrets are not in it."""
    installation.started(["good"])
    entries, after = [], ""
    while True:
        page = installation.call("GET", f"/api/v1/audit?limit=20&after={after}").json
        entries += page["items"]
        after = page["next"]
        if after is None:
            break
    actions = {entry["action"] for entry in entries}
    assert {"create-user", "sign-in", "create-organization", "start-job", "join-proxy"} <= actions
    check = ChainCheck()
    for entry in reversed(entries):
        details = json.dumps(entry["details"], separators=(",", ":"), ensure_ascii=False)
        texts = (entry["at"], entry["actor"], entry["action"], entry["target"], details)
        hashes = (bytes.fromhex(entry["previous_hash"]), bytes.fromhex(entry["hash"]))
        check.accept(AuditRecord(entry["sequence"], *texts, *hashes))
    assert check.broken_at is None
    text = json.dumps(entries)
    assert "the client secret" not in text
    assert "the passphrase" not in text


def test_nothing_secret_is_stored_or_logged_in_the_clear(installation: Installation) -> None:
    """Not in logs, not in the database's or the bus's files; private files are private."""
    installation.ended(installation.started(["good"]))
    secrets = [b"the client secret", b"the passphrase"]
    for path in installation.data_dir.rglob("*"):
        if path.is_file():
            body = path.read_bytes()
            assert not any(secret in body for secret in secrets), path
    for name in ("installation.json", "server.json", "secrets.key", "proxies/1/join.json"):
        assert (installation.data_dir / name).stat().st_mode & 0o077 == 0
