"""Restores: what is decided before the first write, and what the journal remembers. Values in, values out."""

import asyncio
import base64
from email.message import EmailMessage
from pathlib import Path

import msgspec
import pytest

from engine.catalog import Row
from engine.errors import Conflict, UsageError
from proxy.contract import Selection
from proxy.restore.destination import Destination, parse_destination
from proxy.restore.journal import Intent, Journal, journal_name
from proxy.restore.mail_message import new_message
from proxy.restore.mime_content import read_mime
from proxy.restore.new_attachment import from_listing
from proxy.restore.places import matched, parents_first
from proxy.restore.plan import Cost, EntryPlan, decided
from proxy.restore.protocol import Collision, Place, Present, item_key
from proxy.restore.room import Room
from proxy.restore.wanted import rows_below
from proxy.workloads.selection import ItemSelection
from tests.fixtures.content import shared_data_dir

EVERYTHING = ItemSelection(Selection(), "mail")


def row(name: str, version: str = "1", container: bytes = b"f") -> Row:
    return Row(name.encode(), container, name.encode(), "message", version=version)


# -- destinations and places -----------------------------------------------------------------------


def test_words_of_a_destination() -> None:
    assert parse_destination("original") == Destination()
    assert parse_destination("ann@x.com") == Destination("ann@x.com")
    assert parse_destination("ann@x.com/Back/a%2Fb") == Destination("ann@x.com", ("Back", "a/b"))
    for wrong in ("", "/x", "ann//x"):
        with pytest.raises(UsageError, match="--to is"):
            parse_destination(wrong)


SOURCE = [
    Place("i", "root", "Posteingang", "inbox"),
    Place("w", "i", "Work"),
    Place("q", "w", "Q4"),
]


def test_a_container_is_found_by_id_by_known_name_and_by_name_below_its_parent() -> None:
    """The original mailbox keeps ids; another language keeps the known name; else names count, in any case."""
    same = [Place("i", "r", "Inbox", "inbox"), Place("w", "r", "moved"), Place("x", "w", "q4")]
    assert matched(SOURCE, same, by_name=False) == {"i": "i", "w": "w", "q": "x"}
    other = [Place("I", "r", "Inbox", "inbox"), Place("W", "I", "WORK")]
    assert matched(SOURCE, other, by_name=False) == {"i": "I", "w": "W", "q": None}


def test_below_a_folder_names_alone_count() -> None:
    there = [
        Place("i", "r", "Inbox", "inbox"),
        Place("b", "r", "Back"),
        Place("p", "b", "posteingang"),
    ]
    assert matched(SOURCE, there, below="b", by_name=True) == {"i": "p", "w": None, "q": None}
    assert matched(SOURCE, there, below=None, by_name=True) == {"i": None, "w": None, "q": None}


def test_parents_come_first_and_a_circle_ends() -> None:
    circle = [Place("a", "b", "A"), Place("b", "a", "B")]
    ordered = parents_first([SOURCE[2], SOURCE[0], SOURCE[1], *circle])
    assert [place.id for place in ordered] == ["i", "w", "q"]


def test_a_path_takes_what_is_below_it_and_the_containers_above() -> None:
    folder = [
        Row(name, above, name, "container")
        for name, above in ((b"a", b""), (b"b", b"a"), (b"c", b"a"))
    ]
    rows = [*folder, row("x", container=b"b"), row("y", container=b"c")]
    whole = rows_below("u/mail", rows, None, EVERYTHING)
    assert {r.id for r in whole.containers} == {b"a", b"b", b"c"}
    assert {k: [r.id for r in v] for k, v in whole.items.items()} == {b"b": [b"x"], b"c": [b"y"]}
    part = rows_below("u/mail", rows, folder[1], EVERYTHING)
    assert {r.id for r in part.containers} == {b"a", b"b"}
    assert list(part.items) == [b"b"]
    one = rows_below("u/mail", rows, rows[4], EVERYTHING)
    assert [r.id for r in one.items[b"c"]] == [b"y"]
    assert {r.id for r in one.containers} == {b"a", b"c"}


# -- decisions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("collision", "actions"),
    [
        ("skip", ["unchanged", "skip", "skip", "create"]),
        ("copy", ["copy", "copy", "copy", "create"]),
        ("replace", ["unchanged", "replace", "replace", "create"]),
    ],
)
def test_collisions(collision: Collision, actions: list[str]) -> None:
    """The same id and version is unchanged; the same id or key collides; copies are made of everything."""
    wanted = [(row(name), name) for name in ("same", "edited", "other-id", "gone")]
    there = [
        Present("same", "same", "1"),
        Present("edited", "new subject", "2"),
        Present("stranger", "other-id", "9"),
    ]
    steps = decided(wanted, there, collision)
    assert [step.action for step in steps] == actions
    if collision == "replace":
        assert [step.old for step in steps] == ["", "edited", "stranger", ""]
    assert steps[2].there == ("stranger",)


def test_who_would_hear_of_it_decides_how_an_item_is_replaced() -> None:
    """A meeting is written over or left; anything else may also be made anew."""
    wanted = [(row("meeting"), "m"), (row("other"), "o")]
    there = [Present("meeting", "m", "2", tells_others=True), Present("other", "o", "2")]
    refused, anew = decided(wanted, there, "replace")
    assert (refused.action, refused.old) == ("refuse", "")
    assert (anew.action, anew.old, anew.version) == ("replace", "other", "")
    over, also = decided(wanted, there, "replace", {b"meeting", b"other"})
    assert (over.action, over.version, over.tells_others) == ("replace", "2", True)
    assert (also.action, also.version, also.tells_others) == ("replace", "2", False)
    plan = EntryPlan("u/calendar", "ann")
    for step in (anew, over):
        plan.add(step, 1)
    assert plan.cost.requests == 3  # the removal is one more


def test_equal_items_stay_as_many_as_they_were() -> None:
    """Two equal items of the source and one in the target: one is missing."""
    wanted = [(row("a"), "k"), (row("b"), "k")]
    assert [s.action for s in decided(wanted, [Present("z", "k")], "skip")] == ["skip", "create"]


def test_the_cost_is_the_slower_of_requests_and_uploads() -> None:
    cost = Cost()
    cost.add(requests=1000, size=0)
    assert cost.seconds_min == pytest.approx(60.0)
    cost.add(requests=0, size=112_500_000)
    assert cost.seconds_min == pytest.approx(300.0)


def test_keys_say_nothing_and_tell_apart() -> None:
    assert item_key("a", "b") != item_key("ab", "")
    assert len(item_key("secret")) == 32


# -- the journal -----------------------------------------------------------------------------------


def test_a_journal_remembers_and_forgets_a_half_line(tmp_path: Path) -> None:
    path = tmp_path / "state" / "x.restore"
    journal = Journal(path)
    assert not journal.resumed
    journal.intend("u/mail", "1", Intent("f", "k", ("old",), "old"))
    journal.intend("u/mail", "2", Intent("f", "k2"))
    journal.intend("u/mail", "3", Intent("f", "k3"))
    journal.made("u/mail", "1", "new")
    journal.done("u/mail", "1")
    journal.withdraw("u/mail", "3")
    with pytest.raises(Conflict, match="running already"):
        Journal(path)
    journal.close(ended=False)
    with path.open("ab") as file:
        file.write(b'{"of":"u/mail","item":"2","did":"ma')  # the machine went down
    again = Journal(path)
    section = again.section("u/mail")
    assert again.resumed
    assert section.intents == {"1": Intent("f", "k", ("old",), "old"), "2": Intent("f", "k2")}
    assert (section.made, section.done, section.unsettled) == ({"1": "new"}, {"1"}, ["2"])
    again.made("u/mail", "2", "newer")
    again.close(ended=False)
    third = Journal(path)
    assert third.section("u/mail").made == {"1": "new", "2": "newer"}
    third.close(ended=True)
    assert not path.exists()


def test_a_journal_is_named_by_what_is_asked_for() -> None:
    assert journal_name(["a", "b"]) == journal_name(["a", "b"])
    assert journal_name(["a", "b"]) != journal_name(["ab"])


async def test_room_is_never_exceeded_and_a_large_one_goes_alone() -> None:
    room, held, most = Room(10), 0, 0

    async def hold(size: int) -> None:
        nonlocal held, most
        async with room.hold(size):
            held += size
            most = max(most, held if size <= 10 else 0)
            assert size <= 10 or held == size
            await asyncio.sleep(0)
            held -= size

    async with asyncio.TaskGroup() as group:
        for size in (4, 4, 4, 30, 4, 9, 1):
            group.create_task(hold(size))
    assert most <= 10


# -- messages --------------------------------------------------------------------------------------


def letter() -> bytes:
    inner = EmailMessage()
    inner["Subject"], inner["From"] = "Inner", "Carl <carl@example.com>"
    inner.set_content("inside")
    made = EmailMessage()
    made["Subject"], made["From"] = "Grüße", "Ann <ann@example.com>"
    made.set_content("plain")
    made.add_alternative("<p>rich</p>", subtype="html")
    made.add_attachment(b"\x00\x01", maintype="application", subtype="pdf", filename="a.pdf")
    made.add_attachment(
        b"img", maintype="image", subtype="png", filename="i.png", cid="<c1>", disposition="inline"
    )
    made.add_attachment(inner)
    return made.as_bytes()


def test_mime_becomes_body_and_attachments() -> None:
    content = read_mime(letter())
    assert content.body["contentType"] == "html"
    assert "<p>rich</p>" in content.body["content"]
    kinds = [(a.name, a.content, a.inline, a.content_id) for a in content.attachments]
    assert kinds[:2] == [("a.pdf", b"\x00\x01", False, ""), ("i.png", b"img", True, "c1")]
    item = content.attachments[2].item
    assert item is not None
    assert (item["subject"], item["body"]["content"].strip()) == ("Inner", "inside")
    assert item["from"]["emailAddress"]["address"] == "carl@example.com"


def test_anything_is_mime() -> None:
    """Broken, empty and binary input gives a body, never an error."""
    for data in (
        b"",
        b"\xff\xfe",
        b"Content-Type: multipart/mixed\n\nx",
        b"Content-Type: text/plain; charset=nope\n\n\xe4",
    ):
        assert set(read_mime(data).body) == {"contentType", "content"}


META = b'{"isRead":true,"categories":["Red"],"flag":{"flagStatus":"flagged"},"from":"a@b.c"}'
JSON = {
    "subject": "S",
    "internetMessageId": "<1@x>",
    "sentDateTime": "2026-01-01T00:00:00Z",
    "receivedDateTime": "2026-01-01T00:00:05Z",
    "from": {"emailAddress": {"name": "A", "address": "/O=ORG/OU=X/CN=A"}},
    "toRecipients": [
        {"emailAddress": {"address": "b@c.d"}},
        {"emailAddress": {"address": "no one"}},
    ],
    "replyTo": [{"emailAddress": {"address": "Somebody"}}],
    "isDraft": False,
    "createdDateTime": "2026-01-01T00:00:00Z",
    "webLink": "https://x",
}


def test_a_message_keeps_its_dates_and_state_and_is_no_draft() -> None:
    """Flags bit by bit: 0x8 clear, 0x1 the read state; invalid addresses are dropped (lessons 91, 92)."""
    one = Row(b"1", b"f", b"S", "message", meta=META)
    made = new_message(one, msgspec.json.encode(JSON), read_mime(letter()), None)
    properties = {p["id"]: p["value"] for p in made.members["singleValueExtendedProperties"]}
    assert properties == {
        "Integer 0x0E07": "1",
        "SystemTime 0x0039": "2026-01-01T00:00:00Z",
        "SystemTime 0x0E06": "2026-01-01T00:00:05Z",
    }
    assert made.members["isRead"] is True
    assert made.members["categories"] == ["Red"]
    assert [p["emailAddress"]["address"] for p in made.members["toRecipients"]] == ["b@c.d"]
    assert made.members["from"]["emailAddress"]["address"].startswith("/O=")
    assert (made.members["replyTo"], made.dropped) == ([], 2)
    assert not {"receivedDateTime", "sentDateTime", "webLink", "id"} & made.members.keys()
    draft = new_message(one, msgspec.json.encode({**JSON, "isDraft": True}), None, None)
    tags = [one["id"] for one in draft.members["singleValueExtendedProperties"]]
    assert tags == ["SystemTime 0x0039", "SystemTime 0x0E06"]


def test_json_that_parsers_refuse_is_still_restored() -> None:
    """Control characters and half characters, as the service sent them (lesson 89)."""
    one = Row(b"1", b"f", b"S", "message", meta=META)
    made = new_message(one, b'{"subject":"a\x01b \\ud83d","isDraft":false}', None, None)
    assert made.members["subject"] == "a\x01b \N{REPLACEMENT CHARACTER}"
    assert msgspec.json.encode(made.members)


def test_attachments_of_a_listing() -> None:
    """Files, items without what Graph does not take back (lesson 96), links; what has no bytes is left out."""
    listing = {
        "value": [
            {
                "@odata.type": "#microsoft.graph.fileAttachment",
                "contentBytes": base64.b64encode(b"x").decode(),
            },
            {
                "@odata.type": "#microsoft.graph.fileAttachment",
                "name": "broken",
                "contentBytes": "!",
            },
            {
                "@odata.type": "#microsoft.graph.itemAttachment",
                "name": "m",
                "item": {
                    "@odata.type": "#microsoft.graph.message",
                    "subject": "s",
                    "isDraft": True,
                    "parentFolderId": "p",
                },
            },
            {
                "@odata.type": "#microsoft.graph.referenceAttachment",
                "name": "l",
                "sourceUrl": "https://x",
                "id": "1",
            },
        ]
    }
    file, item, link = from_listing(msgspec.json.encode(listing))
    assert (file.name, file.content, file.members()["contentType"]) == (
        "attachment",
        b"x",
        "application/octet-stream",
    )
    assert item.item == {"@odata.type": "#microsoft.graph.message", "subject": "s"}
    assert link.members()["sourceUrl"] == "https://x"
    assert "id" not in link.members()


@pytest.mark.slow
def test_real_mail_of_every_kind_becomes_a_message_that_can_be_sent() -> None:
    """Parsers' own fixtures: broken MIME, charsets, nesting, signatures. All of it is JSON that can be written."""
    shared = shared_data_dir()
    if shared is None:
        pytest.skip("no shared data beside this checkout")
    files = sorted((shared / "edge-cases/mail").rglob("*.eml"))
    one = Row(b"1", b"f", b"S", "message", meta=META)
    for file in files:
        made = new_message(one, msgspec.json.encode(JSON), read_mime(file.read_bytes()), None)
        members = made.members | {"attachments": [a.members() for a in made.attachments]}
        assert msgspec.json.encode(members), file
        assert all(attachment.name for attachment in made.attachments), file
    assert len(files) > 500
