"""The one table of faults."""

import json

import pytest

from engine.errors import Conflict, Denied, NotFound, Throttled, Unavailable
from proxy.graph.errors import GraphItemFault, GraphServiceMissing
from proxy.graph.faults import Duty, Situation, classify, error_codes, retry_after_s

NOW = 1_763_900_000.0


def body(*codes: str, spelling: str = "innerError", text: str = "canary") -> bytes:
    node: dict[str, object] = {}
    for code in reversed(codes):
        node = {"code": code, "message": text, **({spelling: node} if node else {})}
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


@pytest.mark.parametrize(
    ("lesson", "status", "content", "code", "duty"),
    [
        (9, 504, b"", "graph-unavailable", Duty.RETRY),
        (10, 500, body("UnknownError"), "graph-unavailable", Duty.RETRY),
        (
            11,
            400,
            body("BadRequest", text="IO error during request payload read."),
            "graph-unavailable",
            Duty.RETRY,
        ),
        (15, 400, body("invalidRequest"), "graph-refused", Duty.RETRY),
        (16, 404, b"", "graph-empty-not-found", Duty.RETRY),
        (17, 503, b"", "graph-unavailable", Duty.RETRY),
        (23, 404, body("ResourceNotFound", text="Not found"), "graph-service-missing", None),
        (23, 404, body("ResourceNotFound", text="User not found"), "graph-object-missing", None),
        (23, 404, body("ErrorInvalidUser"), "graph-object-missing", None),
        (23, 404, body("Request_ResourceNotFound"), "graph-object-missing", None),
        (24, 423, body("notAllowed"), "graph-locked", None),
        (24, 403, body("accessDenied", "resourceLocked"), "graph-locked", None),
        (
            24,
            401,
            body("x", text="... a subscription within the tenant has lapsed, or ..."),
            "graph-locked",
            None,
        ),
        (26, 401, body("AuthenticationError"), "graph-service-missing", None),
        (26, 403, body("MailboxNotEnabledForRESTAPI"), "graph-service-missing", None),
        (27, 404, body("itemNotFound", text="User's mysite not found."), "graph-service-missing", None),
        (27, 400, body("x", text="Tenant does not have a SPO license."), "graph-service-missing", None),
        (31, 410, body("SyncStateInvalid"), "graph-resync", None),
        (31, 400, body("resyncRequired"), "graph-resync", None),
        (
            33,
            400,
            body("BadRequest", text="Parameter 'DeltaToken' not supported for this request."),
            "graph-delta-unsupported",
            None,
        ),
        (33, 501, body("x", text="Change tracking is not supported"), "graph-delta-unsupported", None),
        (35, 403, body("ErrorQuotaExceeded"), "graph-quota", None),
        (82, 500, body("ErrorTooManyObjectsOpened"), "graph-throttled", Duty.PAUSE),
        (84, 500, body("ErrorCannotOpenFileAttachment"), "graph-item-corrupt", None),
        (85, 400, body("ErrorInvalidRecipients"), "graph-item-corrupt", None),
        (86, 500, body("ErrorCorruptData"), "graph-item-corrupt", None),
        (87, 500, body("ErrorSyncFolderNotFound"), "graph-not-found", None),
        (87, 404, body("ErrorItemNotFound"), "graph-not-found", None),
    ],
)  # fmt: skip
def test_the_lessons(
    lesson: int, status: int, content: bytes, code: str, duty: Duty | None
) -> None:
    """Lessons 9-35 and 82-87: what was learnt of each answer stands in the table."""
    fault = classify(status, {}, content, now=NOW)
    assert (fault.code, fault.duty) == (code, duty or Duty.GIVE_UP)


def test_a_code_is_found_wherever_the_service_puts_it() -> None:
    """Lesson 22: main code, nested code, status; text only where there is no code for it."""
    assert (
        classify(400, {}, body("BadRequest", "ErrorCorruptData"), now=NOW).code
        == "graph-item-corrupt"
    )
    assert classify(403, {}, body("never seen"), now=NOW).code == "graph-denied"
    assert classify(507, {}, b"<html>", now=NOW).code == "graph-quota"


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
