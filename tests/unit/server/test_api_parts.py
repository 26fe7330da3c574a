"""Parts of the REST API that need no server: roles, the brake, file names, problems."""

import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.contract import Conflict, Denied, NotFound, Reply, Unavailable, UsageError
from server.api.access import FAILURES_KNOWN_MAX, FAILURES_MAX, FAILURES_WINDOW_S, SignInBrake
from server.api.points import attachment, safe_media_type
from server.api.problems import status_of
from server.bus.events import read_event
from server.bus.questions import ProxyFault, error_of
from server.database.connector import queries
from server.domain.access import ROLES, SCOPES, Scope, granted, scopes_of
from server.identifiers import ID_PATTERN, new_id


def test_roles_allow_what_their_names_say() -> None:
    """Administrators everything, viewers nothing that changes or reveals content."""
    assert scopes_of(["administrator"]) == set(get_args(Scope)) == set(SCOPES)
    assert all(scope.endswith(":read") for scope in ROLES["viewer"])
    assert "points:read" not in ROLES["viewer"]
    assert "points:download" not in ROLES["operator"]
    assert scopes_of(["no such role"]) == frozenset()
    assert granted(["viewer"], ["jobs:read", "users:write"]) == ["jobs:read"]
    assert granted(["viewer"], []) == sorted(ROLES["viewer"])


def test_the_brake_stops_guessing_and_forgets() -> None:
    """After so many failures it waits; a right password frees the address; time frees both."""
    now = [0.0]
    brake = SignInBrake(lambda: now[0])
    for _ in range(FAILURES_MAX):
        assert brake.wait_s("1.2.3.4", "ann") == 0
        brake.failed("1.2.3.4", "ann")
    assert brake.wait_s("1.2.3.4", "bob") == FAILURES_WINDOW_S
    assert brake.wait_s("5.6.7.8", "ann") == 0
    now[0] += FAILURES_WINDOW_S + 1
    assert brake.wait_s("1.2.3.4", "ann") == 0
    brake.failed("1.2.3.4", "ann")
    brake.succeeded("1.2.3.4")
    for number in range(FAILURES_KNOWN_MAX):
        brake.failed(f"address {number}", f"name {number}")
    assert len(brake._failures) == FAILURES_KNOWN_MAX


@given(st.text())
def test_no_file_name_breaks_out_of_its_header(name: str) -> None:
    """Quotes, line ends, slashes, other alphabets: one header value of printable ASCII."""
    value = attachment(name)
    assert re.fullmatch(
        r"attachment; filename=\"[A-Za-z0-9 ._()-]+\"; filename\*=UTF-8''[A-Za-z0-9%._~-]+", value
    )


@pytest.mark.parametrize("wrong", ["text/html\r\nX: y", "", "text", "a/b; charset=x", "A/B"])
def test_what_is_no_media_type_is_sent_as_bytes(wrong: str) -> None:
    """A proxy's word never reaches the header unchecked."""
    assert safe_media_type(wrong) == "application/octet-stream"
    assert safe_media_type("message/rfc822") == "message/rfc822"


def test_errors_have_their_statuses() -> None:
    """A proxy's trouble with its repository is not the caller's missing right."""
    assert status_of(NotFound("", code="x")) == 404
    assert status_of(Conflict("", code="x")) == 409
    assert status_of(Denied("", code="x")) == 403
    assert status_of(UsageError("", code="x")) == 422
    assert status_of(Unavailable("", code="x")) == 503
    assert status_of(Unavailable("", code="answer-timeout")) == 504
    for word, status in (("Denied", 502), ("Corruption", 502), ("NotFound", 404), ("??", 502)):
        assert status_of(error_of(Reply(ok=False, error_class=word, error_code="c"))) == status
    assert isinstance(error_of(Reply(ok=False)), ProxyFault)


@given(st.lists(st.sampled_from(["\\", "\0", "u0000", "a", '"', "\\u0000", "é"]), max_size=12))
def test_events_never_carry_nul_into_the_database(parts: list[str]) -> None:
    """NUL becomes the replacement sign; text that only looks like an escape stays."""
    import msgspec

    from proxy.contract import Event, ItemOutcome

    name = "".join(parts)
    outcome = ItemOutcome("i", name, "skipped", "c")
    event = Event("e", "s", "t", "p", "outcome", "now", outcomes=[outcome])
    read = read_event(msgspec.json.encode(event))
    assert read is not None
    assert read.outcomes[0].name == name.replace("\0", "\ufffd")
    assert read_event(b"{}") is None
    assert read_event(b"\xff") is None


def test_ids_sort_by_time() -> None:
    """And look like ids."""
    ids = [new_id() for _ in range(50)]
    assert all(re.fullmatch(ID_PATTERN, made) for made in ids)
    assert [made[:12] for made in ids] == sorted(made[:12] for made in ids)


def test_every_query_has_a_comment_and_distinct_parameters() -> None:
    """Text and parameter names fit together."""
    for name, (text, parameters) in queries().items():
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", name)
        assert len(set(re.findall(r"\$\d+", text))) == len(parameters), name
