"""Reading of broken MIME: something sane comes out whatever goes in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.emulator import mime_reader as mime
from tools.emulator.blob import BytesBlob
from tools.emulator.mail_json import MessageReading, View, message_json
from tools.emulator.mailbox import Mailbox


def reading(raw: bytes) -> MessageReading:
    mailbox = Mailbox(1, "owner")
    message = mailbox.add(mailbox.folder("inbox"), BytesBlob(raw), at=1.7e9)
    return MessageReading(message, View(), 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("=?utf-8?B?xYHDs2TFug==?=", "Łódź"),
        ("=?iso-8859-1?Q?Gr=FC=DFe?= aus", "Grüße aus"),
        ("=?no-such-charset?Q?x=FCy?=", "xüy"),
        ("=?utf-8?B?broken", "=?utf-8?B?broken"),
        ("two\r\n lines", "two lines"),
        ("raw \udcc3\udcbc", "raw ü"),
    ],
)
def test_decode_words(text: str, expected: str) -> None:
    assert mime.decode_words(text) == expected


def test_absurd_dates_fall_back() -> None:
    for date in (b"Date: never", b"Date: Mon, 1 Jan 0001 00:00:00 +9999", b"X: y"):
        body = message_json(reading(date + b"\r\n\r\nx"), None)
        assert body["receivedDateTime"] == body["createdDateTime"] == "2023-11-14T22:13:20Z"


@given(st.binary(max_size=2_000))
def test_any_bytes_give_a_message(raw: bytes) -> None:
    body = message_json(reading(raw), None)
    assert body["body"]["contentType"] in ("text", "html")


_LINES = st.sampled_from(
    [
        b"Content-Type: multipart/mixed; boundary=x", b"Content-Type: text/html; charset=utf-7",
        b"Content-Type: message/rfc822", b"Content-Transfer-Encoding: base64", b"--x", b"--x--",
        b"Content-Disposition: attachment; filename*=utf-8''%ff", b"", b"", b"=?utf-8?Q?=zz?=",
        b"From: \"a <b@c", b"Subject: =?x?B?!!?=", b"To: undisclosed-recipients:;", b"\xff\xfe\x00",
        b"Content-Type: text/plain; charset*=x'y'z", b"References: <", b"Importance:  ",
    ]
)  # fmt: skip


@given(st.lists(_LINES, max_size=30))
def test_any_mix_of_mime_lines_gives_a_message(lines: list[bytes]) -> None:
    found = reading(b"\r\n".join(lines))
    body = message_json(found, None)
    assert isinstance(body["bodyPreview"], str)
    assert all(isinstance(a.content, bytes) for a in found.content.attachments)
    assert all(h["name"] == mime.clean(h["name"]) for h in found.headers())


@pytest.mark.parametrize(
    ("method", "answer", "kind", "says"),
    [
        ("REQUEST", "NEEDS-ACTION", "eventMessageRequest", "meetingRequest"),
        ("CANCEL", "", "eventMessage", "meetingCancelled"),
        ("REPLY", "TENTATIVE", "eventMessageResponse", "meetingTenativelyAccepted"),
        ("PUBLISH", "", None, None),
    ],
)
def test_meeting_messages(method: str, answer: str, kind: str | None, says: str | None) -> None:
    """A calendar part makes a message a meeting message, and is no attachment of it."""
    raw = (
        f"Subject: Lunch\r\nContent-Type: text/calendar; method={method}\r\n\r\n"
        f"BEGIN:VCALENDAR\r\nMETHOD:{method}\r\nBEGIN:VEVENT\r\n"
        f"ATTENDEE;PARTSTAT={answer}:mailto:a@example.com\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    found = reading(raw.encode())
    body = message_json(found, None)
    assert body.get("@odata.type") == (kind and f"#microsoft.graph.{kind}")
    assert body.get("meetingMessageType") == says
    assert body["hasAttachments"] is False
