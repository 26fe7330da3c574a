"""
Admission of a call to a mailbox, whichever host it comes to.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tools.emulator.call import Services
from tools.emulator.tenant import User


@asynccontextmanager
async def admitted(services: Services, user: User, body_bytes: int) -> AsyncIterator[None]:
    """A call on the mailbox of `user` while it runs; 429 or 403 when it is not let in."""
    now = services.clock.now()
    with services.ledger.mailbox_call(user.key, now) as running:
        await asyncio.sleep(services.latency)  # calls that arrived together overlap here
        services.throttle.mailbox(user.key, running, body_bytes)
        services.faults.check_owner("mail", user.key)
        yield
