"""
The Outlook host: pre-authenticated URLs that take items to import and pieces of attachments.

Whoever has the URL may write; it must not come with an `Authorization`, nor turn up in a log. Each
token begins with `CANARY`, which tests look for in what the product wrote.
"""

from typing import Any
from urllib.parse import quote, urlsplit

from tools.emulator.call import Call, Services
from tools.emulator.clock import iso
from tools.emulator.errors import GraphError
from tools.emulator.reply import Reply, json_reply
from tools.emulator.sealing import BrokenSeal
from tools.emulator.upload_sessions import LIFE, Attach

CANARY = "canary-"
PREFIX = "/api/gv1.0/"


def _address(call: Call, path: str, purpose: str, ticket: dict[str, object]) -> str:
    """A URL on the Outlook host; on the emulator's own where the call came without a proxy."""
    token = CANARY + call.services.sealer.seal(purpose, ticket)
    host = urlsplit(call.origin).hostname or ""
    origin = call.origin
    if host not in ("127.0.0.1", "localhost", "::1"):
        origin = "https://outlook.office365.com"
    return f"{origin}{PREFIX}{path}?authtoken={token}"


def _ticket(call: Call, expires: float) -> dict[str, object]:
    return {
        "user": call.user().key,
        "app": call.app.name,
        "expires": expires,
        "epoch": call.services.url_epoch,
    }


def import_url(call: Call, expires: float) -> str:
    """A URL that takes items into the mailbox of `call` until `expires`."""
    mailbox = quote(call.tenant.mailbox_id(call.user()), safe=":@")
    path = f"Mailboxes('{mailbox}')/importItem"
    return _address(call, path, "import", _ticket(call, expires))


def upload_reply(call: Call, size: int, attach: Attach) -> Reply:
    """Open an upload session for an attachment of the message or event in the path."""
    expires = call.now + LIFE
    session = call.services.uploads.open(size, expires, attach)
    user = quote(call.params["user"], safe="@")
    kind = "message" if "message" in call.params else "event"
    path = f"users('{user}')/{kind}s('{call.params[kind]}')/AttachmentSessions('{session}')"
    body = {
        "@odata.context": call.context("uploadSession"),
        "uploadUrl": _address(call, path, "upload", _ticket(call, expires) | {"session": session}),
        "expirationDateTime": iso(expires),
        "nextExpectedRanges": ["0-"],
    }
    return json_reply(body, 201)


def open_ticket(services: Services, purpose: str, token: str) -> dict[str, Any]:
    """What a URL's token says; 401 for one that was altered or has expired."""
    try:
        ticket = services.sealer.open(purpose, token.removeprefix(CANARY))
    except BrokenSeal:
        raise _refused() from None
    expired = ticket["expires"] <= services.clock.now() or ticket["epoch"] != services.url_epoch
    if expired or not token.startswith(CANARY):
        raise _refused()
    return ticket


def _refused() -> GraphError:
    return GraphError(401, "InvalidAuthenticationToken", "The authtoken is expired or invalid.")
