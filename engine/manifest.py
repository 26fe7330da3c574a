"""
Manifests: what one commit holds (docs/format.md, "Manifests").

A manifest has an entry for each slice: object, workload, catalog parts, checkpoint, complete or not. Its Merkle root
covers the entries, an Ed25519 signature covers the body, and `parents` chains it to the commits its writer saw.
"""

import base64
from collections.abc import Sequence
from typing import Annotated

import msgspec
from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from engine.errors import Corruption
from engine.parts import Part, checked_part
from engine.version import FORMAT_VERSION, require_readable

SIGNATURE_BYTES = 64
_MANIFEST_DOMAIN = b"strongroom manifest v1\0"
_POINT_DOMAIN = b"strongroom point v1\0"

Hex64 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, msgspec.Meta(ge=0)]


class PartForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part as it stands in manifests: chunk references base64."""

    role: str
    size: Count
    chunks: str


class CatalogPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One part of a catalog: rows merged `level` times, oldest part first in its entry."""

    level: Count
    rows: Count
    part: PartForm


class EntryRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of a committed manifest."""

    manifest: Hex64
    index: Count


class ObjectKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A protected object: kind ("user", "tree", ...), id as the service has it, names for people."""

    kind: str
    id: str
    name: str
    display_name: str = ""


class EntryForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """
    State of one object and workload after one slice. `items` and `bytes` describe the whole catalog.

    `scope`: id of the scope whose keys seal its catalog, checkpoint and contents; without one the member is left out.
    """

    object: ObjectKey
    workload: str
    session: str
    complete: bool
    items: Count
    bytes: Count
    catalog: tuple[CatalogPart, ...]
    checkpoint: PartForm | None
    parents: tuple[EntryRef, ...]
    scope: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{16})?$")] = ""


class ManifestForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a manifest."""

    format: int
    repository: str
    writer: str
    turn: Count
    created_at: str  # RFC 3339 UTC; for people, no rule rests on it
    parents: tuple[Hex64, ...]
    runs: tuple[Hex64, ...]
    entries: tuple[EntryForm, ...]
    root: Hex64
    public_key: Hex64


class PointEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a restore point holds of one object and workload."""

    object: ObjectKey
    workload: str
    entry: EntryRef
    items: Count
    bytes: Count


class PointForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A restore point: one per job session. `result` is success or warning."""

    format: int
    repository: str
    id: str
    name: str
    created_at: str
    session: str
    result: str
    entries: tuple[PointEntry, ...]
    public_key: Hex64


def part_form(part: Part) -> PartForm:
    """A part as it is written."""
    return PartForm(part.role, part.size, base64.b64encode(part.chunks).decode())


def part_from(form: PartForm) -> Part:
    """A part as it was written; Corruption if it does not add up."""
    try:
        chunks = base64.b64decode(form.chunks, validate=True)
    except ValueError as error:
        raise Corruption("a list of chunks is not base64", code="part-corrupt") from error
    return checked_part(form.role, form.size, chunks)


def merkle_root(leaves: Sequence[bytes]) -> str:
    """Hex root over `leaves` in order: leaf = H(0, bytes), node = H(1, left, right), an odd node rises alone."""
    level = [blake3(b"\0" + leaf).digest() for leaf in leaves] or [blake3(b"\0empty").digest()]
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [blake3(b"\1" + p[0] + p[1]).digest() if len(p) == 2 else p[0] for p in pairs]
    return level[0].hex()


def entries_root(entries: Sequence[EntryForm]) -> str:
    """Merkle root of a manifest's entries."""
    return merkle_root([msgspec.json.encode(entry) for entry in entries])


def public_key_of(signing_seed: bytes) -> str:
    """Hex Ed25519 public key of a seed."""
    return Ed25519PrivateKey.from_private_bytes(signing_seed).public_key().public_bytes_raw().hex()


def _sign(domain: bytes, body: bytes, signing_seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(signing_seed).sign(domain + body) + body


def _verified(domain: bytes, plain: bytes, signing_seed: bytes, what: str) -> bytes:
    signature, body = plain[:SIGNATURE_BYTES], plain[SIGNATURE_BYTES:]
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key_of(signing_seed)))
    try:
        key.verify(signature, domain + body)
    except InvalidSignature as error:
        raise Corruption(f"the signature of a {what} is wrong", code="signature-wrong") from error
    return body


def encode_manifest(form: ManifestForm, signing_seed: bytes) -> bytes:
    """Plain bytes of a manifest: signature, then JSON. Its invariants are checked first."""
    check_manifest(form)
    return _sign(_MANIFEST_DOMAIN, msgspec.json.encode(form), signing_seed)


def decode_manifest(plain: bytes, repository: str, signing_seed: bytes) -> ManifestForm:
    """Reverse of `encode_manifest`. Corruption or Unsupported."""
    body = _verified(_MANIFEST_DOMAIN, plain, signing_seed, "manifest")
    try:
        form = msgspec.json.decode(body, type=ManifestForm)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corruption("a manifest cannot be read", code="manifest-corrupt") from error
    require_readable(form.format)
    if form.repository != repository:
        raise Corruption("a manifest belongs to another repository", code="manifest-corrupt")
    check_manifest(form)
    return form


def check_manifest(form: ManifestForm) -> None:
    """Invariants before every write and after every read; Corruption names the broken one."""
    if form.root != entries_root(form.entries):
        raise Corruption("the Merkle root of a manifest is wrong", code="manifest-corrupt")
    for entry in form.entries:
        levels = [part.level for part in entry.catalog]
        if levels != sorted(levels, reverse=True):
            raise Corruption("catalog parts are out of order", code="manifest-corrupt")
    seen = {(e.object.kind, e.object.id, e.workload) for e in form.entries}
    if len(seen) != len(form.entries):
        raise Corruption("a manifest names an object twice", code="manifest-corrupt")


def encode_point(form: PointForm, signing_seed: bytes) -> bytes:
    """Plain bytes of a restore point: signature, then JSON."""
    return _sign(_POINT_DOMAIN, msgspec.json.encode(form), signing_seed)


def decode_point(plain: bytes, repository: str, signing_seed: bytes) -> PointForm:
    """Reverse of `encode_point`. Corruption or Unsupported."""
    body = _verified(_POINT_DOMAIN, plain, signing_seed, "restore point")
    try:
        form = msgspec.json.decode(body, type=PointForm)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corruption("a restore point cannot be read", code="point-corrupt") from error
    require_readable(form.format)
    if form.repository != repository:
        raise Corruption("a restore point belongs to another repository", code="point-corrupt")
    return form


assert FORMAT_VERSION == 1
