"""Data out of the repository: exports, questions of the server, tasks that are no backups."""

import asyncio
import hashlib
import io
import json
import mailbox
import re
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from engine.errors import BackupError, Conflict, NotFound, UsageError
from proxy.contract import BrowseRequest, TaskSecrets
from proxy.pipeline.export import export_point
from tests.fixtures.emulator import StartEmulator
from tests.unit.proxy.lab import PASSPHRASE, Lab, add_user, mime, newest_entry

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture
async def lab(emulator: StartEmulator, tmp_path: Path) -> AsyncIterator[Lab]:
    made = Lab(await emulator(), tmp_path)
    yield made
    made.repository.close()


def fill(lab: Lab) -> str:
    user = add_user(lab.emulator, "ann")
    tenant = lab.tenant
    for number in range(4):
        tenant.add_message(user, "Inbox", mime(number, "From the start\r\n>From", subject="Same"))
    tenant.add_message(user, "Inbox/A?B:C", mime(9, subject="a/b\\c: what?"))
    tenant.put_file(user, "Documents/Report.txt", b"report", modified=1_700_000_000.0)
    tenant.put_file(user, "Documents/Sub/large.bin", bytes(range(256)) * 20_000)
    tenant.add_drive_folder(user, "Empty")
    return user


async def test_native_export_is_a_tree_of_the_bytes_that_were_read(
    lab: Lab, tmp_path: Path
) -> None:
    user = fill(lab)
    result = await lab.backup(user)
    assert result.point is not None
    out = tmp_path / "out"
    done = await asyncio.to_thread(export_point, lab.repository, result.point, out)
    expected = lab.expected(user)[user]
    assert (done.files, done.problems) == (7, [])
    mails = {
        hashlib.sha256(p.read_bytes()).hexdigest() for p in (out / user / "mail").rglob("*.eml")
    }
    assert mails == {digest for folder in expected["mail"].values() for digest in folder.values()}
    drive = out / user / "drives" / "OneDrive"
    files = {
        p.relative_to(drive).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in drive.rglob("*")
        if p.is_file()
    }
    assert files == expected["drive"]
    assert (drive / "Documents" / "Report.txt").stat().st_mtime == 1_700_000_000
    assert (drive / "Empty").is_dir()
    assert (out / user / "mail" / "Inbox" / "A_B_C").is_dir()
    names = sorted(p.name for p in (out / user / "mail" / "Inbox").glob("*.eml"))
    assert all(re.fullmatch(r"Same~[0-9a-f]{8}\.eml", name) for name in names)
    with pytest.raises(Conflict):
        export_point(lab.repository, result.point, out)


async def test_mbox_and_eml_and_a_single_path(lab: Lab, tmp_path: Path) -> None:
    user = fill(lab)
    result = await lab.backup(user)
    point = result.point
    assert point is not None
    export_point(lab.repository, point, tmp_path / "mbox", format="mbox")
    box = mailbox.mbox(tmp_path / "mbox" / user / "mail" / "Inbox.mbox", create=False)
    assert len(box) == 4
    assert "\n>From the start" in box[0].as_string().replace("\r", "")
    box.close()
    assert (tmp_path / "mbox" / user / "mail" / "Inbox" / "A_B_C.mbox").is_file()
    assert not (tmp_path / "mbox" / user / "drives").exists()

    export_point(lab.repository, point, tmp_path / "eml", f"{user}/mail/Inbox", "eml")
    assert len(list((tmp_path / "eml").rglob("*.eml"))) == 5
    path = f"{user}/drives/OneDrive/Documents/Report.txt"
    export_point(lab.repository, point, tmp_path / "one", path)
    assert (tmp_path / "one" / path).read_bytes() == b"report"
    with pytest.raises(NotFound):
        export_point(lab.repository, point, tmp_path / "none", f"{user}/mail/Nowhere")
    assert not (tmp_path / "none").exists()
    with pytest.raises(UsageError):
        export_point(lab.repository, point, tmp_path / "odd", "", "pst")  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        export_point(lab.repository, point, tmp_path / "odd", "", "vcf")
    assert not (tmp_path / "odd").exists()


async def test_questions_and_downloads(lab: Lab) -> None:
    user = fill(lab)
    await lab.backup(user)
    plane, secrets = lab.plane(), TaskSecrets(passphrase=PASSPHRASE)

    def ask(operation: str, **members: object) -> dict[str, object]:
        request = BrowseRequest("r", lab.url, **members)  # type: ignore[arg-type]
        answer: dict[str, object] = json.loads(plane.answer(operation, request, secrets))
        return answer

    def download(path: str, form: str = "native") -> tuple[str, str, bytes]:
        request = BrowseRequest("r", lab.url, point="latest", path=path, format=form)  # type: ignore[arg-type]
        found = plane.open_download(request, secrets)
        return found.file_name, found.media_type, b"".join(found.chunks)

    points = ask("points")["items"]
    assert [(p["name"], p["items"]) for p in points] == [(lab.tenant.key, 7)]  # type: ignore[attr-defined]
    assert [i["name"] for i in ask("browse", point="latest")["items"]] == [user]  # type: ignore[attr-defined]
    seen: list[str] = []
    after = ""
    while True:
        page = ask("browse", point="latest", path=f"{user}/mail/Inbox", after=after, limit=2)
        seen += [item["path"] for item in page["items"]]  # type: ignore[attr-defined]
        if page["next"] is None:
            break
        after = str(page["next"])
    assert len(seen) == len(set(seen)) == 5
    message = next(path for path in seen if "Same" in path)
    name, media, data = download(message)
    assert (name.startswith("Same~"), media) == (True, "message/rfc822")
    assert hashlib.sha256(data).hexdigest() in lab.expected(user)[user]["mail"]["Inbox"].values()
    assert download(f"{user}/drives/OneDrive/Documents/Report.txt")[2] == b"report"

    name, media, data = download(f"{user}/drives/OneDrive/Documents")
    assert (name, media) == ("Documents.zip", "application/zip")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.read(f"{user}/drives/OneDrive/Documents/Report.txt") == b"report"
    name, media, data = download(f"{user}/mail/Inbox/A?B:C", "mbox")
    assert (name, media, data[:5]) == ("A_B_C.mbox", "application/mbox", b"From ")

    with pytest.raises(NotFound):
        ask("browse", point="latest", path="nobody/mail")
    with pytest.raises(NotFound):
        download(f"{user}/mail/Inbox/nothing")
    with pytest.raises(BackupError):
        plane.answer(
            "points", BrowseRequest("r", lab.url), TaskSecrets(passphrase="wrong wrong wrong")
        )
    await plane.close()


async def test_discover_backup_seal_and_verify_as_tasks(lab: Lab) -> None:
    user = fill(lab)
    plane = lab.plane()
    discover = lab.task("discover", users=[user, "stranger@example.com"])
    await plane.run_task(discover.task, discover)
    assert [o.name for event in discover.of("discovered") for o in event.objects] == [user]
    assert discover.of("finished")[-1].result == "warning"
    entries = []
    for workload in ("mail", "drives"):
        backup = lab.task("backup", user, workload=workload)
        await plane.run_task(backup.task, backup)
        finished = backup.of("finished")[-1]
        assert (finished.result, finished.entry) == ("success", newest_entry(backup))
        entries.append(newest_entry(backup))
    for _ in range(2):  # sealing twice is sealing once
        seal = lab.task("seal-point", entries=entries, point="0123456789abcdef")
        await plane.run_task(seal.task, seal)
        assert seal.of("finished")[-1].report["items"] == 7
    lab.repository.refresh()
    assert [(p.name, lab.state(p)) for p in lab.repository.points()] == [
        ("Nightly", lab.expected(user))
    ]
    verify = lab.task("verify", verify_level="read")
    await plane.run_task(verify.task, verify)
    assert verify.of("finished")[-1].report["problems"] == 0
    await plane.close()


async def test_tasks_that_finish_together_share_a_commit(lab: Lab) -> None:
    users = [add_user(lab.emulator, name) for name in ("u1", "u2", "u3", "u4")]
    for user in users:
        lab.tenant.add_message(user, "Inbox", mime(1))
    plane = lab.plane()
    contexts = [lab.task("backup", user, workload="mail") for user in users]
    await asyncio.gather(*(plane.run_task(context.task, context) for context in contexts))
    await plane.close()
    assert len({newest_entry(context).manifest for context in contexts}) <= 2


async def test_messages_moved_while_folders_are_read_are_neither_lost_nor_doubled(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.workloads.mail.FOLDERS_AT_ONCE", 1)
    user = add_user(lab.emulator, "ann", files=False)
    keys = [lab.tenant.add_message(user, "A", mime(n)).key for n in range(10)]
    keys += [lab.tenant.add_message(user, "B", mime(n)).key for n in range(10, 20)]
    from proxy.workloads.mail import _Mailbox

    real, moved = _Mailbox._read_folder, False

    async def read_folder(self: _Mailbox, folder: str) -> None:
        nonlocal moved
        await real(self, folder)
        name = lab.tenant.mailbox(user).folders[folder].name
        if name in "AB" and not moved:
            moved = True
            other = "A" if name == "B" else "B"
            for message in list(lab.tenant.mailbox(user).messages()):
                if message.folder.name == other:
                    lab.tenant.move_message(user, message.key, name)

    monkeypatch.setattr(_Mailbox, "_read_folder", read_folder)
    for _ in range(2):
        moved = False
        result = await lab.backup(user)
        assert lab.state(result.point)[user]["mail"] == lab.expected(user)[user]["mail"]
    lab.assert_no_breach()


async def test_what_changed_between_two_restore_points(lab: Lab) -> None:
    """Mail and drive: what came, went, moved, was read or written anew; nothing else."""
    from repository.difference import differences

    user = fill(lab)
    tenant = lab.tenant
    first = (await lab.backup(user)).point
    messages = sorted(tenant.mailbox(user).messages(), key=lambda message: message.key)
    inbox = [message for message in messages if message.folder.name == "Inbox"]
    tenant.add_message(user, "Inbox", mime(200, subject="New"))
    tenant.delete_message(user, inbox[0].key)
    tenant.move_message(user, inbox[1].key, "Archive")
    tenant.put_file(user, "Documents/Report.txt", b"another report")
    tenant.move_file(user, "Documents/Sub", "Documents/Renamed")
    second = (await lab.backup(user)).point
    assert first is not None
    assert second is not None
    found = {
        d.workload: [
            (c.change, c.path.partition(f"{user}/{d.workload}/")[2].partition("~")[0], c.aspects)
            for c in d.changes()
        ]
        for d in differences(lab.repository, first, second)
    }
    mail = {change for change in found["mail"] if change[1] != "Archive"}
    assert mail == {
        ("added", "Inbox/New", ()),
        ("removed", "Inbox/Same", ()),
        ("changed", "Archive/Same", ("place",)),
    }
    drive = {(change, path.partition("/")[2]): aspects for change, path, aspects in found["drives"]}
    assert drive.keys() == {("changed", "Documents/Report.txt"), ("changed", "Documents/Renamed")}
    assert "content" in drive["changed", "Documents/Report.txt"]
    assert drive["changed", "Documents/Renamed"] == ("place",)
