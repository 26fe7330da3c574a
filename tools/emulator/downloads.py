"""
Content behind pre-authenticated URLs, as the SharePoint hosts serve it.
"""

import mimetypes
from urllib.parse import quote, urlsplit

from tools.emulator import naming
from tools.emulator.call import Call, Services
from tools.emulator.drive import Drive, Item
from tools.emulator.errors import GraphError, no_file
from tools.emulator.reply import Reply, content_reply
from tools.emulator.sealing import BrokenSeal
from tools.emulator.tenant import User


def web_root(call: Call, user: User) -> str:
    """The address of a user's personal site."""
    person = user.upn.replace("@", "_").replace(".", "_")
    return f"https://{call.tenant.slug}-my.sharepoint.com/personal/{quote(person)}"


def download_url(call: Call, drive: Drive, item: Item, *, paid: bool) -> str:
    """A pre-authenticated URL of a file's content; `paid`: its units are counted already."""
    services = call.services
    ticket = {
        "drive": drive.key,
        "item": item.key,
        "expires": services.clock.now() + services.options.url_life,
        "epoch": services.url_epoch,
        "paid": paid,
    }
    token = services.sealer.seal("download", ticket)
    host = urlsplit(call.origin).hostname or ""
    if host in ("127.0.0.1", "localhost", "::1"):
        return f"{call.origin}/_dl/{token}"
    unique = naming.guid(call.tenant.seed, drive.key, item.key)
    path = "/_layouts/15/download.aspx"
    root = web_root(call, call.tenant.users[drive.owner])
    return f"{root}{path}?UniqueId={unique}&Translate=false&tempauth={token}"


async def download(
    services: Services, token: str, range_header: str | None
) -> tuple[Reply, dict[str, str]]:
    """The content behind a pre-authenticated URL, with SharePoint's throttle headers."""
    try:
        ticket = services.sealer.open("download", token)
    except BrokenSeal:
        raise _no_longer() from None
    if ticket["expires"] <= services.clock.now() or ticket["epoch"] != services.url_epoch:
        raise _no_longer()
    user = services.tenant.drive_owner(ticket["drive"])
    if user is None or user.drive is None:
        raise no_file()
    item = user.drive.item(ticket["item"])
    headers = services.throttle.files(0 if ticket["paid"] else 1)
    services.faults.check_owner("files", user.key)
    services.faults.check_item(item.key, content=True)
    if item.content is None:
        raise no_file()
    kind = mimetypes.guess_type(item.name)[0] or "application/octet-stream"
    cut = services.faults.take_cut(item.key)
    etag = f'"{{{item.key}}},{item.content_version}"'
    return await content_reply(item.content, kind, range_header, etag, cut), headers


def _no_longer() -> GraphError:
    return GraphError(401, "unauthenticated", "The download URL is not valid any more.")
