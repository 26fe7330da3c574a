"""
Writing to Microsoft 365, for restores alone: a backup never gets one of these.

What may be executed twice without harm (PATCH, PUT, DELETE) is tried again like a read. What would make a second item
(`create`) is sent again only where the service surely did nothing; else it raises GraphAnswerLost, and the caller looks
for what may have been made (docs/decisions/0024-restores.md).
"""

from dataclasses import replace

from proxy.graph.client import Call, GraphClient
from proxy.graph.errors import GraphNotFound
from proxy.graph.transport import JSON_BYTES_MAX, Answer, BodyReader

__all__ = ["GraphWriter"]


class GraphWriter(GraphClient):
    """What a restore talks to: all that a client reads, and writes."""

    async def create(self, call: Call) -> Answer:
        """
        POST what makes something new.

        Raises:
            GraphAnswerLost: it may be there or not.
            GraphError: it was not made.
        """
        return await self._answer(replace(call, method="POST", once=True))

    async def ask(self, call: Call) -> Answer:
        """POST what leaves nothing behind when it is executed twice: opening a session, looking up."""
        return await self._answer(replace(call, method="POST"))

    async def change(self, call: Call, method: str = "PATCH") -> Answer:
        """PATCH or PUT what is there to a state of its own: twice is like once."""
        return await self._answer(replace(call, method=method))

    async def send(self, call: Call) -> Answer:
        """Send a call as it is; for addresses of sessions, whose calls say themselves whether they may be repeated."""
        return await self._answer(call)

    async def delete(self, call: Call) -> bool:
        """DELETE; False if it was gone already, perhaps by an earlier attempt."""
        try:
            await self._answer(replace(call, method="DELETE"))
        except GraphNotFound:
            return False
        return True

    async def _answer(self, call: Call) -> Answer:
        async def consume(reader: BodyReader) -> Answer:
            return Answer(reader.status, reader.headers, await reader.read(JSON_BYTES_MAX))

        return await self._exchange(call, consume)
