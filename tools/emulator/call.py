"""
One Graph request on its way to a handler, and what handlers work with.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from tools.emulator import odata
from tools.emulator.clock import Clock
from tools.emulator.entra import App, Registration
from tools.emulator.errors import GraphError, bad_request
from tools.emulator.fault_script import FaultScript
from tools.emulator.faults import Faults
from tools.emulator.ledger import BreachKind, Ledger
from tools.emulator.mailbox import Mailbox
from tools.emulator.options import EmulatorOptions
from tools.emulator.sealing import Sealer
from tools.emulator.tenant import Tenant, User
from tools.emulator.throttle import Throttle
from tools.emulator.upload_sessions import UploadSessions

_NATIONAL = (".microsoft.us", ".chinacloudapi.cn")


def _no_control(name: str, arguments: dict[str, Any]) -> object:
    raise AssertionError("no controls yet")


@dataclasses.dataclass(slots=True)
class Services:
    """
    The parts of one running emulator.

    `incarnation` tells its sync states from older ones; `control` makes a control call by name.
    """

    options: EmulatorOptions
    clock: Clock
    tenant: Tenant
    registration: Registration
    sealer: Sealer
    faults: Faults
    ledger: Ledger
    throttle: Throttle
    incarnation: str
    script: FaultScript = dataclasses.field(default_factory=FaultScript)
    control: Callable[[str, dict[str, Any]], object] = _no_control
    uploads: UploadSessions = dataclasses.field(default_factory=UploadSessions)
    import_sessions: int = 0
    url_epoch: int = 0
    latency: float = 0.0
    mime_drift: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """
    A request as it arrived.

    Args:
        method: HTTP method in capitals.
        origin: scheme and host of the request, such as `https://127.0.0.1:8443`.
        prefix: the version prefix, such as `/v1.0`.
        path: path behind it with a leading slash, without the query, as the client wrote it.
        query: query options, the last of each name.
        headers: request headers.
        body: the bytes that came with it.
        batched: it came within a `$batch`.
    """

    method: str
    origin: str
    prefix: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes = b""
    batched: bool = False

    @property
    def base(self) -> str:
        """Origin with the version prefix; links begin with it."""
        return self.origin + self.prefix


@dataclasses.dataclass(slots=True)
class Call:
    """
    A request that found its route.

    Args:
        services: the emulator.
        request: what the client sent.
        template: that of the route.
        params: what the placeholders of the route stand for.
        app: the app registration that called.
    """

    services: Services
    request: Request
    template: str
    params: Mapping[str, str]
    app: App

    @property
    def origin(self) -> str:
        return self.request.origin

    @property
    def path(self) -> str:
        return self.request.path

    @property
    def query(self) -> dict[str, str]:
        return self.request.query

    @property
    def headers(self) -> Mapping[str, str]:
        return self.request.headers

    @property
    def url(self) -> str:
        """The absolute URL that was called."""
        return self.link(self.query) if self.query else f"{self.request.base}{self.path}"

    @property
    def now(self) -> float:
        """Virtual seconds since the epoch."""
        return self.services.clock.now()

    def body(self) -> dict[str, Any]:
        """The JSON object that was sent; empty when there was no body; 400 for anything else."""
        try:
            found = msgspec.json.decode(self.request.body) if self.request.body else {}
        except msgspec.DecodeError:
            found = None
        if not isinstance(found, dict):
            raise bad_request("Unable to read JSON request payload.")
        return found

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
        """The user in the path, or whose mailbox is in it."""
        if "mailbox" in self.params:
            self.check_global()
            return self.tenant.mailbox_owner(self.params["mailbox"])
        return self.tenant.user(self.params["user"])

    def check_global(self) -> None:
        """400 for a call that only the global cloud has, on the host of another one."""
        host = (urlsplit(self.origin).hostname or "").lower()
        if host.endswith(_NATIONAL):
            raise bad_request("Resource not found for the segment.")

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
        return f"{self.request.base}{self.path}?{'&'.join(pairs)}"

    def context(self, entity: str) -> str:
        """The `@odata.context` of an answer."""
        return f"{self.request.base}/$metadata#{entity}"
