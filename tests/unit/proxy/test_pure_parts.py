"""Small pure parts: quickXorHash, names, mbox, moments, settings, items."""

import base64
import random
import re
import unicodedata
from pathlib import Path

import msgspec
import pytest

from engine.errors import UsageError
from engine.parts import Part
from proxy.contract import ObjectRef
from proxy.converters.mbox import mboxrd
from proxy.converters.names import distinct_names, safe_name
from proxy.graph.errors import GraphItemFault, GraphUnavailable
from proxy.graph.settings import load_organization, parse_organization
from proxy.pipeline.outcome import SKIP_CAUSES, failed
from proxy.workloads.drive_item import ItemKind, content_is_known, decode_item, file_row
from proxy.workloads.mail_checkpoint import MailBook
from proxy.workloads.mail_item import (
    MessageHead,
    Removed,
    decode_entry,
    message_row,
    stored_json,
    with_state,
)
from proxy.workloads.moments import nanoseconds
from proxy.workloads.quick_xor import BLOCK_BYTES, QuickXor

# -- quickXorHash --------------------------------------------------------------------------------


def bit_by_bit(data: bytes) -> str:
    ring = 0
    for position, byte in enumerate(data):
        shifted = byte << (position * 11 % 160)
        ring ^= (shifted & ((1 << 160) - 1)) ^ (shifted >> 160)
    ring ^= len(data) << 96
    return base64.b64encode(ring.to_bytes(20, "little")).decode()


def test_quick_xor_of_known_bytes() -> None:
    found = QuickXor()
    assert found.text() == "AAAAAAAAAAAAAAAAAAAAAAAAAAA="
    found.update(b"hello world")
    assert found.text() == bit_by_bit(b"hello world")


@pytest.mark.parametrize("size", [1, 159, 160, 161, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 7])
def test_quick_xor_equals_the_definition_however_the_data_comes(size: int) -> None:
    data = random.Random(size).randbytes(size)
    for piece in (size, 1000, 4096):
        found = QuickXor()
        for start in range(0, size, piece):
            found.update(data[start : start + piece])
        assert found.text() == bit_by_bit(data)
        assert found.length == size


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("Plan.docx", "Plan.docx"),
        ('a/b\\c:d*e?f"g<h>i|j', "a_b_c_d_e_f_g_h_i_j"),
        ("con", "_con"),
        ("Com1.txt", "_Com1.txt"),
        ("..", "_"),
        ("", "_"),
        (" trailing. ", "trailing"),
        ("tab\there", "tab_here"),
        ("half \ud83d pair", "half _ pair"),
        ("invoice\u202efdp.exe", "invoice_fdp.exe"),
        ("CONOUT$.txt", "_CONOUT$.txt"),
        ("aux .eml", "_aux .eml"),
        ("line\u2028end\x85", "line_end_"),
    ],
)
def test_reserved_names(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_long_names_keep_their_extension_and_fit() -> None:
    long = safe_name("ä" * 500 + ".docx")
    assert long.endswith(".docx")
    assert len(long.encode()) <= 200
    assert safe_name("x" * 500, extension="~12345678.eml").endswith("~12345678.eml")


def test_siblings_that_clash_get_distinct_names() -> None:
    composed, decomposed = "r\u00e9sum\u00e9.txt", "re\u0301sume\u0301.txt"
    names = {
        b"1": "Report.txt",
        b"2": "REPORT.txt",
        b"3": "other",
        b"4": composed,
        b"5": decomposed,
    }
    made = distinct_names(names)
    folded = {unicodedata.normalize("NFKC", name).casefold() for name in made.values()}
    assert len(folded) == 5
    assert made[b"3"] == "other"
    assert re.fullmatch(r"Report~[0-9a-f]{8}\.txt", made[b"1"])
    assert made == distinct_names(dict(reversed(names.items())))


# -- mbox ----------------------------------------------------------------------------------------


def test_mboxrd_is_reversible() -> None:
    messages = [
        b"Subject: x\r\n\r\nFrom here\r\n>From there\r\n>>From everywhere\r\nfrom\r\n",
        b"Subject: y\n\nno line end",
        b"",
    ]
    file = b"".join(mboxrd(("a@example.com", 0, message) for message in messages))
    parts = re.split(rb"(?m)^From a@example\.com Thu Jan  1 00:00:00 1970\n", file)[1:]
    undone = [re.sub(rb"(?m)^>(>*From )", rb"\1", part)[:-1] for part in parts]
    assert [part.rstrip(b"\n") for part in undone] == [m.rstrip(b"\n") for m in messages]
    assert undone[0] == messages[0]


def test_a_sender_that_is_no_address_does_not_break_the_separator() -> None:
    file = b"".join(mboxrd([("x\nFrom y", 1_700_000_000 * 10**9, b"z\n")]))
    assert file == b"From MAILER-DAEMON Tue Nov 14 22:13:20 2023\nz\n\n"


# -- moments -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-23T21:30:00.1234567Z", 1795469400_123456700),
        ("2026-11-23T23:30:00+02:00", 1795469400_000000000),
        ("2026-11-23T21:30:00", 1795469400_000000000),
        ("0001-01-01T00:00:00Z", -62135596800_000000000),
        ("yesterday", 0),
        (None, 0),
    ],
)
def test_moments(text: str | None, expected: int) -> None:
    assert nanoseconds(text) == expected


# -- settings ------------------------------------------------------------------------------------

ORG = {"tenant_id": "contoso.example", "client_id": "app", "client_secret": "s3cret"}


def test_settings_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("PEM")
    file = tmp_path / "org.toml"
    file.write_text(
        '[organization]\ntenant_id="t"\nclient_id="c"\nca_file="ca.pem"\nbudget_share=0.5\n'
        'authority="https://127.0.0.1:8443/t"\nclient_secret="x"\n'
    )
    settings = load_organization(file)
    assert settings.authority == "https://127.0.0.1:8443"
    assert (settings.ca, settings.budget_share) == ("PEM", 0.5)
    assert "x" not in repr(settings).replace("tenant_id", "").replace("client_id", "")


def test_the_secret_may_come_from_the_environment() -> None:
    members = {"tenant_id": "t", "client_id": "c"}
    settings = parse_organization(members, environment={"STRONGROOM_CLIENT_SECRET": "x"})
    assert settings.client_secret == "x"


@pytest.mark.parametrize(
    ("change", "addresses"),
    [
        ({}, ("https://login.microsoftonline.com", "https://graph.microsoft.com", True)),
        (
            {"cloud": "us-defense"},
            ("https://login.microsoftonline.us", "https://dod-graph.microsoft.us", False),
        ),
        (
            {"cloud": "china"},
            (
                "https://login.partner.microsoftonline.cn",
                "https://microsoftgraph.chinacloudapi.cn",
                False,
            ),
        ),
        (
            {
                "cloud": "other",
                "authority": "https://login.example.fr",
                "graph_endpoint": "https://graph.example.fr",
            },
            ("https://login.example.fr", "https://graph.example.fr", False),
        ),
    ],
)
def test_a_cloud_says_where_things_are_and_what_tokens_are_for(
    change: dict[str, str], addresses: tuple[str, str, bool]
) -> None:
    settings = parse_organization({**ORG, **change}, environment={})
    authority, graph, exports = addresses
    assert (settings.authority, settings.graph_endpoint) == (authority, graph)
    assert (settings.audience, settings.its_cloud.exports) == (graph, exports)


def test_an_address_of_ones_own_does_not_change_what_tokens_are_for() -> None:
    members = {**ORG, "cloud": "china", "graph_endpoint": "http://127.0.0.1:1"}
    settings = parse_organization(members, environment={})
    assert settings.audience == "https://microsoftgraph.chinacloudapi.cn"


@pytest.mark.parametrize(
    "change",
    [
        {"client_secret": ""},
        {"certificate": "PEM"},
        {"tenant_id": ""},
        {"tenant_id": "a/b"},
        {"unknown": "x"},
        {"budget_share": "2"},
        {"budget_share": "much"},
        {"authority": "http://login.example.com"},
        {"graph_endpoint": "https://graph.example.com/v1.0"},
        {"graph_endpoint": "http://graph.example.com"},
        {"graph_endpoint": "https://u:p@graph.example.com"},
        {"certificate_file": "/nowhere", "client_secret": ""},
        {"cloud": "azure"},
        {"cloud": "other", "authority": "https://login.example.fr"},
    ],
)
def test_settings_that_do_not_fit(change: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_organization({**ORG, **change}, environment={})
    assert caught.value.code == "organization-settings"
    assert "s3cret" not in str(caught.value)


# -- items ---------------------------------------------------------------------------------------

RAW = (
    b'{"@odata.etag":"W/1","id":"A=","changeKey":"CK1","createdDateTime":"2026-01-01T00:00:00Z",'
    b'"lastModifiedDateTime":"2026-01-02T00:00:00Z","isRead":false,"categories":[],"subject":"S\\u00e9",'
    b'"parentFolderId":"F","x":1.10,"from":{"emailAddress":{"address":"a@b"}}}'
)


def test_stored_json_keeps_every_member_but_the_volatile_ones_byte_for_byte() -> None:
    assert stored_json(RAW) == (
        b'{"id":"A=","createdDateTime":"2026-01-01T00:00:00Z","lastModifiedDateTime":"2026-01-02T00:00:00Z",'
        b'"subject":"S\\u00e9","x":1.10,"from":{"emailAddress":{"address":"a@b"}}}'
    )


def test_a_row_of_a_message_and_a_change_of_state() -> None:
    head = decode_entry(RAW)
    assert isinstance(head, MessageHead)
    row = message_row(head, RAW, "F", (Part("mime", 10, b""),))
    assert (row.id, row.container, row.version, row.size) == (b"A=", b"F", "CK1", 10)
    assert row.name.decode() == "Sé"
    changed = with_state(row, b'{"id":"A=","isRead":true}')
    assert changed is not None
    assert b'"isRead":true' in changed.meta
    assert b'"changeKey":"CK1"' in changed.meta
    assert with_state(row, b'{"id":"A=","isRead":false}') is None


def test_odd_entries() -> None:
    assert decode_entry(b'{"id":"A","@removed":{"reason":"deleted"}}') == Removed("A")
    half = decode_entry(b'{"id":"A","subject":"\\ud83d"}')
    assert isinstance(half, MessageHead)
    with pytest.raises(msgspec.DecodeError):
        decode_entry(b'{"subject":"no id"}')


def item(**members: object) -> bytes:
    return msgspec.json.encode({"id": "1", "name": "n", **members})


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"deleted": {}, "folder": {}}, ItemKind.DELETED),
        ({"root": {}, "folder": {}}, ItemKind.CONTAINER),
        ({"package": {"type": "oneNote"}}, ItemKind.CONTAINER),
        ({"remoteItem": {"id": "x"}, "file": {}}, ItemKind.LINK),
        ({"file": {}, "malware": {"description": "x"}}, ItemKind.INFECTED),
        ({"file": {}}, ItemKind.FILE),
        ({}, ItemKind.UNKNOWN),
    ],
)
def test_kinds_of_drive_items(members: dict[str, object], kind: ItemKind) -> None:
    assert decode_item(item(**members)).kind is kind


def test_content_counts_as_known_by_tag_or_by_size_and_hash() -> None:
    raw = item(
        cTag="c1",
        size=3,
        file={"hashes": {"quickXorHash": "H"}},
        **{"@microsoft.graph.downloadUrl": "https://secret"},
    )
    row = file_row(b"1", b"0", decode_item(raw), raw, Part("content", 3, b""), "H")
    assert b"secret" not in row.meta

    def known(**members: object) -> bool:
        return content_is_known(row, decode_item(item(**members)))

    assert known(cTag="c1", size=3, file={})
    assert known(cTag="c2", size=3, file={"hashes": {"quickXorHash": "H"}})
    assert not known(cTag="c2", size=3, file={"hashes": {"quickXorHash": "other"}})
    assert not known(cTag="c2", size=4, file={"hashes": {"quickXorHash": "H"}})
    assert not known(cTag="c2", size=3, file={})
    assert not content_is_known(None, decode_item(raw))


# -- checkpoints and outcomes --------------------------------------------------------------------


def test_a_folder_with_pending_removals_keeps_its_old_link() -> None:
    book = MailBook(None)
    feed = book.feed("F")
    feed.go_on("link-1", ended=False)
    feed.hold()
    feed.go_on("link-2", ended=True)
    assert MailBook(book.encode()).feed("F").live == "link-1"
    feed.release()
    assert MailBook(book.encode()).feed("F").live == "link-2"


def test_an_unreadable_checkpoint_means_to_look_at_everything() -> None:
    for stored in (b"garbage", b'{"form": 99}'):
        assert MailBook(stored).feed("F").fresh
    assert not MailBook(None).feed("F").fresh


def test_outcomes() -> None:
    infected = failed("1", "n" * 999, GraphItemFault("m", code="graph-item-malware"))
    assert (infected.result, infected.cause) == ("skipped", "malware")
    assert infected.cause in SKIP_CAUSES
    assert len(infected.name) == 200
    away = failed("1", "n", GraphUnavailable("m", code="graph-unavailable"))
    assert (away.result, away.cause) == ("failed", "graph-unavailable")
    assert ObjectRef("user", "1", "n").display_name == ""
