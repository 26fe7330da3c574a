"""
How a proxy becomes part of the installation: an account on the bus, a certificate, a sealing key.

With a private NATS each proxy has an account of its own with the rights below; its file appears in
`nats_users_dir` and the supervisor makes NATS read it. An existing NATS gives its own account.
"""

import json
import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from proxy.contract import (
    BUDGETS_BUCKET,
    BUDGETS_SUBJECT,
    CHECKPOINTS_BUCKET,
    PROXIES_BUCKET,
    WORK_STREAM,
    JoinDocument,
)
from server.bus.connection import WORK_KINDS
from server.identifiers import new_id
from server.sealing import new_sealing_key
from server.services import Services

PASSWORD_BYTES = 24
ANSWER_LIFE = "2m"


def permissions(proxy: str, pool: str) -> dict[str, Any]:
    """What a proxy may do on the bus: its pool's work, its own secrets and heartbeat, events."""
    next_messages = [
        f"$JS.API.CONSUMER.MSG.NEXT.{WORK_STREAM}.{pool}-{kind}" for kind in WORK_KINDS
    ]
    acknowledgements = [f"$JS.ACK.{WORK_STREAM}.{pool}-{kind}.>" for kind in WORK_KINDS]
    return {
        "publish": {
            "allow": [
                *next_messages,
                *acknowledgements,
                "events.*.*",
                f"secrets.{proxy}",
                f"$KV.{PROXIES_BUCKET}.{proxy}",
                f"$KV.{CHECKPOINTS_BUCKET}.*",
                f"$JS.API.STREAM.MSG.GET.KV_{CHECKPOINTS_BUCKET}",
                # A tenant's budget is for all pools that read it.
                f"$KV.{BUDGETS_BUCKET}.*.*",
                f"$JS.API.STREAM.MSG.GET.KV_{BUDGETS_BUCKET}",
            ]
        },
        "subscribe": {
            "allow": [
                f"_INBOX_{proxy}.>",
                f"ask.{pool}.*",
                f"control.{pool}",
                f"{BUDGETS_SUBJECT}.*.*",
            ]
        },
        "allow_responses": {"max": 1, "expires": ANSWER_LIFE},
    }


def new_document(services: Services, pool: str) -> tuple[JoinDocument, str]:
    """A join document and the public half of its sealing key."""
    proxy = new_id()
    url, user, password = _bus_account(services, proxy)
    private, public = new_sealing_key()
    certificate = services.authority.issue(proxy)
    document = JoinDocument(
        proxy=proxy,
        pool=pool,
        nats_url=url,
        nats_user=user,
        nats_password=password,
        ca=services.authority.text,
        certificate=certificate.certificate,
        private_key=certificate.private_key,
        sealing_key=private,
    )
    return document, public


def _bus_account(services: Services, proxy: str) -> tuple[str, str, str]:
    settings = services.settings
    given = urlsplit(settings.proxy_nats_url or settings.nats)
    host = given.netloc.rpartition("@")[2]
    url = urlunsplit((given.scheme, host, given.path, given.query, ""))
    if settings.nats_users_dir:
        return url, proxy, secrets.token_urlsafe(PASSWORD_BYTES)
    return url, unquote(given.username or ""), unquote(given.password or "")


def write_account(services: Services, document: JoinDocument) -> None:
    """Put the account where a private NATS finds it."""
    if not services.settings.nats_users_dir:
        return
    account = {
        "user": document.nats_user,
        "password": document.nats_password,
        "permissions": permissions(document.proxy, document.pool),
    }
    _write_account(_account_file(services, document.proxy), account)


def outdated_account(users_dir: Path, proxy: str, pool: str) -> dict[str, Any] | None:
    """
    The account that a proxy should have, where the one it has carries other rights: those of the program that let it join.

    None: its rights are those of this program, or it has no account here.
    """
    try:
        account = json.loads((users_dir / f"{proxy}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    rights = permissions(proxy, pool)
    if not isinstance(account, dict) or account.get("permissions") == rights:
        return None
    return {**account, "permissions": rights}


async def renew_accounts(services: Services) -> list[str]:
    """Give proxies that joined under an earlier program the rights of this one; their ids."""
    if not services.settings.nats_users_dir:
        return []
    renewed = []
    for row in await services.database.rows("proxies.all"):
        folder = Path(services.settings.nats_users_dir)
        account = outdated_account(folder, row["id"], row["pool"])
        if account is not None:
            _write_account(_account_file(services, row["id"]), account)
            renewed.append(row["id"])
    return renewed


def _write_account(path: Path, account: dict[str, Any]) -> None:
    draft = path.with_suffix(".draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(account, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def remove_account(services: Services, proxy: str) -> None:
    """Take the account away; NATS ends its connections."""
    if services.settings.nats_users_dir:
        _account_file(services, proxy).unlink(missing_ok=True)


def _account_file(services: Services, proxy: str) -> Path:
    return Path(services.settings.nats_users_dir) / f"{proxy}.json"
