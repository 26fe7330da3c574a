"""
NATS as a proxy sees it: leases, durable events, secrets, heartbeats. Only here is the client library.

The bus away: the client reconnects for ever, `publish_event` waits, leases are renewed when it is
back. Nothing is kept in a queue of ours, so nothing grows.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import nats
import nats.errors
import nats.js.errors

from engine.errors import Denied, InternalError, Unavailable
from proxy.contract import (
    BUDGETS_BUCKET,
    BUDGETS_SUBJECT,
    CHECKPOINTS_BUCKET,
    EVENTS_STREAM,
    PROXIES_BUCKET,
    WORK_STREAM,
    Event,
    JoinDocument,
    ProxyStatus,
    Reply,
    SealedSecrets,
    SecretsRequest,
    TaskSecrets,
)
from proxy.secrets import SealingKey

log = logging.getLogger(__name__)

RECONNECT_WAIT_S = 0.25
PING_S = 5
REQUEST_S = 5.0
RETRY_FIRST_S = 0.2
RETRY_MAX_S = 2.0
SECRETS_WAIT_S = 60.0
ACK_TRIES_MAX = 10
PENDING_BYTES_MAX = 8 * 1024 * 1024
ASKED_WAITING_MAX = 64
CONTROL_WAITING_MAX = 256

FOREIGN = (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError)
WRONG_SEQUENCE_CODES = (10071, 10164)  # somebody else wrote this subject first

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BudgetEntry:
    """Value of a key, the sequence it was stored under, and when: seconds since 1970 on the bus's clock."""

    value: bytes
    revision: int
    stamp: float


class ProxyBus:
    """One connection of one proxy."""

    def __init__(
        self,
        client: Any,
        join: JoinDocument,
        closed: asyncio.Event,
        reconnected: list[Callable[[], None]],
    ) -> None:
        self._client = client
        self._join = join
        self._stream = client.jetstream(timeout=REQUEST_S)
        self._key = SealingKey(join.sealing_key)
        self._closed = closed
        self._reconnected = reconnected

    @classmethod
    @asynccontextmanager
    async def opened(cls, join: JoinDocument) -> AsyncIterator["ProxyBus"]:
        """Connect, waiting as long as it takes."""
        closed = asyncio.Event()
        reconnected: list[Callable[[], None]] = []

        async def note_closed() -> None:
            closed.set()

        async def note_reconnected() -> None:
            for told in reconnected:
                told()

        async def note_error(error: Exception) -> None:
            # Permission errors name subjects, nothing secret.
            log.info("bus: %s %s", type(error).__name__, error)

        client = await nats.connect(
            join.nats_url,
            user=join.nats_user or None,
            password=join.nats_password or None,
            name=f"strongroom proxy {join.proxy}",
            inbox_prefix=f"_INBOX_{join.proxy}",
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT_S,
            ping_interval=PING_S,
            pending_size=PENDING_BYTES_MAX,
            error_cb=note_error,
            closed_cb=note_closed,
            reconnected_cb=note_reconnected,
        )
        try:
            yield cls(client, join, closed, reconnected)
        finally:
            await client.close()

    @property
    def proxy(self) -> str:
        """This proxy's id."""
        return self._join.proxy

    @property
    def public_key(self) -> str:
        """Half of this proxy's sealing key that the server knows."""
        return self._key.public

    async def wait_closed(self) -> None:
        """
        Ends only when the connection is gone for good.

        Raises:
            Unavailable: always, then: the process must start again.
        """
        await self._closed.wait()
        raise Unavailable("The bus has closed the connection for good.", code="bus-closed")

    async def leases(self, kind: str) -> Any:
        """A subscription to the tasks of one kind; the server made its consumer."""
        return await self._stream.pull_subscribe_bind(
            f"{self._join.pool}-{kind}", stream=WORK_STREAM
        )

    async def publish_event(self, event: Event) -> None:
        """
        Make an event durable; waits while the bus is away.

        Raises:
            InternalError: the event is too large for any bus.
        """
        body, wait_s = msgspec.json.encode(event), RETRY_FIRST_S
        subject = f"events.{event.session}.{event.task}"
        while True:
            try:
                if not self._client.is_connected:
                    raise nats.errors.ConnectionReconnectingError
                # The same id again changes nothing, so a lost answer is settled by asking again.
                await self._stream.publish(
                    subject, body, stream=EVENTS_STREAM, headers={"Nats-Msg-Id": event.id}
                )
            except nats.errors.MaxPayloadError as error:
                raise InternalError("An event is too large for the bus.") from error
            except FOREIGN as error:
                log.warning("an event waits for the bus: %s", type(error).__name__)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, RETRY_MAX_S)
            else:
                return

    async def secrets(self, organization: str | None, repository: str | None) -> TaskSecrets:
        """
        Fetch secrets, sealed to this proxy.

        Raises:
            Unavailable: no answer within SECRETS_WAIT_S.
            Denied: no claim to them.
        """
        body = msgspec.json.encode(SecretsRequest(self._join.proxy, organization, repository))
        try:
            async with asyncio.timeout(SECRETS_WAIT_S):
                while True:
                    answer = await self._ask_secrets(body)
                    if answer is not None:
                        return self._key.open(answer)
        except TimeoutError as error:
            raise Unavailable(
                "The server does not answer for secrets.", code="secrets-unavailable"
            ) from error

    async def _ask_secrets(self, body: bytes) -> SealedSecrets | None:
        try:
            message = await self._client.request(
                f"secrets.{self._join.proxy}", body, timeout=REQUEST_S
            )
        except FOREIGN as error:
            log.warning("secrets wait for the server: %s", type(error).__name__)
            await asyncio.sleep(RETRY_FIRST_S * 5)
            return None
        reply = msgspec.json.decode(message.data, type=Reply)
        if reply.ok:
            return msgspec.json.decode(reply.body, type=SealedSecrets)
        if reply.error_class in ("Unavailable", "InternalError", "Conflict"):
            await asyncio.sleep(RETRY_FIRST_S * 5)
            return None
        raise Denied(reply.error, code=reply.error_code or "secrets-denied")

    async def checkpoint_delivery(self, task: str) -> int:
        """Number of the last delivery of a task that left a checkpoint (0: none yet)."""
        subject, wait_s = f"$KV.{CHECKPOINTS_BUCKET}.{task}", RETRY_FIRST_S
        while True:
            try:
                found = await self._stream.get_last_msg(f"KV_{CHECKPOINTS_BUCKET}", subject)
                return int(found.data or b"0")
            except nats.js.errors.NotFoundError:
                return 0
            except FOREIGN as error:
                log.warning("a task waits for the bus: %s", type(error).__name__)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, RETRY_MAX_S)

    async def note_checkpoint(self, task: str, delivery: int) -> None:
        """Deliveries up to this one are not held against the task. Best effort: a hint."""
        await self._put(f"$KV.{CHECKPOINTS_BUCKET}.{task}", str(delivery).encode())

    async def beat(self, status: ProxyStatus) -> None:
        """Tell that this proxy lives. Best effort: the next beat comes soon."""
        await self._put(f"$KV.{PROXIES_BUCKET}.{status.id}", msgspec.json.encode(status))

    async def _put(self, subject: str, body: bytes) -> None:
        try:
            await self._stream.publish(subject, body)
        except FOREIGN as error:
            log.info("not noted on the bus: %s", type(error).__name__)

    # -- shared budgets --------------------------------------------------------------------------

    def on_reconnect(self, told: Callable[[], None]) -> None:
        """Call `told` whenever the bus is back after an outage."""
        self._reconnected.append(told)

    async def read_budget(self, key: str) -> BudgetEntry | None:
        """
        The entry of a key, None if there is none.

        Raises:
            Unavailable: the bus is away. Also of the next two.
        """
        subject = f"$KV.{BUDGETS_BUCKET}.{key}"
        try:
            found = await self._apart(self._stream.get_last_msg(f"KV_{BUDGETS_BUCKET}", subject))
        except nats.js.errors.NotFoundError:
            return None
        except nats.js.errors.APIError as error:
            raise _away() from error
        return BudgetEntry(found.data or b"", int(found.seq), found.time.timestamp())

    async def write_budget(self, key: str, value: bytes, revision: int | None) -> int | None:
        """Store a value over `revision` (0: the first; None: whatever is there); the new one, None if that is old."""
        headers = {}
        if revision is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(revision)
        subject = f"$KV.{BUDGETS_BUCKET}.{key}"
        try:
            stored = await self._apart(
                self._stream.publish(subject, value, headers=headers or None)
            )
        except nats.js.errors.APIError as error:
            if error.err_code in WRONG_SEQUENCE_CODES:
                return None
            raise _away() from error
        return int(stored.seq)

    async def hear_budgets(self, tenant: str, heard: Callable[[Any], Awaitable[None]]) -> Any:
        """A subscription to what is stored for a tenant; it outlives outages but misses what is said meanwhile."""
        subscription = await self._apart(
            self._client.subscribe(f"{BUDGETS_SUBJECT}.{tenant}.*", cb=heard)
        )
        await self._apart(self._client.flush(REQUEST_S))  # from here on nothing is missed
        return subscription

    async def hear_no_more(self, subscription: Any) -> None:
        """End a subscription."""
        with suppress(*FOREIGN):
            await subscription.unsubscribe()

    async def _apart(self, call: Coroutine[Any, Any, T]) -> T:
        """A call of the library in a task of its own: inside it a cancellation of ours could get lost."""
        if not self._client.is_connected:
            call.close()
            raise _away()  # sent now it would wait in a buffer
        task = asyncio.ensure_future(call)
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            raise
        try:
            return task.result()
        except nats.js.errors.APIError:
            raise
        except FOREIGN as error:
            raise _away() from error

    async def acknowledge(self, message: Any) -> None:
        """Take a finished task out of the stream; if that fails it is delivered again, harmlessly."""
        for _ in range(ACK_TRIES_MAX):
            try:
                await message.ack_sync(timeout=REQUEST_S)
            except nats.errors.MsgAlreadyAckdError:
                return
            except FOREIGN as error:
                log.info("acknowledging again: %s", type(error).__name__)
                await asyncio.sleep(RETRY_FIRST_S)
            else:
                return

    async def asked(self) -> Any:
        """Subscription to questions for any proxy of the pool."""
        return await self._client.subscribe(
            f"ask.{self._join.pool}.*",
            queue=f"proxies-{self._join.pool}",
            pending_msgs_limit=ASKED_WAITING_MAX,
        )

    async def controls(self) -> Any:
        """Subscription to the server's orders to every proxy of the pool."""
        return await self._client.subscribe(
            f"control.{self._join.pool}", pending_msgs_limit=CONTROL_WAITING_MAX
        )


def _away() -> Unavailable:
    return Unavailable("The bus cannot be reached now.", code="bus-unavailable")
