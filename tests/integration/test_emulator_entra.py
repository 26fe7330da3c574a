"""Sign-in against the emulator by msal, unmodified: secret, certificate, and the CONNECT door."""

import asyncio
from collections.abc import Callable
from typing import Any

import msal
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from tests.fixtures.emulator import GraphClient, StartEmulator
from tools.emulator import Emulator

SCOPE = ["https://graph.microsoft.com/.default"]
MakeClient = Callable[[Emulator], GraphClient]


def _session(emu: Emulator, *, proxy: bool = False) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.verify = str(emu.ca_file)
    if proxy:
        session.proxies = {"https": emu.proxy_url}
    return session


def _acquire(
    emu: Emulator, credential: Any, *, proxy: bool = False, client_id: str | None = None
) -> dict[str, Any]:
    """What an application does with msal to get a token."""
    tenant = emu.org["tenant_id"]
    options: dict[str, Any] = {"authority": emu.authority, "instance_discovery": False}
    if proxy:
        options = {"authority": f"https://login.microsoftonline.com/{tenant}"}
    with _session(emu, proxy=proxy) as session:
        app = msal.ConfidentialClientApplication(
            client_id or emu.org["client_id"],
            client_credential=credential,
            http_client=session,
            **options,
        )
        result: dict[str, Any] = app.acquire_token_for_client(SCOPE)
        return result


def _certificate(emu: Emulator) -> dict[str, str]:
    pem = emu.keys.backup.file.read_bytes()
    certificate = x509.load_pem_x509_certificate(pem)
    public = certificate.public_bytes(serialization.Encoding.PEM).decode()
    return {"private_key": pem.decode().split("-----BEGIN CERT")[0], "public_certificate": public}


def _thumbprint(emu: Emulator) -> dict[str, str]:
    """The older form of a certificate credential: RS256 and SHA-1 thumbprint."""
    pem = emu.keys.backup.file.read_bytes()
    certificate = x509.load_pem_x509_certificate(pem)
    key = pem.decode().split("-----BEGIN CERT")[0]
    return {"private_key": key, "thumbprint": certificate.fingerprint(hashes.SHA1()).hex()}


CREDENTIALS: dict[str, Callable[[Emulator], Any]] = {
    "secret": lambda emu: emu.org["client_secret"],
    "certificate": _certificate,
    "thumbprint": _thumbprint,
}


@pytest.mark.slow
@pytest.mark.parametrize("proxy", [False, True], ids=["loopback", "proxy"])
@pytest.mark.parametrize("kind", CREDENTIALS)
async def test_msal_gets_a_token_that_graph_takes(
    emulator: StartEmulator, graph_client: MakeClient, kind: str, proxy: bool
) -> None:
    emu = await emulator()
    result = await asyncio.to_thread(_acquire, emu, CREDENTIALS[kind](emu), proxy=proxy)
    assert "access_token" in result, result
    assert 0 < result["expires_in"] <= 3599
    client = graph_client(emu)
    client.token = result["access_token"]
    assert len((await client.ok("/users"))["value"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("credential", "client_id", "code"),
    [("wrong", None, 7000215), ("any", "00000000-1111-2222-3333-444444444444", 700016)],
)
async def test_refusals(
    emulator: StartEmulator, credential: str, client_id: str | None, code: int
) -> None:
    emu = await emulator()
    result = await asyncio.to_thread(_acquire, emu, credential, client_id=client_id)
    assert result["error_codes"] == [code]
    assert f"AADSTS{code}" in result["error_description"]


@pytest.mark.slow
async def test_a_foreign_certificate_is_refused(emulator: StartEmulator, tmp_path: Any) -> None:
    emu, other = await emulator(), await emulator()
    from tools.emulator.certificates import KeyStore

    stranger = KeyStore(tmp_path / "stranger").backup.file.read_text()
    key, _, certificate = stranger.partition("-----BEGIN CERT")
    credential = {"private_key": key, "public_certificate": "-----BEGIN CERT" + certificate}
    result = await asyncio.to_thread(_acquire, emu, credential)
    assert result["error_codes"] == [700027]
    # and an assertion made for one emulator does not open another
    good = await asyncio.to_thread(_acquire, other, _certificate(other))
    assert "access_token" in good


async def test_unknown_tenant_and_scope(emulator: StartEmulator, graph_client: MakeClient) -> None:
    emu = await emulator()
    client = graph_client(emu)
    form = {
        "grant_type": "client_credentials",
        "client_id": emu.org["client_id"],
        "client_secret": emu.org["client_secret"],
        "scope": "https://elsewhere.example/.default",
    }
    for url, code in (
        (f"{emu.graph_url}/no-such-tenant/oauth2/v2.0/token", 90002),
        (f"{emu.authority}/oauth2/v2.0/token", 500011),
    ):
        async with client.session.post(url, data=form) as response:
            assert response.status == 400
            assert (await response.json())["error_codes"] == [code]


async def test_an_assertion_works_once(emulator: StartEmulator, graph_client: MakeClient) -> None:
    import time

    import jwt

    emu = await emulator()
    url = f"{emu.authority}/oauth2/v2.0/token"
    now = int(time.time())
    claims = {
        "aud": url,
        "iss": emu.org["client_id"],
        "sub": emu.org["client_id"],
        "jti": "only-once",
        "exp": now + 600,
        "nbf": now,
    }
    key = serialization.load_pem_private_key(emu.keys.backup.file.read_bytes(), None)
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode(claims, key, algorithm="PS256"),  # type: ignore[arg-type]
        "scope": ".default",
    }
    session = graph_client(emu).session
    statuses = []
    for _ in range(2):
        async with session.post(url, data=form) as response:
            statuses.append(response.status)
    assert statuses == [200, 401]


async def test_token_life_and_revocation(emulator: StartEmulator, graph_client: MakeClient) -> None:
    emu = await emulator(token_life=600)
    client = graph_client(emu)
    await client.ok("/users")
    emu.clock.advance(601)
    status, body, headers = await client.get("/users")
    assert status == 401
    assert body["error"]["code"] == "InvalidAuthenticationToken"
    assert 'error="invalid_token"' in headers["WWW-Authenticate"]
    await client.sign_in()
    await client.ok("/users")
    emu.controls.revoke_tokens()
    status, _, headers = await client.get("/users")
    assert status == 401
    assert "insufficient_claims" in headers["WWW-Authenticate"]
    await client.sign_in()
    await client.ok("/users")


async def test_roles_decide(emulator: StartEmulator, graph_client: MakeClient) -> None:
    emu = await emulator(roles=("User.Read.All",))
    client = graph_client(emu)
    alice = (await client.ok("/users"))["value"][0]["id"]
    for path, code in (
        (f"/users/{alice}/mailFolders", "ErrorAccessDenied"),
        (f"/users/{alice}/drive", "accessDenied"),
    ):
        status, body, _ = await client.get(path)
        assert (status, body["error"]["code"]) == (403, code)


async def test_graph_without_token(emulator: StartEmulator, graph_client: MakeClient) -> None:
    emu = await emulator()
    client = graph_client(emu)
    client.token = "not.a.token"
    status, _, _ = await client.get("/users")
    assert status == 401


async def test_the_proxy_refuses_other_hosts(emulator: StartEmulator) -> None:
    emu = await emulator()
    port = int(emu.proxy_url.rpartition(":")[2])
    for target in ("example.com:443", "graph.microsoft.com:80", "evil-sharepoint.com:443"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        assert (await reader.readline()).split()[1] == b"403"
        writer.close()
        await writer.wait_closed()
