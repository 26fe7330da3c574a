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
from typing import Any
from urllib.parse import parse_qsl

import jwt

from tools.emulator import routing, user_routes
from tools.emulator.call import Call, Services
from tools.emulator.clock import iso
from tools.emulator.errors import GraphError
from tools.emulator.odata import option
from tools.emulator.reply import Reply, json_reply
from tools.emulator.route import Route

_GZIP_FROM = 1400  # bytes; smaller bodies fit a packet anyway
_UNKNOWN = "(no such route)"
_AGS = (
    '{"ServerInfo":{"DataCenter":"Loopback","Slice":"E","Ring":"0","ScaleUnit":"001",'
    '"RoleInstance":"EMULATOR0000"}}'
)


class Graph:
    """Answers calls on Graph v1.0."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def answer(
        self, method: str, origin: str, prefix: str, path: str, headers: Mapping[str, str]
    ) -> Reply:
        """Answer one request; `path` is raw, behind the version `prefix`, with its query."""
        services = self._services
        path, _, query = path.partition("?")
        found = routing.find(path)
        template = found[0].template if found else _UNKNOWN
        now = services.clock.now()
        services.ledger.check_agent(headers.get("User-Agent", ""), template, now)
        cost = 0
        try:
            if method != "GET":
                services.ledger.breach("write-call", f"{method} {template}", now)
            services.faults.check_service()
            if found is None:
                text = f"Resource not found for the segment '{path.strip('/')[:80]}'."
                raise GraphError(400, "BadRequest", text)
            if method != "GET":
                raise GraphError(501, "NotImplemented", "The emulator does not write yet.")
            route, params = found
            self._authorize(route, headers)
            options = dict(parse_qsl(query, keep_blank_values=True))
            call = Call(services, origin, origin + prefix, path, template, params, options, headers)
            cost = _units(route, call)
            reply = await self._metered(route, call, cost)
        except GraphError as error:
            reply = error_reply(services, error, headers)
        self._finish(reply, headers)
        services.ledger.finish(template, reply.status, len(reply.body), cost)
        return reply

    async def _metered(self, route: Route, call: Call, cost: int) -> Reply:
        """Run the handler once the throttle has admitted the call."""
        services = self._services
        headers: dict[str, str] = {}
        with contextlib.ExitStack() as stack:
            if route.service == "mail":
                user = call.user()
                now = services.clock.now()
                running = stack.enter_context(services.ledger.mailbox_call(user.key, now))
                await asyncio.sleep(services.latency)  # calls that arrived together overlap here
                services.throttle.mailbox(user.key, running)
                services.faults.check_owner("mail", user.key)
            else:
                await asyncio.sleep(services.latency)
                throttle = services.throttle
                admit = throttle.files if route.service == "files" else throttle.identity
                headers = admit(cost)
            reply = await route.handler(call)
        reply.headers.update(headers)
        return reply

    def _authorize(self, route: Route, headers: Mapping[str, str]) -> None:
        """401 without a good access token, 403 when its roles do not allow the call."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise self._unauthorized("Access token is empty.", "")
        try:
            claims = self._services.registration.verify(token.strip())
        except jwt.InvalidTokenError as error:
            challenge = ', error="invalid_token"'
            if "revoked" in str(error):
                wanted = b'{"access_token":{"nbf":{"essential":true}}}'
                value = base64.b64encode(wanted).decode()
                challenge = f', error="insufficient_claims", claims="{value}"'
            raise self._unauthorized(str(error), challenge) from error
        if not set(route.roles) & set(claims["roles"]):
            code, text = {
                "mail": ("ErrorAccessDenied", "Access is denied. Check credentials and try again."),
                "files": ("accessDenied", "Access denied"),
                "identity": (
                    "Authorization_RequestDenied",
                    "Insufficient privileges to complete the operation.",
                ),
            }[route.service]
            raise GraphError(403, code, text)

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


def _units(route: Route, call: Call) -> int:
    """Resource units of the call, 0 for Exchange, which counts requests."""
    if route.service == "mail":
        return 0
    if route.service == "identity":
        return user_routes.units(call)
    token = option(call.query, "token") or ""
    follows = route.template.endswith("delta") and token not in ("", "latest")
    return 1 if follows else route.units


def error_reply(services: Services, error: GraphError, headers: Mapping[str, str]) -> Reply:
    """The OData error envelope."""
    request = str(uuid.uuid4())
    inner: dict[str, Any] = {
        **error.inner,
        "date": iso(services.clock.now()).rstrip("Z"),
        "request-id": request,
        "client-request-id": headers.get("client-request-id", request),
    }
    body = {"error": {"code": error.code, "message": error.message, "innerError": inner}}
    return json_reply(body, error.status, error.headers | {"request-id": request})
