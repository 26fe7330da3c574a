"""
What one emulator is started with. Plain values; nothing here opens or reads anything.
"""

import dataclasses
from pathlib import Path
from typing import Literal

Throttling = Literal["off", "real", "tiny"]

BACKUP_ROLES = (
    "User.Read.All",
    "GroupMember.Read.All",
    "Organization.Read.All",
    "Mail.Read",
    "MailboxSettings.Read",
    "Calendars.Read",
    "Contacts.Read",
    "Tasks.Read.All",
    "MailboxFolder.Read.All",
    "MailboxItem.Read.All",
    "MailboxItem.Export.All",
    "Files.Read.All",
    "Sites.Read.All",
)
RESTORE_ROLES = (
    "User.Read.All",
    "Organization.Read.All",
    "Mail.ReadWrite",
    "MailboxSettings.ReadWrite",
    "Calendars.ReadWrite",
    "Contacts.ReadWrite",
    "Tasks.ReadWrite.All",
    "MailboxFolder.ReadWrite.All",
    "MailboxItem.ImportExport.All",
)


@dataclasses.dataclass(frozen=True, slots=True)
class EmulatorOptions:
    """
    How to start an emulator.

    Args:
        data_dir: folder for the CA, keys and `control.json`; made when absent.
        recipe: `tiny`, `demo`, `mid`, `nasty`, `empty`, `huge` or `huge:N`; ignored when `content` is given.
        content: folder whose first-level folders become users (see `docs/emulator.md`).
        seed: equal seeds give equal tenants.
        host: loopback address to listen on; links are built from the request, not from this.
        port: TLS port, 0 = any free one. The proxy and control ports are always free ones.
        org_file: TOML file written when ready to serve, mode 0600, with the app of the backup.
        restore_org_file: the same with the app of the restore; written before `org_file`.
        script: JSON file with a fault script that is in force from the start.
        throttling: `off`, `real` limits, or `tiny` (real / 100).
        rate: virtual seconds per real second; durations sent to clients are divided by it.
        token_life: virtual seconds an access token lives.
        url_life: virtual seconds a pre-authenticated URL lives.
        import_life: virtual seconds an import session lives.
        export_bytes_max: largest item that can be exported and imported, in bytes of its stream.
        latency: real seconds each Graph answer takes; makes concurrency visible.
        inject_mime_drift: each `$value` of a message differs from the last in one header.
        roles: application roles in access tokens of the backup's app.
        restore_roles: those of the restore's app.
        grace: real seconds after a 429 in which further calls are not held a breach, since they
            may have been on the wire already.
    """

    data_dir: Path
    recipe: str = "demo"
    content: Path | None = None
    seed: int = 1
    host: str = "127.0.0.1"
    port: int = 0
    org_file: Path | None = None
    restore_org_file: Path | None = None
    script: Path | None = None
    throttling: Throttling = "off"
    rate: float = 1.0
    token_life: int = 3599
    url_life: int = 3600
    import_life: int = 3600
    export_bytes_max: int = 150 << 20
    latency: float = 0.0
    inject_mime_drift: bool = False
    roles: tuple[str, ...] = BACKUP_ROLES
    restore_roles: tuple[str, ...] = RESTORE_ROLES
    grace: float = 0.5
