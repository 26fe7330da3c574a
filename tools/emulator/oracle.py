"""
The exact state of a tenant, for tests to compare a backup with.
"""

from typing import Any

from tools.emulator.clock import iso
from tools.emulator.mail_oracle import mail_state
from tools.emulator.record_oracle import records_state
from tools.emulator.tenant import Tenant, User


def oracle(
    tenant: Tenant, user: str | None = None, *, exact: bool = False
) -> dict[str, dict[str, Any]]:
    """
    The expected state of one user or of all, by principal name.

    Per user: `id`; `mail`: folder path -> immutable message id -> SHA-256 of the MIME;
    with `exact`, `mail_state` as `mail_oracle` says (it parses every message) and `settings`;
    `calendars`, `contacts`, `tasks` as `record_oracle` says;
    `drive`: file path -> `id`, `sha256`, `size` in bytes, `mtime`; `drive_folders`: folder paths.
    """
    chosen = [tenant.user(user)] if user else list(tenant.users.values())
    found = {each.upn: _state(each) for each in chosen}
    if exact:
        for each in chosen:
            if each.mailbox:
                found[each.upn]["mail_state"] = mail_state(each.mailbox, tenant.seed)
                found[each.upn]["settings"] = each.mailbox.settings.state()
    return found


def _state(user: User) -> dict[str, Any]:
    state: dict[str, Any] = {"id": user.key, "mail": {}, "drive": {}, "drive_folders": []}
    if user.mailbox:
        state |= records_state(user.mailbox)
        for folder in user.mailbox.folders.values():
            if folder.parent is not None and not folder.search and not folder.recoverable:
                messages = {m.key: m.mime.sha256 for m in folder.messages.values()}
                state["mail"][folder.path] = messages
    if user.drive:
        for item in user.drive.items():
            if item.content is not None:
                state["drive"][item.path] = {
                    "id": item.key,
                    "sha256": item.content.sha256,
                    "size": item.content.size,
                    "mtime": iso(item.modified),
                }
            elif item.parent is not None:
                state["drive_folders"].append(item.path)
    return state
