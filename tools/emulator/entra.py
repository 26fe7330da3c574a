"""
The app registrations and their tokens: who may have one, what is in it, whether it is still good.

Assertions of clients are judged by real time, since clients sign them on a real clock; access
tokens live on the virtual clock.
"""

import base64
import dataclasses
import hashlib
import hmac
import time
import uuid
from collections import OrderedDict
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from tools.emulator import naming
from tools.emulator.certificates import AppKeys, KeyStore
from tools.emulator.clock import Clock
from tools.emulator.options import EmulatorOptions

AppName = Literal["backup", "restore"]

GRAPH = "https://graph.microsoft.com"
_GRAPH_APP = "00000003-0000-0000-c000-000000000000"
_TOKENS_MAX = 512
_ASSERTIONS_MAX = 4096
_SKEW = 300.0


class TokenRefused(Exception):
    """An answer of the token endpoint other than a token. `aadsts` is the numeric code."""

    def __init__(self, status: int, error: str, aadsts: int, text: str) -> None:
        super().__init__(f"AADSTS{aadsts}: {text}")
        self.status = status
        self.error = error
        self.aadsts = aadsts


@dataclasses.dataclass(slots=True)
class App:
    """One app registration; `writes`: it may change the tenant, as a restore does."""

    name: AppName
    client_id: str
    keys: AppKeys
    roles: tuple[str, ...]
    writes: bool


class Registration:
    """The two apps of one tenant, that of the backup and that of the restore."""

    def __init__(
        self, keys: KeyStore, clock: Clock, tenant: str, domain: str, options: EmulatorOptions
    ) -> None:
        self._keys = keys
        self._clock = clock
        self.tenant = tenant
        self.names = {tenant, domain, "common", "organizations"}
        self.graph = GRAPH  # of the cloud that the tenant is in
        self.life = options.token_life
        backup, restore = naming.guid(0, "app", tenant), naming.guid(0, "restore app", tenant)
        self.apps: dict[AppName, App] = {
            "backup": App("backup", backup, keys.backup, options.roles, writes=False),
            "restore": App("restore", restore, keys.restore, options.restore_roles, writes=True),
        }
        self._generation = 1
        public = keys.token_key.public_key()
        self._key_id = _thumbprint(public)
        self._seen_assertions: OrderedDict[str, float] = OrderedDict()
        self._verified: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def jwks(self) -> dict[str, Any]:
        """The public signing key as a key set."""
        key = jwt.algorithms.RSAAlgorithm.to_jwk(self._keys.token_key.public_key(), as_dict=True)
        return {"keys": [key | {"use": "sig", "kid": self._key_id, "alg": "RS256"}]}

    def revoke(self) -> None:
        """Every token issued so far is refused from now on."""
        self._generation += 1

    # issuing

    def check_tenant(self, name: str) -> None:
        """AADSTS90002 for a tenant that is not ours."""
        if name.lower() not in self.names:
            raise TokenRefused(400, "invalid_request", 90002, f"Tenant '{name}' not found.")

    def check_secret(self, client: str, secret: str) -> App:
        """Judge a client id with its secret."""
        app = self._app(client)
        if not hmac.compare_digest(secret.encode(), app.keys.secret.encode()):
            raise TokenRefused(401, "invalid_client", 7000215, "Invalid client secret provided.")
        return app

    def check_assertion(self, client: str, assertion: str, audiences: list[str]) -> App:
        """Judge a signed client assertion: signature, audience, times, and that it is new."""
        try:
            head = jwt.get_unverified_header(assertion)
            issuer = str(jwt.decode(assertion, options={"verify_signature": False}).get("iss"))
            app = self._app(client or issuer)
            _check_thumbprint(app, head)
            public = app.keys.certificate.public_key()
            assert isinstance(public, RSAPublicKey)
            claims = jwt.decode(
                assertion,
                public,
                algorithms=["RS256", "PS256"],
                audience=audiences,
                leeway=_SKEW,
                options={"require": ["exp", "aud", "iss", "sub", "jti"]},
            )
        except (jwt.InvalidTokenError, ValueError) as error:
            raise TokenRefused(
                401, "invalid_client", 700027, "Client assertion failed signature validation."
            ) from error
        if claims["iss"] != app.client_id or claims["sub"] != app.client_id:
            raise TokenRefused(401, "invalid_client", 700021, "Issuer and client do not match.")
        self._check_replay(str(claims["jti"]), float(claims["exp"]))
        return app

    def _app(self, client: str) -> App:
        for app in self.apps.values():
            if app.client_id == client.lower():
                return app
        text = f"Application with identifier '{client[:80]}' was not found in the directory."
        raise TokenRefused(400, "unauthorized_client", 700016, text)

    def _check_replay(self, jti: str, expires: float) -> None:
        now = time.time()
        while self._seen_assertions:
            oldest = next(iter(self._seen_assertions))
            if self._seen_assertions[oldest] + _SKEW > now:
                break
            del self._seen_assertions[oldest]
        if jti in self._seen_assertions:
            raise TokenRefused(401, "invalid_client", 700003, "Client assertion was used before.")
        self._seen_assertions[jti] = expires
        while len(self._seen_assertions) > _ASSERTIONS_MAX:
            self._seen_assertions.popitem(last=False)

    def issue(self, app: App, scope: str, *, cae: bool = False) -> dict[str, Any]:
        """The token answer to `app` for a scope of the form `<resource>/.default`."""
        for one in scope.split():
            resource, dot, rest = one.rpartition(".default")
            if not dot or rest:
                text = f"The provided value for the scope '{one[:80]}' is not valid."
                raise TokenRefused(400, "invalid_scope", 70011, text)
            if resource.rstrip("/") not in ("", self.graph, _GRAPH_APP, "api://" + _GRAPH_APP):
                text = f"The resource principal named '{resource[:80]}' was not found."
                raise TokenRefused(400, "invalid_resource", 500011, text)
        if not scope.split():
            raise TokenRefused(400, "invalid_scope", 70011, "The scope is missing.")
        now = int(self._clock.now())
        principal = naming.guid(0, "principal", app.client_id)
        claims = {
            "aud": self.graph,
            "iss": f"https://sts.windows.net/{self.tenant}/",
            "iat": now,
            "nbf": now,
            "exp": now + self.life,
            "app_displayname": f"Strongroom {app.name}",
            "appid": app.client_id,
            "appidacr": "1",
            "idtyp": "app",
            "oid": principal,
            "sub": principal,
            "roles": list(app.roles),
            "tid": self.tenant,
            "uti": f"{self._generation}.{uuid.uuid4().hex}",
            "ver": "1.0",
        }
        if cae:
            claims["xms_cc"] = ["CP1"]
        token = jwt.encode(
            claims, self._keys.token_key, algorithm="RS256", headers={"kid": self._key_id}
        )
        sent = self._clock.sent(self.life)
        return {
            "token_type": "Bearer",
            "expires_in": sent,
            "ext_expires_in": sent,
            "access_token": token,
        }

    # verifying

    def app_of(self, claims: dict[str, Any]) -> App:
        """The app that a verified token was issued to."""
        return self._app(claims["appid"])

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of an access token; raises `jwt.InvalidTokenError` when it is not good."""
        claims = self._verified.get(token)
        if claims is None:
            claims = jwt.decode(
                token,
                self._keys.token_key.public_key(),
                algorithms=["RS256"],
                audience=self.graph,
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
            self._verified[token] = claims
            while len(self._verified) > _TOKENS_MAX:
                self._verified.popitem(last=False)
        if claims["exp"] <= self._clock.now():
            raise jwt.ExpiredSignatureError("Lifetime validation failed, the token is expired.")
        if claims["tid"] != self.tenant:
            raise jwt.InvalidTokenError("The token is for another tenant.")
        if int(claims["uti"].split(".")[0]) < self._generation:
            raise jwt.InvalidTokenError("The token was revoked.")
        return claims


def _check_thumbprint(app: App, head: dict[str, Any]) -> None:
    certificate = app.keys.certificate
    sha256 = _b64(certificate.fingerprint(hashes.SHA256()))
    sha1 = _b64(certificate.fingerprint(hashes.SHA1()))  # noqa: S303 - x5t is defined so
    given256 = str(head.get("x5t#S256", sha256)).rstrip("=")
    given1 = str(head.get("x5t", sha1)).rstrip("=")
    if given256 != sha256 or given1 not in (sha1, sha256):
        raise jwt.InvalidTokenError("unknown certificate")


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _thumbprint(key: RSAPublicKey) -> str:
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return _b64(hashlib.sha256(der).digest())[:27]
