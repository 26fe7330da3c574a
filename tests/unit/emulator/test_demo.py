"""The demo recipe: the size promised, the same again from the same seed, days that go by."""

import email
import email.policy
import io
import zipfile

import pytest

from tools.emulator.clock import Clock
from tools.emulator.demo.churn import churn
from tools.emulator.demo.recipe import build
from tools.emulator.oracle import oracle
from tools.emulator.tenant import Tenant


def demo(seed: int = 1) -> Tenant:
    return build(seed, Clock())


@pytest.mark.slow
def test_equal_seeds_equal_tenants() -> None:
    one, two, other = demo(1), demo(1), demo(2)
    churn(one, 2)
    churn(two, 2)
    people = [user.upn for user in one.users.values()][:6]
    for upn in people:
        assert oracle(one, upn) == oracle(two, upn)
        assert oracle(one, upn) != oracle(other, upn)


def test_size() -> None:
    tenant = demo()
    messages = [m for u in tenant.users.values() if u.mailbox for m in u.mailbox.messages()]
    files = [f for u in tenant.users.values() if u.drive for f in u.drive.files()]
    assert len(tenant.users) == 40
    assert 3_500 < len(messages) < 5_000
    assert 1_400 < len(files) < 2_000
    for user in tenant.users.values():
        assert user.mailbox is not None
        paths = {folder.path: len(folder.messages) for folder in user.mailbox.folders.values()}
        assert paths["Inbox/Follow up later"] == 0
        assert paths["Inbox"] > 0
        assert sum(path.count("/") == 2 for path in paths) >= 2


def test_mailboxes_are_set_up() -> None:
    """Categories and rules of the projects, time zones, and some who are away; equal for a seed."""
    settings = [u.mailbox.settings.state() for u in demo().users.values() if u.mailbox]
    again = [u.mailbox.settings.state() for u in demo().users.values() if u.mailbox]
    assert settings == again
    assert all(each["categories"] and each["rules"] for each in settings)
    assert len({each["settings"]["timeZone"] for each in settings}) > 2
    away = [each["settings"]["automaticRepliesSetting"]["status"] for each in settings]
    assert 0 < away.count("alwaysEnabled") < 20


def test_everyone_has_meetings_contacts_and_tasks() -> None:
    """Meetings lie in the calendars of all who are on them; there are series, exceptions, pictures."""
    tenant = demo()
    uids: dict[str, int] = {}
    series = pictures = 0
    for user in tenant.users.values():
        assert user.mailbox is not None
        events = list(user.mailbox.calendars.records())
        assert len(events) > 2
        assert sum(1 for _ in user.mailbox.contacts.records()) == 6
        assert sum(1 for _ in user.mailbox.tasks.records()) == 4
        series += sum(bool(event.exceptions and event.cancelled) for event in events)
        pictures += sum(contact.photo is not None for contact in user.mailbox.contacts.records())
        for event in events:
            uids[event.properties["iCalUId"]] = uids.get(event.properties["iCalUId"], 0) + 1
    assert series > 20
    assert pictures > 50
    assert sum(count > 1 for count in uids.values()) > 20


@pytest.mark.slow
def test_mails_are_well_formed_and_share_attachments() -> None:
    tenant = demo()
    attached: dict[bytes, int] = {}
    subjects = set()
    for user in list(tenant.users.values())[:12]:
        assert user.mailbox is not None
        for message in user.mailbox.messages():
            parsed = email.message_from_bytes(message.mime.read(), policy=email.policy.default)
            assert not parsed.defects
            subjects.add(str(parsed["Subject"]))
            for part in parsed.iter_attachments() if parsed.is_multipart() else ():
                content = part.get_payload(decode=True)
                assert isinstance(content, bytes)
                attached[content] = attached.get(content, 0) + 1
    drive = {
        item.content.read()
        for user in tenant.users.values()
        if user.drive
        for item in user.drive.files()
        if item.content and item.path.startswith("Projects/")
    }
    assert any(not subject.isascii() for subject in subjects)
    assert max(attached.values()) > 3
    assert set(attached) <= drive


def test_office_files_open() -> None:
    tenant = demo()
    user = next(iter(tenant.users.values()))
    assert user.drive is not None
    for item in user.drive.files():
        if item.name.endswith((".docx", ".xlsx", ".zip")) and item.content:
            with zipfile.ZipFile(io.BytesIO(item.content.read())) as archive:
                assert archive.testzip() is None


def test_churn_changes_mail_and_files() -> None:
    tenant = demo()
    made = churn(tenant, 3)
    assert {"mails", "delete", "move", "read", "files edit", "files add"} <= set(made)


def test_churn_is_for_the_demo_only() -> None:
    with pytest.raises(ValueError, match="demo"):
        churn(Tenant(1, "x", "x", Clock()))
