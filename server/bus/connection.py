"""
The server's connection to NATS: made when NATS is there, kept for ever, foreign errors translated.

Streams, buckets and consumers are made here too; `ensure` is idempotent and called again and again,
so a bus that lost its store (or is new) becomes whole without anybody's help.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats
import nats.errors
import nats.js.errors
from nats.js import api

from proxy.contract import (
    BUDGETS_BUCKET,
    BUDGETS_LIFE_S,
    BUDGETS_SUBJECT,
    CHECKPOINTS_BUCKET,
    EVENTS_STREAM,
    HEARTBEAT_TTL_S,
    LEASE_S,
    PROXIES_BUCKET,
    WORK_STREAM,
    BackupError,
    InternalError,
    NotFound,
    Unavailable,
)

log = logging.getLogger(__name__)

RECONNECT_WAIT_S = 0.25
PING_S = 5
REQUEST_S = 5.0
PENDING_BYTES_MAX = 8 * 1024 * 1024
WORK_BYTES_MAX = 4 * 1024**3
EVENTS_BYTES_MAX = 4 * 1024**3
DUPLICATES_S = 120.0  # the stream refuses a message id it saw so long ago
LEASES_MAX = 10_000
EVENTS_AHEAD_MAX = 100
EVENTS_LEASE_S = 30.0
CHECKPOINT_LIFE_S = 14 * 24 * 3600.0
EVENTS_CONSUMER = "server"
WORK_KINDS = ("backup", "restore", "maintenance")

FOREIGN = (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError)


def translate(error: Exception) -> BackupError:
    """A foreign error in the words of the error tree."""
    if isinstance(error, nats.js.errors.NotFoundError):
        return NotFound("The bus does not have it.", code="bus-not-found")
    if isinstance(error, nats.errors.NoRespondersError):
        return Unavailable("Nobody answers on the bus.", code="no-responders", retry_after_s=5)
    if isinstance(error, nats.errors.MaxPayloadError):
        return InternalError("A message is too large for the bus.", code="message-too-large")
    return Unavailable("The bus cannot be reached now.", code="bus-unavailable", retry_after_s=2)


class Bus:
    """One connection. Methods raise only errors of the tree."""

    def __init__(self, client: Any, closed: asyncio.Event) -> None:
        self.client = client
        self.stream = client.jetstream(timeout=REQUEST_S)
        self._closed = closed

    @classmethod
    @asynccontextmanager
    async def opened(cls, url: str) -> AsyncIterator["Bus"]:
        """Connect, waiting as long as it takes; later losses are repaired in the background."""
        closed = asyncio.Event()

        async def note_closed() -> None:
            closed.set()

        async def note_error(error: Exception) -> None:
            log.info("bus: %s", type(error).__name__)

        client = await nats.connect(
            url,
            name="strongroom server",
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT_S,
            ping_interval=PING_S,
            pending_size=PENDING_BYTES_MAX,
            error_cb=note_error,
            closed_cb=note_closed,
        )
        try:
            yield cls(client, closed)
        finally:
            await client.close()

    async def wait_closed(self) -> None:
        """
        Ends only when the connection is gone for good: the process must start again.

        Raises:
            Unavailable: always, then.
        """
        await self._closed.wait()
        raise Unavailable("The bus has closed the connection for good.", code="bus-closed")

    @property
    def connected(self) -> bool:
        """Whether a request can be sent now."""
        return bool(self.client.is_connected)

    async def publish_work(self, subject: str, message_id: str, body: bytes) -> None:
        """Durable when it returns; a message id that was seen lately changes nothing."""
        if not self.connected:
            # Sent now it would wait in a buffer and its answer be given up before it is sent.
            raise translate(OSError())
        try:
            await self.stream.publish(
                subject, body, stream=WORK_STREAM, headers={"Nats-Msg-Id": message_id}
            )
        except FOREIGN as error:
            raise translate(error) from error

    async def has_work(self, subject: str) -> bool:
        """Whether the stream holds a message of this subject (leased or not)."""
        try:
            await self.stream.get_last_msg(WORK_STREAM, subject)
        except nats.js.errors.NotFoundError:
            return False
        except FOREIGN as error:
            raise translate(error) from error
        return True

    async def drop_work(self, subject: str) -> None:
        """Take a message out of the stream, leased or not."""
        try:
            await self.stream.purge_stream(WORK_STREAM, subject=subject)
        except FOREIGN as error:
            raise translate(error) from error

    async def events_behind(self) -> int:
        """Events in the stream that are not stored yet."""
        try:
            info = await self.stream.consumer_info(EVENTS_STREAM, EVENTS_CONSUMER)
        except FOREIGN as error:
            raise translate(error) from error
        return int(info.num_pending or 0) + int(info.num_ack_pending or 0)

    async def send(self, subject: str, body: bytes) -> None:
        """Publish without storing: whoever listens hears it."""
        try:
            await self.client.publish(subject, body)
        except FOREIGN as error:
            raise translate(error) from error

    async def ask(self, subject: str, body: bytes, wait_s: float) -> bytes:
        """
        Request and reply.

        Raises:
            Unavailable: nobody answers (code no-responders), or not in time (code answer-timeout).
        """
        if not self.connected:
            raise translate(OSError())
        try:
            answer = await self.client.request(subject, body, timeout=wait_s)
        except nats.errors.TimeoutError as error:
            raise Unavailable("No answer in time.", code="answer-timeout") from error
        except FOREIGN as error:
            raise translate(error) from error
        return bytes(answer.data)

    async def heartbeat(self, proxy: str) -> bytes | None:
        """Newest heartbeat of a proxy; None when it is silent."""
        try:
            bucket = await self.stream.key_value(PROXIES_BUCKET)
            entry = await bucket.get(proxy)
        except nats.js.errors.NotFoundError:
            return None
        except FOREIGN as error:
            raise translate(error) from error
        return bytes(entry.value) if entry.value is not None else None

    async def ensure(self, pools: list[str]) -> None:
        """Streams, buckets and consumers as this program wants them."""
        try:
            await self._ensure(pools)
        except FOREIGN as error:
            raise translate(error) from error

    async def _ensure(self, pools: list[str]) -> None:
        for config in (_work_config(), _events_config()):
            try:
                await self.stream.add_stream(config)
            except nats.js.errors.BadRequestError:
                await self.stream.update_stream(config)
        await self.stream.create_key_value(
            bucket=PROXIES_BUCKET, ttl=HEARTBEAT_TTL_S, storage=api.StorageType.MEMORY
        )
        await self.stream.create_key_value(bucket=CHECKPOINTS_BUCKET, ttl=CHECKPOINT_LIFE_S)
        await self.stream.create_key_value(
            bucket=BUDGETS_BUCKET,
            ttl=BUDGETS_LIFE_S,
            # Every proxy hears of a change at once, without a consumer of its own.
            republish=api.RePublish(src=f"$KV.{BUDGETS_BUCKET}.>", dest=f"{BUDGETS_SUBJECT}.>"),
        )
        await self.stream.add_consumer(
            EVENTS_STREAM,
            api.ConsumerConfig(
                durable_name=EVENTS_CONSUMER,
                ack_policy=api.AckPolicy.EXPLICIT,
                ack_wait=EVENTS_LEASE_S,
                max_ack_pending=EVENTS_AHEAD_MAX,
            ),
        )
        for pool in pools:
            for kind in WORK_KINDS:
                await self.stream.add_consumer(WORK_STREAM, _lease_config(pool, kind))


def _work_config() -> Any:
    return api.StreamConfig(
        name=WORK_STREAM,
        subjects=["work.>"],
        retention=api.RetentionPolicy.WORK_QUEUE,
        storage=api.StorageType.FILE,
        # A full stream refuses: the outbox keeps what it cannot publish.
        discard=api.DiscardPolicy.NEW,
        max_bytes=WORK_BYTES_MAX,
        duplicate_window=DUPLICATES_S,
    )


def _events_config() -> Any:
    return api.StreamConfig(
        name=EVENTS_STREAM,
        subjects=["events.>"],
        # Stored events leave the stream, others never do: a full stream makes proxies wait.
        retention=api.RetentionPolicy.WORK_QUEUE,
        storage=api.StorageType.FILE,
        discard=api.DiscardPolicy.NEW,
        max_bytes=EVENTS_BYTES_MAX,
        duplicate_window=DUPLICATES_S,
    )


def _lease_config(pool: str, kind: str) -> Any:
    return api.ConsumerConfig(
        durable_name=f"{pool}-{kind}",
        filter_subject=f"work.{pool}.{kind}.>",
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=LEASE_S,
        max_ack_pending=LEASES_MAX,
    )
