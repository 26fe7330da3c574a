"""
Keys and certificates of an emulator: made at first start, kept in its data folder.

Files: `ca.pem` (to trust), `ca.key.pem`, `token.key.pem` (signs access tokens), `app.pem` (key and
certificate of the app registration of the backup in one file) and `app.secret`, the same of the
restore (`restore.pem`, `restore.secret`), `seal.key`. All but `ca.pem` are secret and have mode
0600. A file is published once; who comes second takes what is there, so that several processes may
start on one folder.
"""

import contextlib
import dataclasses
import datetime
import ipaddress
import os
import secrets
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER_NAMES = (
    "localhost",
    "login.microsoftonline.com",
    "graph.microsoft.com",
    "login.microsoftonline.us",
    "*.microsoft.us",
    "login.partner.microsoftonline.cn",
    "microsoftgraph.chinacloudapi.cn",
    "*.sharepoint.com",
    "outlook.office365.com",
    "outlook.office.com",
)
_DAYS = 800
_DAY = datetime.timedelta(days=1)


def publish_once(path: Path, make: Callable[[], bytes], mode: int = 0o600) -> bytes:
    """The content of `path`; when there is none, that of `make`, written atomically."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(make())
            os.chmod(name, mode)
            with contextlib.suppress(FileExistsError):  # another process's file stands
                os.link(name, path)
        finally:
            os.unlink(name)
    return path.read_bytes()


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` as one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    os.chmod(name, mode)
    os.replace(name, path)


def _pem(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKeyTypes
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    public = key.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAYS * _DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _make_ca() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _subject("Strongroom emulator CA")
    certificate = (
        _builder(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _pem(key) + certificate.public_bytes(serialization.Encoding.PEM)


def _make_leaf(ca: bytes, host: str) -> bytes:
    ca_key = serialization.load_pem_private_key(ca, None)
    ca_certificate = x509.load_pem_x509_certificate(ca)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    addresses = {ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")}
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in SERVER_NAMES]
    try:
        addresses.add(ipaddress.ip_address(host))
    except ValueError:
        names.append(x509.DNSName(host))
    names += [x509.IPAddress(address) for address in sorted(addresses, key=str)]
    identifier = ca_certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    certificate = (
        _builder(_subject("localhost"), ca_certificate.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier.value),
            critical=False,
        )
        .sign(ca_key, hashes.SHA256())
    )
    return _pem(key) + certificate.public_bytes(serialization.Encoding.PEM)


def _make_app(title: str) -> bytes:
    key = rsa.generate_private_key(65537, 2048)
    name = _subject(title)
    certificate = _builder(name, name, key).sign(key, hashes.SHA256())
    return _pem(key) + certificate.public_bytes(serialization.Encoding.PEM)


@dataclasses.dataclass(frozen=True, slots=True)
class AppKeys:
    """What an app registration signs in with; `file` holds key and certificate, PEM."""

    file: Path
    certificate: x509.Certificate
    secret: str


class KeyStore:
    """The keys in one data folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._ca = publish_once(folder / "ca.key.pem", _make_ca)
        public = x509.load_pem_x509_certificate(self._ca).public_bytes(serialization.Encoding.PEM)
        self.ca_file = folder / "ca.pem"
        publish_once(self.ca_file, lambda: public, mode=0o644)
        self.backup = self._app("app", "Strongroom backup app")
        self.restore = self._app("restore", "Strongroom restore app")
        token = publish_once(
            folder / "token.key.pem", lambda: _pem(rsa.generate_private_key(65537, 2048))
        )
        loaded = serialization.load_pem_private_key(token, None)
        assert isinstance(loaded, rsa.RSAPrivateKey)
        self.token_key = loaded
        self.seal_key = publish_once(folder / "seal.key", lambda: secrets.token_bytes(32))

    def _app(self, stem: str, title: str) -> AppKeys:
        file = self._folder / f"{stem}.pem"
        pem = publish_once(file, lambda: _make_app(title))
        secret = publish_once(
            self._folder / f"{stem}.secret", lambda: secrets.token_urlsafe(30).encode()
        )
        return AppKeys(file, x509.load_pem_x509_certificate(pem), secret.decode())

    def server_context(self, host: str) -> ssl.SSLContext:
        """A TLS context with a fresh leaf certificate for the Microsoft names and `host`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".leaf.") as file:
            file.write(_make_leaf(self._ca, host))
            file.flush()
            context.load_cert_chain(file.name)
        context.set_alpn_protocols(["http/1.1"])
        return context
