"""The one table of faults."""

import json

import pytest

from engine.errors import Conflict, Denied, NotFound, Throttled, Unavailable
from proxy.graph.errors import GraphItemFault, GraphServiceMissing
from proxy.graph.faults import Duty, Situation, classify, error_codes, retry_after_s

NOW = 1_763_900_000.0


def body(*codes: str, spelling: str = "innerError") -> bytes:
    node: dict[str, object] = {}
    for code in reversed(codes):
        node = {"code": code, "message": "canary", **({spelling: node} if node else {})}
    return json.dumps({"error": node}).encode()


@pytest.mark.parametrize(
    ("status", "content", "headers", "duty", "code", "error"),
    [
        (429, body("ApplicationThrottled"), {}, Duty.PAUSE, "graph-throttled", Throttled),
        (429, b"", {"retry-after": "7"}, Duty.PAUSE, "graph-throttled", Throttled),
        (503, b"<html>busy</html>", {"retry-after": "7"}, Duty.PAUSE, "graph-throttled", Throttled),
        (503, b"<html>busy</html>", {}, Duty.RETRY, "graph-unavailable", Unavailable),
        (509, b"", {}, Duty.PAUSE, "graph-throttled", Throttled),
        (500, body("generalException"), {}, Duty.RETRY, "graph-unavailable", Unavailable),
        (502, b"", {}, Duty.RETRY, "graph-unavailable", Unavailable),
        (504, b"", {}, Duty.RETRY, "graph-unavailable", Unavailable),
        (401, body("InvalidAuthenticationToken"), {}, Duty.TOKEN, "graph-signed-out", Denied),
        (410, body("SyncStateNotFound"), {}, Duty.GIVE_UP, "graph-resync", Conflict),
        (410, b"", {}, Duty.GIVE_UP, "graph-resync", Conflict),
        (400, body("resyncRequired"), {}, Duty.GIVE_UP, "graph-resync", Conflict),
        (404, body("ErrorItemNotFound"), {}, Duty.GIVE_UP, "graph-not-found", NotFound),
        (404, b"", {}, Duty.RETRY, "graph-empty-not-found", NotFound),
        (
            404,
            body("MailboxNotEnabledForRESTAPI"),
            {},
            Duty.GIVE_UP,
            "graph-service-missing",
            GraphServiceMissing,
        ),
        (403, body("ErrorAccessDenied"), {}, Duty.GIVE_UP, "graph-denied", Denied),
        (
            403,
            body("accessDenied", "malwareDetected"),
            {},
            Duty.GIVE_UP,
            "graph-item-malware",
            GraphItemFault,
        ),
        (423, body("resourceLocked"), {}, Duty.GIVE_UP, "graph-locked", Denied),
        (500, body("ErrorCorruptData"), {}, Duty.GIVE_UP, "graph-item-corrupt", GraphItemFault),
        (
            500,
            body("ErrorMimeContentConversionFailed"),
            {},
            Duty.GIVE_UP,
            "graph-mime-conversion",
            GraphItemFault,
        ),
        (
            403,
            body("activityLimitReached", "throttledRequest", "quota"),
            {},
            Duty.PAUSE,
            "graph-throttled",
            Throttled,
        ),
    ],
)
def test_the_table(
    status: int,
    content: bytes,
    headers: dict[str, str],
    duty: Duty,
    code: str,
    error: type[Exception],
) -> None:
    fault = classify(status, headers, content, now=NOW)
    assert (fault.duty, fault.code) == (duty, code)
    made = fault.to_error("Read a page")
    assert isinstance(made, error)
    assert made.code == code
    assert "canary" not in str(made)


def test_a_bad_request_along_a_link_means_that_the_token_is_dead() -> None:
    plain = classify(400, {}, body("BadRequest"), now=NOW)
    link = classify(400, {}, body("BadRequest"), now=NOW, situation=Situation(follows_link=True))
    assert (plain.code, link.code) == ("graph-refused", "graph-resync")


def test_a_doubtful_answer_is_tried_again_a_few_times() -> None:
    assert classify(400, {}, body("invalidRequest"), now=NOW).duty is Duty.RETRY
    assert classify(400, {}, body("invalidRequest"), now=NOW).tries_max == 3
    assert classify(404, {}, b"", now=NOW).tries_max == 3


def test_codes_of_odd_bodies() -> None:
    assert error_codes(body("a", "b", "c")) == ["a", "b", "c"]
    assert error_codes(body("a", "b", spelling="innererror")) == ["a", "b"]
    for odd in (b"", b"<html>", b"[]", b'{"error": "text"}', b'{"error": {"code": 5}}', b"{\xff"):
        assert error_codes(odd) == []


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "12"}, 12.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "999999"}, 3600.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
        (
            {
                "retry-after": "Mon, 23 Nov 2026 10:00:30 GMT",
                "date": "Mon, 23 Nov 2026 10:00:00 GMT",
            },
            30.0,
        ),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, NOW) == seconds
