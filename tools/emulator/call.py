"""
One Graph request on its way to a handler, and what handlers work with.
"""

import dataclasses
from collections.abc import Mapping
from urllib.parse import quote

from tools.emulator import odata
from tools.emulator.clock import Clock
from tools.emulator.entra import Registration
from tools.emulator.errors import GraphError
from tools.emulator.faults import Faults
from tools.emulator.ledger import BreachKind, Ledger
from tools.emulator.mailbox import Mailbox
from tools.emulator.options import EmulatorOptions
from tools.emulator.sealing import Sealer
from tools.emulator.tenant import Tenant, User
from tools.emulator.throttle import Throttle


@dataclasses.dataclass(slots=True)
class Services:
    """The parts of one running emulator. `incarnation` tells its sync states from older ones."""

    options: EmulatorOptions
    clock: Clock
    tenant: Tenant
    registration: Registration
    sealer: Sealer
    faults: Faults
    ledger: Ledger
    throttle: Throttle
    incarnation: str
    url_epoch: int = 0
    latency: float = 0.0
    mime_drift: bool = False


@dataclasses.dataclass(slots=True)
class Call:
    """
    A request that found its route.

    Args:
        services: the emulator.
        origin: scheme and host of the request, such as `https://127.0.0.1:8443`.
        base: `origin` with the version prefix; links begin with it.
        path: path behind the version prefix, with a leading slash, as the client wrote it.
        params: what the placeholders of the route stand for.
        query: query options, the last of each name.
        headers: request headers.
    """

    services: Services
    origin: str
    base: str
    path: str
    template: str
    params: Mapping[str, str]
    query: dict[str, str]
    headers: Mapping[str, str]

    @property
    def tenant(self) -> Tenant:
        return self.services.tenant

    @property
    def prefer(self) -> dict[str, str]:
        return odata.preferences(self.headers.get("Prefer", ""))

    def breach(self, kind: BreachKind, detail: str) -> None:
        """Record a broken rule of this call."""
        self.services.ledger.breach(kind, detail, self.services.clock.now())

    def user(self) -> User:
        """The user in the path."""
        return self.tenant.user(self.params["user"])

    def mailbox(self) -> Mailbox:
        """The mailbox of the user in the path; 404 when the user has none."""
        user = self.user()
        if user.mailbox is None:
            text = "The mailbox is either inactive, soft-deleted, or is hosted on-premise."
            raise GraphError(404, "MailboxNotEnabledForRESTAPI", text)
        return user.mailbox

    def link(self, query: Mapping[str, str]) -> str:
        """An absolute link to this call's path with other query options."""
        pairs = (f"{quote(k, safe='$')}={quote(v, safe='$,()')}" for k, v in query.items())
        return f"{self.base}{self.path}?{'&'.join(pairs)}"

    def context(self, entity: str) -> str:
        """The `@odata.context` of an answer."""
        return f"{self.base}/$metadata#{entity}"
