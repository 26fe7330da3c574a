"""Where a restore goes: the words of `--to`, and which user of the organization stands for which object."""

from dataclasses import dataclass

import msgspec

from engine.errors import NotFound, UsageError
from proxy.graph.budget import DIRECTORY
from proxy.graph.client import Call, segment
from proxy.graph.errors import GraphNotFound
from proxy.graph.writer import GraphWriter
from proxy.restore.target import Target

__all__ = ["ORIGINAL", "Destination", "find_target", "parse_destination"]

ORIGINAL = "original"
ANSWER_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Destination:
    """
    `user`: id or principal name, "" for each object's own; `folder`: names below which everything goes, empty for the
    places where it was.
    """

    user: str = ""
    folder: tuple[str, ...] = ()


class _User(msgspec.Struct, rename="camel"):
    id: str
    user_principal_name: str | None = None


def parse_destination(text: str) -> Destination:
    """
    The words of `--to`: `original`, or USER, or USER/FOLDER with further folders behind slashes (%2F stands for one).

    Raises:
        UsageError(destination-form): nothing before the first slash, or an empty name behind it.
    """
    if text == ORIGINAL:
        return Destination()
    user, _, rest = text.partition("/")
    names = tuple(name.replace("%2F", "/").replace("%25", "%").strip() for name in rest.split("/"))
    if not user or (rest and not all(names)):
        raise UsageError(
            "--to is `original`, USER or USER/FOLDER, for example ann@example.com/Restored.",
            code="destination-form",
        )
    return Destination(user, names if rest else ())


async def find_target(
    writer: GraphWriter, destination: Destination, object_id: str, object_name: str
) -> Target:
    """
    The user that an object's data goes to.

    To `original`: the object's own id, else who has its name now (made anew, or in another organization).

    Raises:
        NotFound(restore-user-missing): nobody is there.
    """
    names = [destination.user] if destination.user else [object_id, object_name]
    for name in names:
        url = writer.url(f"/users/{segment(name)}", {"$select": "id,userPrincipalName"})
        try:
            body = await writer.get_bytes(Call(url, DIRECTORY, "Look up a user"), ANSWER_BYTES_MAX)
        except GraphNotFound:
            continue
        user = msgspec.json.decode(body, type=_User)
        return Target(writer, user.id, user.user_principal_name or user.id, user.id == object_id)
    raise NotFound(
        f"The organization has no user {names[-1]}: make the user first, or name another with --to.",
        code="restore-user-missing",
    )
