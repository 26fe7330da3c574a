"""Secrets at rest, secrets on their way to a proxy, passwords, certificates."""

import base64
import ssl
import stat
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from proxy.contract import Denied, TaskSecrets, UsageError
from proxy.secrets import SealingKey
from server.certificates import Authority
from server.passwords import Passwords, hash_password
from server.sealing import SecretBox, new_sealing_key, seal_for_proxy


def test_a_secret_opens_under_its_name_and_key_only(tmp_path: Path) -> None:
    """Moved to another row, changed, or read with another key file: denied."""
    box = SecretBox.from_file(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    sealed = box.seal("a", b"secret")
    assert b"secret" not in sealed
    assert SecretBox.from_file(tmp_path / "key").open("a", sealed) == b"secret"
    other = SecretBox.from_file(tmp_path / "other")
    for wrong in (
        lambda: box.open("b", sealed),
        lambda: box.open("a", sealed[:-1] + bytes([sealed[-1] ^ 1])),
        lambda: other.open("a", sealed),
    ):
        with pytest.raises(Denied) as caught:
            wrong()
        assert caught.value.code == "secrets-key-wrong"


def test_a_damaged_key_file_is_told(tmp_path: Path) -> None:
    """Never replaced: the secrets would be lost."""
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(UsageError):
        SecretBox.from_file(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == b"short"


def test_only_the_proxy_opens_what_was_sealed_to_it() -> None:
    """Another proxy, a changed ciphertext, nonsense: denied."""
    private, public = new_sealing_key()
    plain = TaskSecrets(graph={"tenant_id": "t"}, passphrase="geheim")
    sealed = seal_for_proxy(public, plain)
    key = SealingKey(private)
    assert key.public == public
    assert key.open(sealed) == plain
    assert seal_for_proxy(public, plain).ciphertext != sealed.ciphertext
    torn = base64.b64encode(base64.b64decode(sealed.ciphertext)[:-1]).decode()
    with pytest.raises(Denied):
        SealingKey(new_sealing_key()[0]).open(sealed)
    for changed in (
        msgspec.structs.replace(sealed, ciphertext=torn),
        msgspec.structs.replace(sealed, ephemeral="!!"),
        msgspec.structs.replace(sealed, ephemeral=""),
    ):
        with pytest.raises(Denied):
            key.open(changed)


def test_a_bad_sealing_key_is_a_usage_error() -> None:
    """What a damaged join document leads to."""
    with pytest.raises(UsageError):
        SealingKey("AAAA")


async def test_passwords_are_checked_against_argon2id() -> None:
    """Right, wrong, unknown user."""
    stored = hash_password("correct horse")
    assert stored.startswith("$argon2id$")
    passwords = Passwords()
    assert await passwords.check("correct horse", stored)
    assert not await passwords.check("correct horsf", stored)
    assert not await passwords.check("correct horse", None)


def test_the_authority_is_made_once_and_signs_names(tmp_path: Path) -> None:
    """The same authority at the next start; key private; certificates verify against it."""
    first = Authority.from_folder(tmp_path / "ca")
    assert Authority.from_folder(tmp_path / "ca").text == first.text
    assert stat.S_IMODE((tmp_path / "ca" / "ca.key").stat().st_mode) == 0o600
    made = first.issue("localhost", "127.0.0.1")
    certificate = x509.load_pem_x509_certificate(made.certificate.encode())
    authority = x509.load_pem_x509_certificate(first.text.encode())
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    context = ssl.create_default_context(cadata=first.text)
    pem = tmp_path / "pair.pem"
    pem.write_text(made.certificate + made.private_key)
    context.load_cert_chain(pem)
