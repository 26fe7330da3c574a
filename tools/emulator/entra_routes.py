"""
The sign-in host: discovery documents, key set and token endpoint.
"""

import base64
import binascii
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, unquote_plus

from tools.emulator.call import Services
from tools.emulator.clock import iso
from tools.emulator.entra import TokenRefused
from tools.emulator.reply import Reply, json_reply

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Entra:
    """Answers the requests of sign-in libraries."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @staticmethod
    def owns(path: str) -> bool:
        """True for a path of the sign-in host, when one host serves everything."""
        parts = path.partition("?")[0].lower().strip("/").split("/")
        return parts[1:] in (
            ["v2.0", ".well-known", "openid-configuration"],
            [".well-known", "openid-configuration"],
            ["discovery", "instance"],
            ["discovery", "v2.0", "keys"],
            ["discovery", "keys"],
            ["oauth2", "v2.0", "token"],
            ["oauth2", "token"],
        )

    def answer(
        self, method: str, origin: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        """Answer one request; `path` is raw."""
        path, _, query = path.partition("?")
        tenant, _, rest = unquote(path).strip("/").partition("/")
        rest = rest.lower()
        try:
            if self._services.faults.entra_outage:
                raise TokenRefused(503, "temporarily_unavailable", 90033, "A transient error.")
            if rest == "discovery/instance":
                return json_reply(_instance(origin, dict(parse_qsl(query))))
            self._services.registration.check_tenant(tenant)
            if rest.endswith(".well-known/openid-configuration"):
                return json_reply(self._configuration(origin, tenant))
            if rest.endswith("keys"):
                return json_reply(self._services.registration.jwks())
            if method != "POST":
                raise TokenRefused(405, "invalid_request", 900561, "Only POST is accepted.")
            form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
            audiences = [f"{origin}/{tenant}/oauth2/v2.0/token", f"{origin}/{tenant}/v2.0"]
            return json_reply(self._token(form, headers, audiences))
        except TokenRefused as refused:
            return self._refusal(refused)

    def _configuration(self, origin: str, tenant: str) -> dict[str, Any]:
        real = self._services.registration.tenant
        base = f"{origin}/{tenant}"
        return {
            "issuer": f"{origin}/{real}/v2.0",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            "jwks_uri": f"{base}/discovery/v2.0/keys",
            "token_endpoint_auth_methods_supported": [
                "client_secret_post",
                "private_key_jwt",
                "client_secret_basic",
            ],
            "response_types_supported": ["code", "id_token", "token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "tenant_region_scope": "EU",
            "cloud_instance_name": "microsoftonline.com",
            "msgraph_host": "graph.microsoft.com",
        }

    def _token(
        self, form: dict[str, str], headers: Mapping[str, str], audiences: list[str]
    ) -> dict[str, Any]:
        """Judge the client and issue a token for it."""
        registration = self._services.registration
        if form.get("grant_type") != "client_credentials":
            raise TokenRefused(400, "unsupported_grant_type", 70003, "The grant is unsupported.")
        client, secret = _basic(headers.get("Authorization", ""))
        client = form.get("client_id", client)
        secret = form.get("client_secret", secret)
        if "client_assertion" in form:
            if form.get("client_assertion_type") != _ASSERTION:
                raise TokenRefused(400, "invalid_request", 900144, "Wrong assertion type.")
            app = registration.check_assertion(client, form["client_assertion"], audiences)
        elif secret:
            app = registration.check_secret(client, secret)
        else:
            text = "The request body must contain 'client_assertion' or 'client_secret'."
            raise TokenRefused(401, "invalid_client", 7000218, text)
        scope = form.get("scope") or (form["resource"] + "/.default" if "resource" in form else "")
        return registration.issue(app, scope, cae="CP1" in form.get("claims", ""))

    def _refusal(self, refused: TokenRefused) -> Reply:
        trace, correlation = str(uuid.uuid4()), str(uuid.uuid4())
        moment = iso(self._services.clock.now()).replace("T", " ")
        body = {
            "error": refused.error,
            "error_description": (
                f"{refused} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {moment}"
            ),
            "error_codes": [refused.aadsts],
            "timestamp": moment,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"https://login.microsoftonline.com/error?code={refused.aadsts}",
        }
        return json_reply(body, refused.status)


def _basic(header: str) -> tuple[str, str]:
    """Client id and secret of HTTP Basic, empty when there are none."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return unquote_plus(user), unquote_plus(password)


def _instance(origin: str, query: dict[str, str]) -> dict[str, Any]:
    """The instance discovery document: every authority named is ours."""
    endpoint = query.get("authorization_endpoint", f"{origin}/common/oauth2/v2.0/authorize")
    tenant = endpoint.split("//", 1)[-1].split("/")[1:2] or ["common"]
    host = origin.split("//", 1)[-1]
    aliases = [
        "login.microsoftonline.com",
        "login.windows.net",
        "login.microsoft.com",
        "sts.windows.net",
    ]
    return {
        "tenant_discovery_endpoint": (
            f"{origin}/{tenant[0]}/v2.0/.well-known/openid-configuration"
        ),
        "api-version": "1.1",
        "metadata": [
            {
                "preferred_network": "login.microsoftonline.com",
                "preferred_cache": "login.windows.net",
                "aliases": aliases,
            },
            {"preferred_network": host, "preferred_cache": host, "aliases": [host]},
        ],
    }
