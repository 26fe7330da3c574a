"""
The installation's own certificate authority: made once, signs the server's and proxies' names.

A certificate's DNS name says who it is: `localhost` and host names for the web, the contract's
SERVER_NAME for the server as a client, the proxy's id for a proxy.
"""

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.contract import InternalError

AUTHORITY_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=825)
BACKDATED = timedelta(hours=1)  # clocks of a pool differ


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM texts. The key is a secret."""

    certificate: str
    private_key: str


def _key_text(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Authority:
    """Signs certificates of one installation."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @classmethod
    def from_folder(cls, folder: Path) -> "Authority":
        """Use the authority of `folder`; made there the first time."""
        certificate_file, key_file = folder / "ca.pem", folder / "ca.key"
        if not key_file.exists() or not certificate_file.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            made = cls._made()
            _write(key_file, _key_text(made._key), 0o600)
            _write(certificate_file, made.text, 0o644)
        key = load_pem_private_key(key_file.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise InternalError("The authority's key is of another kind.")
        return cls(x509.load_pem_x509_certificate(certificate_file.read_bytes()), key)

    @classmethod
    def _made(cls) -> "Authority":
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        name = _name("Strongroom installation")
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @property
    def text(self) -> str:
        """PEM of the authority itself."""
        return self._certificate.public_bytes(Encoding.PEM).decode()

    def issue(self, *names: str) -> Certificate:
        """A certificate for host names or addresses; the first is the common name."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        authority = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(names[0]))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + LEAF_LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]),
                critical=False,
            )
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority.value),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return Certificate(certificate.public_bytes(Encoding.PEM).decode(), _key_text(key))


def _write(path: Path, text: str, mode: int) -> None:
    draft = path.with_name(f".{path.name}.draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
