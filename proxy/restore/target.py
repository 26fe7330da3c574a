"""The user that a restore writes to: requests about them, and pages of what they have."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from proxy.graph.budget import Scope
from proxy.graph.client import Call, Content, segment
from proxy.graph.errors import GraphAnswerLost
from proxy.graph.paging import decode_as
from proxy.graph.transport import Answer
from proxy.graph.writer import GraphWriter

__all__ = ["Target", "members_of"]

IMMUTABLE_IDS = 'IdType="ImmutableId"'
PAGE = "odata.maxpagesize=500"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """
    One user of the organization that is restored to.

    `id`: of the user; `same`: whether what is restored was theirs, so that its ids may still be there.
    """

    writer: GraphWriter
    id: str
    name: str
    same: bool

    def call(
        self,
        what: str,
        path: str,
        body: object = None,
        query: Mapping[str, str] | None = None,
    ) -> Call:
        """A call below the user. `path`: with its segments quoted; `body`: becomes JSON."""
        return Call(
            self.writer.url(f"/users/{segment(self.id)}{path}", query),
            Scope.mailbox(self.id),
            what,
            prefer=(IMMUTABLE_IDS,),
            content=None if body is None else Content.json(body),
            patience_s=self.writer.settings.item_patience_s,
        )

    async def listed(
        self, what: str, path: str, shape: msgspec.json.Decoder[T], query: Mapping[str, str]
    ) -> AsyncIterator[T]:
        """All entries of a listing below the user."""
        call = self.call(what, path, query=query)
        call = Call(call.url, call.scope, what, prefer=(IMMUTABLE_IDS, PAGE))
        async for page in self.writer.pages(call):
            for raw in page.items:
                yield decode_as(shape, raw)

    async def made(self, call: Call) -> str:
        """Create; the id of what was made."""
        return str(members_of(await self.writer.create(call), call.what)["id"])


def members_of(answer: Answer, what: str) -> dict[str, Any]:
    """
    The JSON object that a create answers with; it has an `id`.

    Raises:
        GraphAnswerLost: it is something else, so nobody knows what was made.
    """
    try:
        found = msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("id"), str):
        raise GraphAnswerLost(f"{what}: the answer names no id.", code="graph-answer-lost")
    return found
