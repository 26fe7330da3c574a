"""Every format of an export, out of a backup of an emulated tenant, read back by independent readers."""

import asyncio
import csv
import io
import json
import mailbox
import zipfile
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any, get_args

import icalendar
import pytest
import vobject

from engine.errors import Conflict, NotFound
from engine.manifest import PointForm
from proxy.contract import BrowseRequest, ExportFormat, TaskSecrets
from proxy.pipeline.export import ExportResult, export_point
from tests.fixtures.records import PICTURE, fill, lab
from tests.unit.proxy.lab import PASSPHRASE, Lab, mime
from tools.cli.main import run

pytestmark = pytest.mark.slow
__all__ = ["lab"]

HTML_MAIL = (
    b"From: Ann <ann@example.com>\r\nSubject: =1+1 \xf0\x9f\x98\x80\r\nMessage-ID: <h@example.com>\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n"
    b"<p>Hello</p><script>alert(1)</script><img src=https://evil.example/x.png>\r\n"
    b"--b\r\nContent-Type: application/pdf; name=plan.pdf\r\n\r\n"
    + b"PDF " * 2000
    + b"\r\n--b--\r\n"
)


async def backed_up(lab: Lab) -> tuple[str, PointForm]:
    """A user with mail, calendars, contacts, tasks and a file."""
    user, _ = fill(lab)
    tenant = lab.tenant
    for number in range(3):
        tenant.add_message(user, "Inbox", mime(number, "From the start\r\n>From", subject="Same"))
    tenant.add_message(user, "Inbox/CON", HTML_MAIL)
    odd = tenant.add_message(user, "Inbox", mime(9, "no mime", subject="Odd"))
    lab.emulator.faults.fail_item(odd.key, 500, "ErrorMimeContentConversionFailed", 1)
    result = await lab.backup(user, workloads=("mail", "calendar", "contacts", "tasks"))
    assert result.point is not None
    lab.assert_no_breach()
    return user, result.point


async def export(
    lab: Lab, point: PointForm, out: Path, form: ExportFormat, path: str = ""
) -> ExportResult:
    return await asyncio.to_thread(export_point, lab.repository, point, out, path, form)


def events_of(data: bytes) -> dict[str, Any]:
    calendar = icalendar.Calendar.from_ical(data)
    assert [error for part in calendar.walk() for error in part.errors] == []
    return {str(event["summary"]): event for event in calendar.walk("VEVENT")}


async def test_native_is_one_open_file_an_item(lab: Lab, tmp_path: Path) -> None:
    """Mail as .eml, events and tasks as .ics, contacts as .vcf; everything of an item is in its file."""
    user, point = await backed_up(lab)
    done = await export(lab, point, tmp_path / "out", "native")
    assert done.problems == []
    out = tmp_path / "out" / user
    events = {p.name: events_of(p.read_bytes()) for p in (out / "calendar").rglob("*.ics")}
    assert set(events) == {"Once.ics", "All day.ics", "Team \U0001f30d.ics", "Weekly.ics"}
    series = events["Weekly.ics"]
    assert set(series) == {"Weekly", "Moved"}
    assert series["Weekly"].decoded("rrule")["COUNT"] == [6]
    assert [one.dt.isoformat() for one in series["Weekly"]["exdate"].dts] == [
        "2026-03-23T12:00:00+01:00"
    ]
    assert series["Moved"].decoded("recurrence-id").isoformat() == "2026-03-16T12:00:00+01:00"
    once = events["Once.ics"]["Once"]
    assert once.decoded("dtstart").isoformat() == "2026-05-04T12:00:00+02:00"
    plan, contact = once["attach"]
    assert plan.to_ical() == b"cGxhbnBsYW5wbGFucGxhbnBsYW5wbGFucGxhbnBsYW5wbGFu"
    assert contact.params["X-FILENAME"] == "a contact.vcf"
    assert str(once["comment"]) == "Attachment that is not in this file: cloud"
    cards = [next(vobject.readComponents(p.read_text())) for p in (out / "contacts").rglob("*.vcf")]
    assert sorted(card.fn.value for card in cards) == [f"No {n} \xc4" for n in range(4)]
    assert [card.photo.value for card in cards if "photo" in card.contents] == [PICTURE]
    [dig] = icalendar.Calendar.from_ical((out / "tasks/Tasks/Dig.ics").read_bytes()).walk("VTODO")
    assert "[x] spade" in str(dig["description"])
    assert dig["attach"].to_ical() == b"bWFwbWFwbWFw"


async def test_one_file_a_folder(lab: Lab, tmp_path: Path) -> None:
    """mbox, ics and vcf: a mail folder, a calendar, a contact folder each in one file that can be imported."""
    user, point = await backed_up(lab)
    out = tmp_path / "out"
    assert (await export(lab, point, out / "mbox", "mbox")).problems == []
    box = mailbox.mbox(out / "mbox" / user / "mail" / "Inbox.mbox", create=False)
    assert len(box) == 4
    box.close()
    assert (out / "mbox" / user / "mail" / "Inbox" / "_CON.mbox").is_file()
    assert [p.name for p in (out / "mbox" / user).iterdir()] == ["mail"]
    await export(lab, point, out / "ics", "ics")
    calendar = (out / "ics" / user / "calendar" / "Calendar.ics").read_bytes()
    assert set(events_of(calendar)) == {"Once", "All day", "Weekly", "Moved"}
    assert calendar.count(b"BEGIN:VTIMEZONE") == 1
    assert set(events_of((out / "ics" / user / "calendar" / "Team.ics").read_bytes())) == {
        "Team \U0001f30d"
    }
    assert b"SUMMARY:Water" in (out / "ics" / user / "tasks" / "Garden.ics").read_bytes()
    await export(lab, point, out / "vcf", "vcf", f"{user}/contacts")
    contacts = (out / "vcf" / user / "contacts" / "Contacts.vcf").read_text()
    assert len(list(vobject.readComponents(contacts))) == 2
    assert (out / "vcf" / user / "contacts" / "Contacts" / "Friends" / "Old.vcf").is_file()


async def test_html_is_a_safe_page_beside_the_message(lab: Lab, tmp_path: Path) -> None:
    """The page shows the text and names the attachment; the .eml beside it is the message byte for byte."""
    user, point = await backed_up(lab)
    done = await export(lab, point, tmp_path / "out", "html")
    assert done.problems == []
    folder = tmp_path / "out" / user / "mail" / "Inbox"
    [page] = (folder / "CON").parent.glob("_CON/*.html")
    text = page.read_text()
    assert "<p>Hello</p>" in text
    assert "alert" not in text
    assert "evil.example" not in text
    assert "plan.pdf" in text
    assert page.with_suffix(".eml").read_bytes() == HTML_MAIL
    [odd] = folder.glob("Odd~*.html")
    assert "no mime" in odd.read_text()


async def test_json_has_every_member_and_names_every_part(lab: Lab, tmp_path: Path) -> None:
    """One document an item, members as the service gave them; parts that are no JSON are files beside it."""
    user, point = await backed_up(lab)
    done = await export(lab, point, tmp_path / "out", "json")
    assert done.problems == []
    out = tmp_path / "out" / user
    found = {}
    for file in out.rglob("*.json"):
        document = json.loads(file.read_bytes())
        if file.name == "folder.json":
            continue
        found[document["item"]["id"]] = document
        for part in document["strongroom"]["files"]:
            assert (file.parent / part["file"]).stat().st_size == part["size"]
    assert len(found) == 5 + 4 + 4 + 3
    for message in lab.tenant.mailbox(user).messages():
        kept = found[message.key]["item"]
        assert (kept["isRead"], kept["changeKey"]) == (False, kept["changeKey"])
        assert kept["parentFolderId"] == message.folder.key
    once = next(d for d in found.values() if d["item"].get("subject") == "Once")
    contents = [a["content"] for a in once["strongroom"]["attachments"]]
    assert contents == ["attachment-0", None, None]
    assert (out / "calendar/Calendar/Once.attachment-0.txt").read_bytes() == b"plan" * 9
    assert json.loads((out / "calendar/Team/folder.json").read_bytes())["color"] == "lightRed"
    photos = list((out / "contacts/Contacts").glob("*.jpg"))
    assert [photo.read_bytes() for photo in photos] == [PICTURE]


async def test_csv_is_one_table_a_workload(lab: Lab, tmp_path: Path) -> None:
    """A line an item with its folder; a subject that looks like a formula is none."""
    user, point = await backed_up(lab)
    assert (await export(lab, point, tmp_path / "out", "csv")).files == 4
    tables = {}
    for name in ("mail", "calendar", "contacts", "tasks"):
        data = (tmp_path / "out" / user / f"{name}.csv").read_bytes()
        assert data.startswith(b"\xef\xbb\xbf")
        tables[name] = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))
    assert {name: len(table) for name, table in tables.items()} == {
        "mail": 5, "calendar": 4, "contacts": 4, "tasks": 3,
    }  # fmt: skip
    assert all(int(line["size"]) > 0 for table in tables.values() for line in table)
    formula = next(line for line in tables["mail"] if line["folder"] == "Inbox/CON")
    assert formula["subject"].startswith("'=1+1")
    assert formula["attachments"] == "yes"
    event = next(line for line in tables["calendar"] if line["subject"] == "Once")
    assert event["attendees"] == "Bob <bob@example.com>"
    assert (
        next(line for line in tables["contacts"] if "No 3" in line["displayName"])["folder"]
        == "Contacts/Friends/Old"
    )
    assert (
        next(line for line in tables["tasks"] if line["title"] == "Dig")["status"] == "inProgress"
    )


async def test_zip_is_the_native_export_in_one_file(lab: Lab, tmp_path: Path) -> None:
    """The same files with the same bytes; an existing file is not overwritten."""
    user, point = await backed_up(lab)
    done = await export(lab, point, tmp_path / "out.zip", "zip")
    folder = tmp_path / "out"
    plain = await export(lab, point, folder, "native")
    assert (done.files, done.folders, done.problems) == (plain.files, plain.folders, [])
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None
        packed = {n: archive.read(n) for n in archive.namelist() if not n.endswith("/")}
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    assert packed == {name: path.read_bytes() for name, path in files.items()}
    before = (tmp_path / "out.zip").read_bytes()
    with pytest.raises(Conflict):
        await export(lab, point, tmp_path / "out.zip", "zip", user)
    assert (tmp_path / "out.zip").read_bytes() == before


async def test_one_bad_item_costs_itself_alone(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An item that cannot be converted is named; the others of its file, and every other file, are there."""
    user, point = await backed_up(lab)
    monkeypatch.setattr("proxy.pipeline.stored_item.CONVERTED_BYTES_MAX", len(HTML_MAIL) - 1)
    done = await export(lab, point, tmp_path / "mbox", "mbox", f"{user}/mail")
    assert [(p.code, "_CON.mbox" in p.path) for p in done.problems] == [("item-too-large", True)]
    assert done.files == 2
    done = await export(lab, point, tmp_path / "html", "html", f"{user}/mail")
    assert [p.code for p in done.problems] == ["item-too-large"]
    assert done.files == 2 * 5 - 1
    done = await export(lab, point, tmp_path / "zip.zip", "zip", f"{user}/mail")
    assert done.problems == []  # native messages are streamed, whatever their size


async def test_downloads_in_every_format(lab: Lab) -> None:
    """The server's way: one file as it is, several as an archive; what has no such form is an error."""
    user, _ = await backed_up(lab)
    plane, secrets = lab.plane(), TaskSecrets(passphrase=PASSPHRASE)

    def download(path: str, form: ExportFormat) -> tuple[str, str, bytes]:
        request = BrowseRequest("r", lab.url, point="latest", path=path, format=form)
        found = plane.open_download(request, secrets)
        return found.file_name, found.media_type, b"".join(found.chunks)

    name, media, data = download(f"{user}/calendar/Calendar/Once", "native")
    assert (name, media) == ("Once.ics", "text/calendar")
    assert set(events_of(data)) == {"Once"}
    assert download(f"{user}/contacts/Contacts/Friends/Old", "vcf")[:2] == ("Old.vcf", "text/vcard")
    assert download(f"{user}/calendar/Team", "ics")[:2] == ("Team.ics", "text/calendar")
    assert download(f"{user}/mail", "csv")[:2] == ("mail.csv", "text/csv")
    assert download(f"{user}/calendar", "ics")[:2] == ("calendar.zip", "application/zip")
    request = BrowseRequest("r", lab.url, point="latest", path=f"{user}/mail/Inbox/CON")
    item = json.loads(plane.answer("browse", request, secrets))["items"][0]["path"]
    name, media, data = download(item, "html")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert sorted(Path(n).suffix for n in archive.namelist()) == [".eml", ".html"]
    assert download(item, "zip")[1] == "application/zip"
    with pytest.raises(NotFound):
        download(f"{user}/contacts", "mbox")
    await plane.close()


async def test_a_message_without_mime_is_rebuilt(lab: Lab, tmp_path: Path) -> None:
    """Kept as JSON, because the service could not render it: exported as MIME that says so."""
    _, point = await backed_up(lab)
    await export(lab, point, tmp_path / "out", "eml")
    [odd] = (tmp_path / "out").rglob("Odd~*.eml")
    message = message_from_bytes(odd.read_bytes(), policy=default)
    assert "rebuilt" in message["X-Strongroom-Note"]
    assert message.get_content().strip().startswith("no mime")


async def test_the_command_takes_every_format(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`strongroom export --format` knows the formats of the contract, and no other."""
    user, _ = await backed_up(lab)
    monkeypatch.setenv("STRONGROOM_PASSPHRASE", PASSPHRASE)
    local = ["--cache-dir", str(lab.places.cache_dir), "--state-dir", str(lab.places.state_dir)]
    for form in get_args(ExportFormat):
        words = ["export", lab.url, "latest", str(tmp_path / form), "--format", form, "--json"]
        assert await asyncio.to_thread(run, [*words, *local]) == 0, form
        assert json.loads(capsys.readouterr().out)["files"] > 0
    words = ["export", lab.url, "latest", str(tmp_path / "x"), "--format", "vcf"]
    assert await asyncio.to_thread(run, [*words, "--path", f"{user}/mail", *local]) == 1
    assert "exported as vcf" in capsys.readouterr().err
    assert await asyncio.to_thread(run, [*words[:-1], "pst", *local]) == 2
    assert not (tmp_path / "x").exists()
