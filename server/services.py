"""What the parts of one server process share, put together in `server.main`."""

import asyncio
import contextlib
from dataclasses import dataclass

from server.bus.connection import Bus
from server.certificates import Authority
from server.database.connector import Connector
from server.passwords import Passwords
from server.sealing import SecretBox
from server.settings import ServerSettings


class Signal:
    """Wakes everybody who waits. A missed call costs at most the waiter's own time limit."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def call(self) -> None:
        """Wake all who wait now."""
        self._event.set()
        self._event = asyncio.Event()

    def ticket(self) -> asyncio.Event:
        """Take before looking at the state: a call after that is not missed."""
        return self._event

    @staticmethod
    async def wait(ticket: asyncio.Event, wait_s: float) -> None:
        """Until the next call or the time limit."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ticket.wait(), wait_s)


@dataclass(frozen=True, slots=True)
class Services:
    """One server process."""

    settings: ServerSettings
    database: Connector
    bus: Bus
    secret_box: SecretBox
    authority: Authority
    passwords: Passwords
    outbox_filled: Signal
    events_stored: Signal
    stopping: asyncio.Event
