"""
From events to rows: every event is stored once, then acknowledged; the next step follows in the
same transaction.

The database away: the batch in hand is kept (and its lease on the bus renewed) until it is back.
The bus away: fetching fails and is tried again for ever.
"""

import asyncio
import contextlib
import logging
import re
from typing import Any

import msgspec

from proxy.contract import EVENTS_STREAM, BackupError, Event, InternalError
from server.bus.connection import EVENTS_AHEAD_MAX, EVENTS_CONSUMER, EVENTS_LEASE_S, FOREIGN
from server.database.connector import Connector
from server.orchestration import EVENTS_LOCK, advance, store_event
from server.services import Services

log = logging.getLogger(__name__)

FETCH_S = 5.0
RETRY_S = 0.5
NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def read_event(body: bytes) -> Event | None:
    """
    An event, or None if the message is none.

    PostgreSQL's text holds no NUL, names in Microsoft 365 may: it becomes the replacement sign.
    """
    try:
        return msgspec.json.decode(NUL.sub(rb"\1\\ufffd", body), type=Event)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


async def consume_for_ever(services: Services) -> None:
    """The event loop of the server."""
    subscription: Any = None
    while not services.stopping.is_set():
        try:
            if subscription is None:
                subscription = await services.bus.stream.pull_subscribe_bind(
                    EVENTS_CONSUMER, stream=EVENTS_STREAM
                )
            messages = await subscription.fetch(EVENTS_AHEAD_MAX, timeout=FETCH_S)
        except TimeoutError:
            continue
        except FOREIGN as error:
            log.info("events wait: %s", type(error).__name__)
            await asyncio.sleep(RETRY_S)
            continue
        await _store_messages(services, messages)


async def _store_messages(services: Services, messages: list[Any]) -> None:
    events = [event for message in messages if (event := read_event(message.data))]
    if len(events) < len(messages):
        log.error("%d messages were no events", len(messages) - len(events))
    stored = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(_renew(messages, stored))
        try:
            await _store_until_done(services, events)
        finally:
            stored.set()
    for message in messages:
        # Not acknowledged is delivered again, and stored once all the same.
        with contextlib.suppress(*FOREIGN):
            await message.ack()


async def _renew(messages: list[Any], stored: asyncio.Event) -> None:
    """Until `stored`; not by cancelling, which the bus library of Python 3.11 can lose."""
    while not stored.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EVENTS_LEASE_S / 3):
                await stored.wait()
        for message in () if stored.is_set() else messages:
            with contextlib.suppress(*FOREIGN):
                await message.in_progress()


async def _store_until_done(services: Services, events: list[Event]) -> None:
    while events:
        try:
            await store_batch(services.database, events)
        except InternalError:
            if len(events) > 1:
                for event in events:
                    await _store_until_done(services, [event])
            else:
                # One event that can never be stored must not hold up all others.
                log.exception("event %s of kind %s is dropped", events[0].id, events[0].kind)
            break
        except BackupError as error:
            log.warning("events wait: %s", error.code)
            await asyncio.sleep(RETRY_S)
        else:
            break
    services.events_stored.call()
    services.outbox_filled.call()


async def store_batch(database: Connector, events: list[Event]) -> None:
    """Store events and take the steps they allow: all in one transaction."""
    if not events:
        return
    async with database.transaction() as transaction:
        await transaction.run("lock.take", key=EVENTS_LOCK)
        sessions = dict.fromkeys(
            [event.session for event in events if await store_event(transaction, event)]
        )
        for session in sessions:
            await advance(transaction, session)
