"""
Recipe `empty`: two users with nothing in mailbox and drive, for tests that fill it themselves.
"""

from tools.emulator.clock import Clock
from tools.emulator.tenant import Tenant

_STARTED = 1_700_000_000.0


def build(seed: int, clock: Clock) -> Tenant:
    """The tenant of this recipe."""
    tenant = Tenant(seed, "Empty Organisation", "empty", clock)
    for name in ("alice", "bob"):
        profile = {
            "displayName": name.title(),
            "mail": f"{name}@{tenant.domain}",
            "accountEnabled": True,
            "userType": "Member",
        }
        tenant.add_user(f"{name}@{tenant.domain}", profile, mail=True, files=True, at=_STARTED)
    return tenant
