"""The machine that follows links."""

import msgspec
import pytest

from proxy.graph.errors import GraphDenied, GraphUnavailable
from proxy.graph.paging import LinkMachine, decode_page, mended_json

ORIGIN = "https://graph.example.com"


def page(**links: str) -> bytes:
    return msgspec.json.encode(
        {"value": [{"id": 1}], **{f"@odata.{k}": v for k, v in links.items()}}
    )


def test_next_then_delta() -> None:
    machine = LinkMachine(ORIGIN, delta=True)
    first = machine.accept(decode_page(page(nextLink=f"{ORIGIN}/v1.0/x?$skiptoken=a")))
    assert first.next_link == f"{ORIGIN}/v1.0/x?$skiptoken=a"
    last = machine.accept(decode_page(page(deltaLink=f"{ORIGIN}/v1.0/x?$deltatoken=b")))
    assert (last.next_link, last.delta_link) == (None, f"{ORIGIN}/v1.0/x?$deltatoken=b")
    assert [bytes(raw) for raw in last.items] == [b'{"id":1}']


def test_a_link_that_comes_twice_never_ends() -> None:
    machine = LinkMachine(ORIGIN, delta=False)
    body = decode_page(page(nextLink=f"{ORIGIN}/v1.0/x?$skiptoken=a"))
    machine.accept(body)
    with pytest.raises(GraphUnavailable) as caught:
        machine.accept(body)
    assert caught.value.code == "graph-paging-loop"


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example.com/v1.0/x",
        "http://graph.example.com/v1.0/x",
        "https://graph.example.com:8443/v1.0/x",
        "https://user@graph.example.com/v1.0/x",
        "/v1.0/x",
    ],
)
def test_links_lead_to_the_configured_host_only(link: str) -> None:
    for name in ("nextLink", "deltaLink"):
        with pytest.raises(GraphDenied) as caught:
            LinkMachine(ORIGIN, delta=True).accept(decode_page(page(**{name: link})))
        assert caught.value.code == "graph-foreign-link"


def test_a_change_feed_must_end_with_a_token() -> None:
    with pytest.raises(GraphUnavailable):
        LinkMachine(ORIGIN, delta=True).accept(decode_page(page()))
    assert LinkMachine(ORIGIN, delta=False).accept(decode_page(page())).next_link is None


def test_control_characters_inside_strings_are_escaped() -> None:
    raw = b'{\n "value": [{"subject": "a\x01b\tc\\"\x02"}]\r\n}'
    assert msgspec.json.decode(decode_page(raw).value[0]) == {"subject": 'a\x01b\tc"\x02'}
    assert mended_json(b'{"a": "b"}') == b'{"a": "b"}'


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (b"\\ud83d", "\ufffd"),
        (b"a\\uDC00 b", "a\ufffd b"),
        (b"\\ud83d\\ud83d\\ude00", "\ufffd\U0001f600"),
        (b"\\ud83d\\u0041", "\ufffdA"),
        (b"\\\\ud83d \\ud83d", "\\ud83d \ufffd"),
    ],
)
def test_half_surrogate_pairs_cost_their_character_alone(sent: bytes, meant: str) -> None:
    """The page and the other items stay; whole pairs and escaped backslashes too."""
    raw = b'{"value": [{"subject": "' + sent + b'"}, {"n": "\\u00e4"}]}'
    items = decode_page(raw).value
    assert msgspec.json.decode(items[0]) == {"subject": meant}
    assert bytes(items[1]) == b'{"n": "\\u00e4"}'


@pytest.mark.parametrize("raw", [b"", b"<html></html>", b"[]", b'{"value": 3}', b'{"value": [{]}'])
def test_what_is_no_page(raw: bytes) -> None:
    with pytest.raises(GraphUnavailable) as caught:
        decode_page(raw)
    assert caught.value.code == "graph-bad-answer"


@pytest.mark.parametrize("path", ["/v1.0/users//messages", "/v1.0/users('')/messages"])
def test_a_link_that_lost_its_user_is_not_followed(path: str) -> None:
    """Lesson 29."""
    with pytest.raises(GraphUnavailable) as caught:
        LinkMachine(ORIGIN, delta=True).accept(decode_page(page(nextLink=f"{ORIGIN}{path}?$a=b")))
    assert caught.value.code == "graph-bad-link"
