"""
Attachments of a new item: small ones go with it, others one by one, large ones through an upload session.

Which are missing is told by what the item has: adding them is repeated as often as it takes, and never makes one twice.
"""

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from proxy.graph.client import Call, Content
from proxy.graph.errors import GraphAnswerLost, GraphNotFound, GraphUnavailable, GraphUnsupported
from proxy.graph.paging import LinkMachine
from proxy.restore.new_attachment import NewAttachment
from proxy.restore.target import Target

__all__ = ["INSIDE_BYTES_MAX", "Attacher", "Kind", "inside"]

INSIDE_BYTES_MAX = (
    2_500_000  # of all attachments that go with their item: the request stays under 4 MB
)
POST_BYTES_MAX = 3_000_000  # above it Graph wants an upload session
SESSION_BYTES_MAX = 150_000_000
TASK_BYTES_MAX = 25 << 20  # To Do's own limit
FRAGMENT_BYTES = 12 * 320 * 1024  # under 4 MB
TRIES_MAX = 5


class _Attached(msgspec.Struct, rename="camel"):
    name: str | None = None
    is_inline: bool | None = None


class _Session(msgspec.Struct, rename="camel"):
    upload_url: str


_ATTACHED = msgspec.json.Decoder(_Attached)


def inside(attachments: Sequence[NewAttachment]) -> bool:
    """Whether all of them can go in the request that makes their item."""
    if any(one.reference is not None for one in attachments):
        return False
    sizes = (len(one.content) if one.is_file else len(str(one.item)) for one in attachments)
    return sum(sizes) <= INSIDE_BYTES_MAX


class Kind(enum.Enum):
    """What attachments hang on: they are listed, made and sent in two ways. The value: members of a listing."""

    OUTLOOK = "id,name,isInline"
    TASK = "id,name"

    @property
    def bytes_max(self) -> int:
        """Of one attachment."""
        return TASK_BYTES_MAX if self is Kind.TASK else SESSION_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Attacher:
    """Adds attachments to items of a user. `items`: the path of their collection ("/messages", "/events")."""

    target: Target
    items: str
    kind: Kind = Kind.OUTLOOK

    async def add_missing(self, item: str, wanted: Sequence[NewAttachment]) -> None:
        """
        Add what `item` (an id, quoted) lacks of `wanted`.

        Raises:
            GraphUnsupported(attachment-too-large): one is larger than Graph takes; the others are there.
            GraphError: it could not be done.
        """
        large = [one for one in wanted if len(one.content) > self.kind.bytes_max]
        small = [one for one in wanted if len(one.content) <= self.kind.bytes_max]
        for _ in range(TRIES_MAX):
            try:
                for one in await self._missing(item, small):
                    await self._add(item, one)
                break
            except (GraphAnswerLost, GraphNotFound):
                # Perhaps it is there; and an item just made is sometimes not found (graph-lessons 94).
                await self.target.writer.clock.sleep(self._pause_s)
        else:
            if await self._missing(item, small):
                raise GraphUnavailable(
                    "An attachment could not be added.", code="attachment-not-added"
                )
        if large:
            raise GraphUnsupported(
                f"{len(large)} attachments are larger than Graph takes; export the item for them.",
                code="attachment-too-large",
            )

    @property
    def _pause_s(self) -> float:
        return self.target.writer.settings.item_patience_s / 30

    async def _missing(self, item: str, wanted: Sequence[NewAttachment]) -> list[NewAttachment]:
        if not wanted:
            return []
        path = f"{self.items}/{item}/attachments"
        there = Counter[tuple[str, bool]]()
        query = {"$select": self.kind.value}
        async for one in self.target.listed("List attachments", path, _ATTACHED, query):
            there[one.name or "", bool(one.is_inline)] += 1
        missing = []
        for attachment in wanted:
            if there[attachment.likeness] > 0:
                there[attachment.likeness] -= 1
            else:
                missing.append(attachment)
        return missing

    async def _add(self, item: str, attachment: NewAttachment) -> None:
        path = f"{self.items}/{item}/attachments"
        if attachment.is_file and len(attachment.content) > POST_BYTES_MAX:
            await self._upload(path, attachment)
            return
        members = attachment.members()
        if self.kind is Kind.TASK:
            members = {n: members[n] for n in ("name", "contentType", "contentBytes")}
            members["@odata.type"] = "#microsoft.graph.taskFileAttachment"
        call = self.target.call("Add an attachment", path, members)
        await self.target.writer.create(call)

    async def _upload(self, path: str, attachment: NewAttachment) -> None:
        """By a session, whose pieces go to Outlook's host without the token, for a task to Graph with it."""
        what = "Open an upload session"
        call = self.target.call(what, f"{path}/createUploadSession", self._asked(attachment))
        answer = await self.target.writer.ask(call)
        try:
            url = msgspec.json.decode(answer.body, type=_Session).upload_url
        except msgspec.DecodeError as error:
            raise GraphUnavailable(
                f"{what}: the answer has no address.", code="graph-bad-answer"
            ) from error
        if self.kind is Kind.TASK:
            endpoint = self.target.writer.settings.graph_endpoint
            LinkMachine(endpoint, delta=False).check_host(url)
            url += "/content"
        size = len(attachment.content)
        for begin in range(0, size, FRAGMENT_BYTES):
            fragment = attachment.content[begin : begin + FRAGMENT_BYTES]
            await self._put(url, fragment, begin, size)

    def _asked(self, attachment: NewAttachment) -> dict[str, Any]:
        about: dict[str, Any] = {
            "attachmentType": "file",
            "name": attachment.name,
            "size": len(attachment.content),
            "contentType": attachment.content_type,
        }
        if self.kind is Kind.TASK:
            return {"attachmentInfo": about}
        about["isInline"] = attachment.inline
        if attachment.content_id:
            about["contentId"] = attachment.content_id
        return {"AttachmentItem": about}

    async def _put(self, url: str, fragment: bytes, begin: int, size: int) -> None:
        """One fragment. A lost answer ends the session: whether it was the last one, the listing says."""
        span = f"bytes {begin}-{begin + len(fragment) - 1}/{size}"
        call = self.target.call("Send a fragment", "")
        await self.target.writer.send(
            Call(
                url,
                call.scope,
                call.what,
                patience_s=call.patience_s,
                method="PUT",
                content=Content("application/octet-stream", fragment),
                headers=(("Content-Range", span),),
                once=True,
                bearer=self.kind is Kind.TASK,
            )
        )
