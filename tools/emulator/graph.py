"""
The Graph service: what every call passes through before and after its handler.

Order: outage, route, token, roles, admission by the throttle, faults, handler. Every answer,
errors too, has the usual headers and is entered into the ledger.
"""

import asyncio
import base64
import contextlib
import datetime
import gzip
import uuid
from collections.abc import Mapping
from email.utils import format_datetime

import jwt

from tools.emulator import batch, routing, user_routes
from tools.emulator.call import Call, Request, Services
from tools.emulator.entra import App
from tools.emulator.errors import GraphError
from tools.emulator.exchange_door import admitted
from tools.emulator.fault_script import Event
from tools.emulator.odata import option
from tools.emulator.reply import Reply
from tools.emulator.route import Route
from tools.emulator.staging import error_reply, fingerprint, staged

_GZIP_FROM = 1400  # bytes; smaller bodies fit a packet anyway
_BODY_BYTES_MAX = 4 << 20
_UNKNOWN = "(no such route)"
_AGS = (
    '{"ServerInfo":{"DataCenter":"Loopback","Slice":"E","Ring":"0","ScaleUnit":"001",'
    '"RoleInstance":"EMULATOR0000"}}'
)


class Graph:
    """Answers calls on Graph v1.0."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._batch = Route(batch.PATH, self._answer_batch, "batch", (), method="POST", reads=True)

    async def _answer_batch(self, call: Call) -> Reply:
        """POST /$batch"""
        steps = batch.read(call.request.body, call.breach)
        return await batch.run(call.request, steps, self.answer)

    def _find(self, request: Request) -> tuple[Route, dict[str, str]] | None:
        if request.path.lower() == batch.PATH and request.method == "POST":
            return self._batch, {}
        return routing.find(request.method, request.path)

    async def answer(self, request: Request) -> Reply:
        """Answer one request."""
        services = self._services
        name, cost = _UNKNOWN, 0
        try:
            try:
                found = self._find(request)
                name = found[0].name if found else _UNKNOWN
            finally:
                services.ledger.check_agent(
                    request.headers.get("User-Agent", ""), name, services.clock.now()
                )
            services.faults.check_service()
            if found is None:
                text = f"Resource not found for the segment '{request.path.strip('/')[:80]}'."
                raise GraphError(400, "BadRequest", text)
            if len(request.body) > _BODY_BYTES_MAX:
                raise GraphError(413, "RequestEntityTooLarge", "Maximum request length exceeded.")
            route, params = found
            app = self._authorize(route, request.headers)
            call = Call(services, request, route.template, params, app)
            cost = _units(route, call)
            reply = await self._metered(route, call, cost)
        except GraphError as error:
            reply = error_reply(services, error, request.headers)
        self._finish(reply, request.headers)
        services.ledger.finish(name, reply.status, len(reply.body), cost)
        return reply

    async def _metered(self, route: Route, call: Call, cost: int) -> Reply:
        """Run the handler once the throttle has admitted the call."""
        services = self._services
        headers: dict[str, str] = {}
        async with contextlib.AsyncExitStack() as stack:
            names: frozenset[str] = frozenset()
            owner = ""
            if route.service == "mail":
                user = call.user()
                names, owner = user.names, user.key
                size = len(call.request.body) if route.writes else 0
                await stack.enter_async_context(admitted(services, user, size))
            elif route.service != "batch":  # what is in a batch is admitted one by one
                await asyncio.sleep(services.latency)
                throttle = services.throttle
                admit = throttle.files if route.service == "files" else throttle.identity
                headers = admit(cost)
            segments = _filled(route, call)
            event = Event(
                call.request.method,
                segments,
                route.kinds,
                call.app.name,
                names,
                fingerprint(call.request, owner, "/".join(segments)) if route.doubles else "",
            )
            reply = await staged(services, event, call.url, lambda: route.handler(call))
        reply.headers.update(headers)
        return reply

    def _authorize(self, route: Route, headers: Mapping[str, str]) -> App:
        """The app that calls; 401 without a good token, 403 when its roles do not allow the call."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise self._unauthorized("Access token is empty.", "")
        registration = self._services.registration
        try:
            claims = registration.verify(token.strip())
        except jwt.InvalidTokenError as error:
            challenge = ', error="invalid_token"'
            if "revoked" in str(error):
                wanted = b'{"access_token":{"nbf":{"essential":true}}}'
                value = base64.b64encode(wanted).decode()
                challenge = f', error="insufficient_claims", claims="{value}"'
            raise self._unauthorized(str(error), challenge) from error
        app = registration.app_of(claims)
        if route.writes and not app.writes:
            now = self._services.clock.now()
            self._services.ledger.breach("write-call", f"{route.name} by {app.name}", now)
        if route.roles and not set(route.roles) & set(claims["roles"]):
            code, text = {
                "batch": ("Forbidden", "Access is denied."),
                "mail": ("ErrorAccessDenied", "Access is denied. Check credentials and try again."),
                "files": ("accessDenied", "Access denied"),
                "identity": (
                    "Authorization_RequestDenied",
                    "Insufficient privileges to complete the operation.",
                ),
            }[route.service]
            raise GraphError(403, code, text)
        return app

    def _unauthorized(self, text: str, challenge: str) -> GraphError:
        uri = "https://login.microsoftonline.com/common/oauth2/authorize"
        value = f'Bearer realm="", authorization_uri="{uri}"{challenge}'
        return GraphError(401, "InvalidAuthenticationToken", text, {"WWW-Authenticate": value})

    def _finish(self, reply: Reply, headers: Mapping[str, str]) -> None:
        """Add what every Graph answer carries, and compress."""
        request = str(uuid.uuid4())
        moment = datetime.datetime.fromtimestamp(int(self._services.clock.now()), datetime.UTC)
        reply.headers.update(
            {
                "request-id": reply.headers.get("request-id", request),
                "client-request-id": headers.get("client-request-id", request),
                "x-ms-ags-diagnostic": _AGS,
                "Date": format_datetime(moment, usegmt=True),
                "Strict-Transport-Security": "max-age=31536000",
            }
        )
        if (
            "application/json" in reply.content_type
            and len(reply.body) >= _GZIP_FROM
            and "gzip" in headers.get("Accept-Encoding", "")
        ):
            reply.body = gzip.compress(reply.body, compresslevel=1, mtime=0)
            reply.headers["Content-Encoding"] = "gzip"


def _filled(route: Route, call: Call) -> list[str]:
    """The segments of the route with what its placeholders stand for."""
    return [call.params[s[1:-1]] if s.startswith("{") else s for s in route.segments]


def _units(route: Route, call: Call) -> int:
    """Resource units of the call, 0 for Exchange, which counts requests."""
    if route.service == "mail":
        return 0
    if route.service == "identity":
        return user_routes.units(call)
    token = option(call.query, "token") or ""
    follows = route.template.endswith("delta") and token not in ("", "latest")
    return 1 if follows else route.units
