"""Messages that are kept as JSON, rebuilt as MIME and read back by the standard library."""

import base64
import json
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import icalendar
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.converters.attachment import Attachment, attachment_of, listed_attachments
from proxy.converters.eml import rebuilt_mime
from proxy.converters.graph_json import decoded
from tests.unit.converters.graph import at, event, person, samples


def message(**members: Any) -> dict[str, Any]:
    return {
        "subject": "Grüße",
        "from": person("Müller, Ann", "ann@example.com"),
        "sender": person("Müller, Ann", "ann@example.com"),
        "toRecipients": [person("", "bob@example.com")],
        "sentDateTime": "2026-11-02T10:00:00Z",
        "internetMessageId": "<1@example.com>",
        "body": {"contentType": "html", "content": "<p>hi</p>"},
        **members,
    }


def read(data: bytes) -> EmailMessage:
    head = data.partition(b"\r\n\r\n")[0]
    assert head.isascii()
    found = message_from_bytes(data, policy=default)
    assert isinstance(found, EmailMessage)
    assert [part.defects for part in found.walk() if part.defects] == []
    return found


def test_headers_people_and_body_come_back() -> None:
    """Names with commas and umlauts, the date, the body; original headers that nothing else says."""
    found = read(
        rebuilt_mime(
            message(
                ccRecipients=[person("C", "c@exämple.com"), person("Old", "/o=Org/cn=Old")],
                replyTo=[person("", "not an address"), person("R", "r@example.com")],
                internetMessageHeaders=[
                    {
                        "name": "Received",
                        "value": "from a by b;\r\n Mon, 2 Nov 2026 10:00:00 +0000",
                    },
                    {"name": "Received", "value": "from c by a"},
                    {"name": "References", "value": "<0@example.com>"},
                    {"name": "Subject", "value": "another"},
                    {"name": "Content-Type", "value": "text/evil"},
                    {"name": "Bad: name", "value": "x"},
                ],
            )
        )
    )
    assert found["Subject"] == "Grüße"
    assert [(a.display_name, a.addr_spec) for a in found["From"].addresses] == [
        ("Müller, Ann", "ann@example.com")
    ]
    assert found["Sender"] is None
    assert found["Date"].datetime.isoformat() == "2026-11-02T10:00:00+00:00"
    assert [a.addr_spec for a in found["Cc"].addresses] == ["c@xn--exmple-cua.com"]
    assert [g.display_name for g in found["Cc"].groups][1:] == ["Old"]
    assert [a.addr_spec for a in found["Reply-To"].addresses] == ["r@example.com"]
    assert len(found.get_all("Received")) == 2
    assert found["References"] == "<0@example.com>"
    assert found.get_all("Subject") == ["Grüße"]
    assert found.get_content_type() == "text/html"
    assert found.get_content().strip() == "<p>hi</p>"


def test_inline_images_are_related_and_the_rest_attached() -> None:
    """What the HTML shows by cid: is inline, whatever `isInline` says; nameless and empty attachments count."""
    html = '<img src="cid:pic@1">'
    given = [
        Attachment("pic.png", "image/png", b"PNG", content_id="pic@1"),
        Attachment("attachment", "text/plain", b""),
        Attachment("hidden.png", "image/png", b"X", content_id="other", inline=True),
        Attachment("mail.eml", "message/rfc822", b"Subject: x\r\n\r\ny"),
        Attachment("cloud.docx", "application/x", None, "https://contoso.example/x"),
        Attachment("lost.bin", "application/x"),
    ]
    found = read(rebuilt_mime(message(body={"contentType": "HTML", "content": html}), given))
    body = found.get_body(("html",))
    assert body is not None
    assert body.get_content().strip() == html
    [picture] = [part for part in found.walk() if part["Content-ID"] == "<pic@1>"]
    assert (picture.get_content(), picture.get_content_disposition()) == (b"PNG", "inline")
    attached = {part.get_filename(): part.get_content() for part in found.iter_attachments()}
    assert attached["hidden.png"] == b"X"
    assert attached["mail.eml"] == b"Subject: x\r\n\r\ny"
    assert b"URL=https://contoso.example/x" in attached["cloud.docx.url"]
    assert "attachment" in attached
    assert found["X-Strongroom-Note"].endswith("without the attachment lost.bin")


def test_attached_items_become_messages_events_and_contacts() -> None:
    """An item attachment is expanded JSON; a message in a message in a message stays one."""
    inner = message(subject="inner", **{"@odata.type": "#microsoft.graph.message"})
    inner["attachments"] = [
        {
            "name": "deep",
            "item": message(subject="deep", attachments=[{"name": "f", "contentBytes": "AAEC"}]),
        }
    ]
    listing = {
        "value": [
            {"name": "inner", "item": inner},
            {"name": "meeting", "item": {**event(), "@odata.type": "#microsoft.graph.event"}},
            {
                "name": "ann",
                "item": {"displayName": "Ann", "@odata.type": "#microsoft.graph.contact"},
            },
        ]
    }
    found = read(rebuilt_mime(message(), listed_attachments(listing)))
    parts = {part.get_filename(): part for part in found.walk() if part.get_filename()}
    assert parts["inner.eml"].get_content()["Subject"] == "inner"
    assert parts["deep.eml"].get_content()["Subject"] == "deep"
    assert parts["f"].get_content() == b"\x00\x01\x02"
    calendar = icalendar.Calendar.from_ical(parts["meeting.ics"].get_payload(decode=True))
    assert str(calendar.walk("VEVENT")[0]["summary"]) == "Plan; review, next"
    assert b"FN:Ann" in parts["ann.vcf"].get_payload(decode=True)


@pytest.mark.parametrize(
    ("kind", "method"),
    [("eventMessageRequest", "REQUEST"), ("eventMessageResponse", None), ("eventMessage", None)],
)
def test_only_meeting_requests_carry_a_calendar(kind: str, method: str | None) -> None:
    """A request has the event as text/calendar; answers and cancellations do not."""
    found = read(
        rebuilt_mime(
            message(
                **{"@odata.type": f"#microsoft.graph.{kind}"},
                startDateTime=at("2026-07-01T08:00:00"),
                endDateTime=at("2026-07-01T09:00:00"),
            )
        )
    )
    parts = [part for part in found.walk() if part.get_content_type() == "text/calendar"]
    assert [part.get_param("method") for part in parts] == ([method] if method else [])
    for part in parts:
        [one] = icalendar.Calendar.from_ical(part.get_content()).walk("VEVENT")
        assert str(one["organizer"]) == "mailto:ann@example.com"


def test_stored_json_with_control_characters_is_read() -> None:
    """Exchange has sent raw control characters within strings; they cost nothing but themselves."""
    found = decoded(b'{"subject":"a\x01b\\ud83d","isRead":true}')
    assert found["isRead"] is True
    assert read(rebuilt_mime(found))["Subject"].startswith("a b")
    with pytest.raises(ValueError):
        decoded(b"[]")


def test_every_message_of_the_documentation_becomes_mime(shared_data: Path) -> None:
    """Subject, people and body of each sample come back."""
    count = 0
    for sample in samples(shared_data, "message", "eventMessage", "eventMessageRequest"):
        found = read(rebuilt_mime(sample, listed_attachments({"value": sample.get("attachments")})))
        count += 1
        assert str(found["Subject"] or "") == " ".join((sample.get("subject") or "").split())
        people = [p["emailAddress"]["address"] for p in sample.get("toRecipients") or []]
        addresses = found["To"].addresses if found["To"] else ()
        assert [a.addr_spec for a in addresses] == [p for p in people if "@" in p]
    assert count > 20


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(), max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = [*message(), "ccRecipients", "internetMessageHeaders", "replyTo", "event", "@odata.type"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8), st.text(max_size=80))
def test_no_json_breaks_the_conversion(members: dict[str, Any], words: str) -> None:
    """Members of any type, and any text as subject, name and header: always MIME that can be read."""
    odd = {"emailAddress": {"name": words, "address": words + "@example.com"}}
    made = message(
        subject=words, toRecipients=[odd], internetMessageHeaders=[{"name": "X-A", "value": words}]
    )
    for value in (members, made, {**made, **members}):
        found = message_from_bytes(
            rebuilt_mime(
                json.loads(json.dumps(value)),
                [attachment_of({"name": words, "contentType": words}, b"1")],
            )
        )
        assert base64.b64decode(found.get_payload()[1].get_payload()) == b"1"
