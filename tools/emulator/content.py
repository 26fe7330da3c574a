"""
A tenant made of a folder: `--content DIR`.

Each first-level folder is a user. In it, `mail/` holds folders of `.eml` files (one message each,
served byte for byte) and `.mbox` files (each a folder of messages), `files/` is the drive,
`calendar/` and `contacts/` are as `content_records` says. Of mail and files nothing is read at the
start but names, sizes and times; symbolic links are not followed.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from tools.emulator import content_records, mbox
from tools.emulator.blob import FileBlob
from tools.emulator.clock import Clock
from tools.emulator.drive import Drive
from tools.emulator.mailbox import Folder, Mailbox
from tools.emulator.tenant import Tenant

_RESERVED = '"*:<>?/\\|'


def build(root: Path, seed: int, clock: Clock) -> Tenant:
    """The tenant of the folder `root`; ValueError when it holds no user."""
    if not root.is_dir():
        raise ValueError(f"{root} is no folder")
    tenant = Tenant(seed, root.resolve().name, "content", clock)
    people = [entry for entry in _entries(root) if entry.is_dir(follow_symlinks=False)]
    if not people:
        raise ValueError(f"{root} holds no folders; each first-level folder is a user")
    for person in people:
        _add_user(tenant, person)
    return tenant


def _entries(folder: Path | str) -> list["os.DirEntry[str]"]:
    with os.scandir(folder) as found:
        return sorted((e for e in found if not e.is_symlink()), key=lambda e: e.name)


def valid_name(name: str) -> str:
    """`name` as Graph can carry it: undecodable bytes and reserved characters percent-encoded."""
    out = []
    for char in name:
        code = ord(char)
        if 0xDC80 <= code <= 0xDCFF:
            out.append(f"%{code - 0xDC00:02X}")
        elif char in _RESERVED or code < 0x20 or code == 0x7F:
            out.append(f"%{code:02X}")
        else:
            out.append(char)
    text = "".join(out)
    if text.endswith((" ", ".")):
        text = f"{text[:-1]}%{ord(text[-1]):02X}"
    if text.startswith(" "):
        text = f"%20{text[1:]}"
    return text


def _free_name(name: str, taken: set[str]) -> str:
    """`name`, numbered when a sibling has it already in another case or encoding."""
    free, number = name, 1
    while free.lower() in taken:
        number += 1
        stem, dot, suffix = name.rpartition(".")
        free = f"{stem} ({number}).{suffix}" if dot and stem else f"{name} ({number})"
    taken.add(free.lower())
    return free


def _add_user(tenant: Tenant, person: "os.DirEntry[str]") -> None:
    display = valid_name(person.name)
    slug = re.sub(r"[^a-z0-9._-]+", "-", display.lower()).strip("-.") or "user"
    upn, number = f"{slug}@{tenant.domain}", 1
    while any(user.upn == upn for user in tenant.users.values()):
        number += 1
        upn = f"{slug}{number}@{tenant.domain}"
    mail, files, calendar, contacts = (
        Path(person.path, name) for name in ("mail", "files", "calendar", "contacts")
    )
    profile = {
        "displayName": display,
        "mail": upn,
        "mailNickname": slug,
        "accountEnabled": True,
        "userType": "Member",
    }
    at = person.stat().st_mtime
    boxed = mail.is_dir() or calendar.is_dir() or contacts.is_dir()
    user = tenant.add_user(upn, profile, mail=boxed, files=files.is_dir(), at=at)
    if user.mailbox:
        if mail.is_dir():
            _fill_folder(user.mailbox, None, mail)
        if calendar.is_dir():
            content_records.fill_calendars(user.mailbox.calendars, calendar, user.mail_address)
        if contacts.is_dir():
            held = user.mailbox.contacts
            content_records.fill_contacts(held, held.default, contacts)
    if user.drive:
        _fill_drive(user.drive, files)


def _fill_folder(mailbox: Mailbox, folder: Folder | None, path: Path) -> None:
    """Put what lies in `path` into `folder`; what lies at the top goes to the inbox."""
    parent = folder or mailbox.root
    target = folder or mailbox.folder("inbox")
    taken = {child.name.lower() for child in parent.children.values() if child.well_known is None}
    for entry in _entries(path):
        if entry.is_dir(follow_symlinks=False):
            child = _child(mailbox, parent, _free_name(valid_name(entry.name), taken))
            _fill_folder(mailbox, child, Path(entry.path))
        elif entry.name.lower().endswith(".mbox"):
            child = _child(mailbox, parent, _free_name(valid_name(entry.name[:-5]), taken))
            _fill(mailbox, child, Path(entry.path), entry.stat().st_mtime)
        elif entry.name.lower().endswith(".eml"):
            status = entry.stat()
            blob = FileBlob(Path(entry.path), 0, status.st_size)
            mailbox.add(target, blob, at=status.st_mtime)


def _child(mailbox: Mailbox, parent: Folder, name: str) -> Folder:
    """The folder of that name: a standing one such as the inbox, or a new one."""
    for child in parent.children.values():
        if child.name.lower() == name.lower() or child.well_known == name.lower():
            return child
    return mailbox.add_folder(parent, name)


def _fill(mailbox: Mailbox, folder: Folder, path: Path, at: float) -> None:
    for offset, size in mbox.split_file(path):
        mailbox.add(folder, FileBlob(path, offset, size), at=at)


def _fill_drive(drive: Drive, root: Path) -> None:
    for path, source, status in _walk(root, ""):
        if source is None:
            drive.add_folder(path, at=status.st_mtime)
        else:
            blob = FileBlob(source, 0, status.st_size)
            drive.put(path, blob, at=status.st_mtime)
    drive.settle()


def _walk(folder: Path, above: str) -> Iterator[tuple[str, Path | None, os.stat_result]]:
    """Paths within the drive, with the file on disk, None for folders."""
    taken: set[str] = set()
    for entry in _entries(folder):
        name = _free_name(valid_name(entry.name), taken)
        path = f"{above}/{name}" if above else name
        if entry.is_dir(follow_symlinks=False):
            yield path, None, entry.stat()
            yield from _walk(Path(entry.path), path)
        elif entry.is_file(follow_symlinks=False):
            yield path, Path(entry.path), entry.stat()
