"""
Answers questions for any proxy of the pool: restore points, browsing, tickets for downloads.

At most ANSWERS_MAX at once; more wait in the subscription, which is bounded and drops the newest.
"""

import asyncio
import logging
import traceback
from typing import Any, Protocol

import msgspec

from engine.errors import BackupError, InternalError, UsageError
from proxy.bulk import TICKET_LIFE_S, BulkPort
from proxy.bus import FOREIGN, ProxyBus
from proxy.contract import BrowseRequest, DownloadTicket, Reply, TaskSecrets
from proxy.pipeline.context import Download

log = logging.getLogger(__name__)

ANSWERS_MAX = 4
RETRY_S = 0.5


class Questions(Protocol):
    """The data plane's half. Both run in threads: they read a repository."""

    def answer(self, operation: str, request: BrowseRequest, secrets: TaskSecrets) -> bytes:
        """JSON of `points` or `browse`."""

    def open_download(self, request: BrowseRequest, secrets: TaskSecrets) -> Download:
        """Bytes of one item."""


class Answers:
    """Listens for questions and answers them."""

    def __init__(
        self,
        bus: ProxyBus,
        questions: Questions,
        port: BulkPort,
        address: tuple[str, str],
    ) -> None:
        """`address`: the proxy's id, and the host under which the server reaches its port."""
        self._bus = bus
        self._questions = questions
        self._port = port
        self._proxy, self._host = address

    async def answer_for_ever(self) -> None:
        """The loop; ends by being cancelled."""
        asked = await self._bus.asked()
        turns = asyncio.Semaphore(ANSWERS_MAX)
        async with asyncio.TaskGroup() as group:
            while True:
                await turns.acquire()
                try:
                    message = await asked.next_msg(timeout=None)
                except FOREIGN as error:
                    turns.release()
                    log.info("questions wait: %s", type(error).__name__)
                    await asyncio.sleep(RETRY_S)
                    continue
                group.create_task(self._respond(message)).add_done_callback(
                    lambda _: turns.release()
                )

    async def _respond(self, message: Any) -> None:
        reply = await self._reply(message.subject.rpartition(".")[2], message.data)
        try:
            await message.respond(msgspec.json.encode(reply))
        except FOREIGN as error:
            log.info("an answer was not sent: %s", type(error).__name__)

    async def _reply(self, operation: str, body: bytes) -> Reply:
        try:
            return Reply(ok=True, body=msgspec.Raw(await self._body(operation, body)))
        except BackupError as error:
            return _refusal(error)
        except Exception as error:  # noqa: BLE001 - one question must not end the proxy
            places = "".join(traceback.format_tb(error.__traceback__))
            log.error("a question failed with an unexpected %s\n%s", type(error).__name__, places)
            return _refusal(InternalError("An unexpected error; the proxy's log has more."))

    async def _body(self, operation: str, body: bytes) -> bytes:
        try:
            request = msgspec.json.decode(body, type=BrowseRequest)
        except msgspec.DecodeError as error:
            raise UsageError("The question cannot be read.", code="question-invalid") from error
        secrets = await self._bus.secrets(None, request.repository)
        if operation != "ticket":
            return await asyncio.to_thread(self._questions.answer, operation, request, secrets)
        download = await asyncio.to_thread(self._questions.open_download, request, secrets)
        ticket = DownloadTicket(
            proxy=self._proxy,
            host=self._host,
            port=self._port.port,
            ticket=self._port.offer(download),
            file_name=download.file_name,
            media_type=download.media_type,
            life_s=TICKET_LIFE_S,
            size=download.size,
        )
        return msgspec.json.encode(ticket)


def _refusal(error: BackupError) -> Reply:
    return Reply(
        ok=False, error_class=type(error).__name__, error_code=error.code, error=error.message
    )
