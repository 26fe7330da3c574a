"""Reading calls into one mailbox, as the workloads of calendars, contacts and tasks make them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from proxy.graph.budget import Scope
from proxy.graph.client import Call, GraphClient, segment
from proxy.graph.errors import GraphUnavailable
from proxy.graph.paging import mended_json
from proxy.graph.transport import JSON_BYTES_MAX
from proxy.workloads.members import Members, array, decode_members

__all__ = ["IMMUTABLE_IDS", "MailboxCalls"]

IMMUTABLE_IDS = 'IdType="ImmutableId"'
PAGE = "odata.maxpagesize=250"


@dataclass(frozen=True, slots=True)
class MailboxCalls:
    """Calls below `/users/{user}`. `prefer`: what each asks for."""

    client: GraphClient
    user: str
    prefer: tuple[str, ...] = (IMMUTABLE_IDS,)

    def path(self, below: str) -> str:
        """A path of the mailbox."""
        return f"/users/{segment(self.user)}{below}"

    def page_call(self, what: str, below: str, query: Mapping[str, str] | None = None) -> Call:
        """A call whose failure costs many items: it is tried for long."""
        url = self.client.url(self.path(below), query)
        return Call(url, Scope.mailbox(self.user), what, self.prefer)

    def item_call(self, what: str, below: str, query: Mapping[str, str] | None = None) -> Call:
        """A call for one item."""
        call = self.page_call(what, below, query)
        return replace(call, patience_s=self.client.settings.item_patience_s)

    async def all(self, call: Call) -> list[bytes]:
        """All entries of a listing that is short."""
        asked = replace(call, prefer=(*call.prefer, PAGE))
        return [bytes(raw) async for page in self.client.pages(asked) for raw in page.items]

    async def item(self, call: Call) -> bytes:
        """
        The JSON object behind a call.

        Raises:
            GraphUnavailable: it is none.
        """
        body = await self.client.get_bytes(call, JSON_BYTES_MAX)
        self.client.meter.bytes_read += len(body)
        for text in (body, mended_json(body)):
            try:
                decode_members(text)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            return text
        raise GraphUnavailable(f"{call.what}: the answer is not JSON.", code="graph-bad-answer")

    async def members(self, call: Call) -> Members:
        """The members of the object behind a call."""
        return decode_members(await self.item(call))

    async def complete(self, members: Members, name: str, call: Call) -> None:
        """
        See to it that `members` has all of the collection `name`.

        Args:
            call: lists the collection by itself, for a service that left it out or gave only its first page.
        """
        if name not in members or f"{name}@odata.nextLink" in members:
            members[name] = array(await self.all(call))
