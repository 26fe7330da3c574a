"""Every parser of stored bytes with bytes that are good: material of the fuzz tests."""

import itertools
import json
import random
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import zstandard
from blake3 import blake3

from cext import mime
from engine import commit, keyfile, keyring, keys, manifest, recipe, recovery
from engine.catalog import (
    decode_catalog_part,
    decode_parts,
    encode_catalog_part,
    encode_parts,
    rows_of,
    table_of,
)
from engine.errors import Corruption, Denied, Unsupported, UsageError
from engine.frame import Codec, FrameCompressor, FrameInfo, open_frame, seal_frame
from engine.limits import FRAME_PLAIN_BYTES_MAX, SALVAGE_ALIGNMENT_BYTES
from engine.pack import (
    decode_directory,
    directory_position,
    encode_directory,
    open_directory,
    salvage_frames,
    seal_salvage_point,
    seal_tail,
)
from engine.parity import protected, repaired, unprotected
from engine.run import decode_run, encode_run
from engine.seal import (
    Header,
    ObjectClass,
    decode_header,
    expand,
    frame_cipher,
    open_object,
    seal_object,
)
from repository.settings import new_config, read_config
from repository.unlocking import unlock
from tests.fixtures import formats as f
from tests.fixtures import keyrings as k

HEADER = Header(ObjectClass.DATA_PACK, 2, f.UUID, f.SALT)
NUMBERS = (0, 1, -1, 2**31, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 1.5, 1e308)
VALUES: tuple[Any, ...] = (
    *NUMBERS, None, True, "", "\ud800", "\0", "A" * 100_000, [], {}, [[]], {"": 0}
)  # fmt: skip
DEEP = b"[" * 50_000


@dataclass(frozen=True)
class Parser:
    """
    Good bytes and what reads them.

    Attributes:
        authenticated: every change must be refused. tail: but not of what follows.
        prefix: a part of the good bytes may be good. json: mutate it as JSON too.
    """

    good: bytes
    decode: Callable[[bytes], object]
    authenticated: bool = False
    tail: bool = False
    prefix: bool = False
    json: bool = False


def tolerated(decode: Callable[[bytes], object], data: bytes) -> bool:
    """Whether `data` was refused as it must be: any other exception comes out of here."""
    try:
        decode(data)
    except (Corruption, Unsupported, Denied, UsageError):
        return True
    return False


# -- good bytes --------------------------------------------------------------------------------------


def sealed_frame(plain: bytes) -> tuple[FrameInfo, bytes]:
    """A frame of one chunk, and how to open it."""
    cipher = frame_cipher(f.KEYS, ObjectClass.DATA_PACK, 2, f.SALT)
    packed = FrameCompressor().pack(f.refs((1, len(plain))), plain, dense=False)
    stored = seal_frame(cipher, packed, f.UUID, ObjectClass.DATA_PACK, 2, 9)
    info = FrameInfo(
        packed.identity, 64, len(stored), packed.plain_bytes, 9, 2, 0, packed.codec, f.SALT
    )
    return info, stored


INFO, FRAME = sealed_frame(b"frame " * 100)


def open_stored_frame(stored: bytes) -> bytes:
    cipher = frame_cipher(f.KEYS, ObjectClass.DATA_PACK, 2, f.SALT)
    info = replace(INFO, stored_bytes=len(stored))
    return open_frame(cipher, stored, info, f.UUID, ObjectClass.DATA_PACK)


def open_payload(payload: bytes) -> bytes:
    """A frame whose seal is good, whatever was compressed."""
    cipher = frame_cipher(f.KEYS, ObjectClass.DATA_PACK, 2, f.SALT)
    packed = replace(
        FrameCompressor().pack(f.refs((1, 600)), b"frame " * 100, dense=False), payload=payload
    )
    assert packed.codec == Codec.ZSTD
    return open_stored_frame(seal_frame(cipher, packed, f.UUID, ObjectClass.DATA_PACK, 2, 9))


FILL, POINT = seal_salvage_point(f.KEYS, HEADER, f.frames(), 5000)


def salvage(data: bytes) -> None:
    """Frames of the point, or none: damage is passed over, Corruption stands for it here."""
    found = tuple(salvage_frames(f.KEYS, HEADER, bytes(2 * SALVAGE_ALIGNMENT_BYTES) + data))
    if found != f.frames():
        assert found == ()
        raise Corruption("nothing found", code="none")


def whole(data: bytes) -> bytes:
    """The body of an object whose parity is right."""
    body = unprotected(data)
    if body is None:
        raise Corruption("not as written", code="none")
    return body


def repair(data: bytes) -> bytes:
    """What a repairer makes of anything: an object of the same size whose parity is right, or nothing."""
    made = repaired(data, 3)
    if made is None:
        raise Corruption("nothing found", code="none")
    assert len(made) == len(data)
    return made


MAIL = f.mail(f.attachment(), f.attachment(2100), line=64)
STREAM, _, _, _RECIPES = mime.split(MAIL, array("Q", (0, len(MAIL))))
RECIPE = _RECIPES[0]
CONTENT_BYTES_MAX = 1 << 20  # what a mutated recipe is let to build


def use_recipe(data: bytes) -> bytes:
    """A recipe in every way it is used; both ways of joining agree."""
    size = recipe.content_bytes(len(STREAM), data)
    text = recipe.text_bytes(len(STREAM), data)
    joined = recipe.join(STREAM, data)
    pieces = recipe.stream_content(iter([STREAM[:text]]), iter([STREAM[text:]]), data)
    assert b"".join(pieces) == joined
    assert len(joined) == size
    return joined


def signed(domain: bytes, decode: Callable[..., object]) -> Callable[[bytes], object]:
    """The parser of what stands behind a good signature."""
    return lambda body: decode(manifest._sign(domain, body, f.SEED), f.UUID.hex(), f.SEED)


def checked(data: bytes) -> bytes:
    """A stored key whose checksum is good."""
    try:
        form = json.loads(data)
        form["checksum"] = ""
        compact = json.dumps(form, separators=(",", ":"), ensure_ascii=False).encode()
        form["checksum"] = blake3(compact).hexdigest()
        return json.dumps(form, indent=1, ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError):
        return data


def unlocked(data: bytes) -> object:
    """A ring that every one of its keys tries to open; Corruption if none can."""
    form = keyring.read_ring(data)
    for key, kind in itertools.product(form.keys, k.OPENING):
        if key.public_key == k.OPENING[kind].public.hex():
            keyring.open_ring(form, key, k.OPENING[kind], f.UUID)
    return unlock(form, "passphrase", "")


SEALED = keyring._SealedForm(
    keys.key_set_form(f.KEYS),
    {key.id: keyring._MemberForm(key.member, key.label) for key in k.RING.keys},
)
PRIVATE = keyfile.encode_private_key(b"p" * 32, f.TIME, "good", f.SALT, k.CHEAP)
RECIPIENT = keyfile.encode_recipient(b"p" * 32)


def private_key(data: bytes) -> object:
    return keyfile.open_private_key(keyfile.read_private_key(data), "good")


# name -> its parser; behind seal and signature, what is inside is fuzzed as well
PARSERS: dict[str, Parser] = {
    "object": Parser(
        seal_object(f.KEYS, ObjectClass.RUN, f.UUID, f.SALT, b"plain" * 20, "n"),
        lambda data: open_object(f.KEYS, ObjectClass.RUN, f.UUID, data, "n"),
        authenticated=True,
    ),
    "frame": Parser(FRAME, open_stored_frame, authenticated=True),
    "frame-payload": Parser(
        zstandard.ZstdCompressor(write_checksum=True).compress(b"frame " * 100), open_payload
    ),
    "object-payload": Parser(
        zstandard.ZstdCompressor().compress(random.Random(1).randbytes(50) * 9),
        lambda data: expand(data, FRAME_PLAIN_BYTES_MAX, "object"),
    ),
    "sealed-directory": Parser(
        seal_tail(f.KEYS, HEADER, f.frames(), 500)[0],
        lambda data: open_directory(f.KEYS, HEADER, data),
        authenticated=True,
    ),
    "trailer": Parser(
        seal_tail(f.KEYS, HEADER, f.frames(), 500)[1],
        lambda data: directory_position(
            f.KEYS, ObjectClass.DATA_PACK, f.UUID, HEADER.encode(), data
        ),
        authenticated=True,
    ),
    "salvage-point": Parser(POINT, salvage, authenticated=True, tail=True),
    "manifest": Parser(
        manifest.encode_manifest(f.manifest(), f.SEED),
        lambda data: manifest.decode_manifest(data, f.UUID.hex(), f.SEED),
        authenticated=True,
    ),
    "manifest-body": Parser(
        manifest.encode_manifest(f.manifest(), f.SEED)[manifest.SIGNATURE_BYTES :],
        signed(manifest._MANIFEST_DOMAIN, manifest.decode_manifest),
        json=True,
    ),
    "point": Parser(
        manifest.encode_point(f.point(), f.SEED),
        lambda data: manifest.decode_point(data, f.UUID.hex(), f.SEED),
        authenticated=True,
    ),
    "point-body": Parser(
        manifest.encode_point(f.point(), f.SEED)[manifest.SIGNATURE_BYTES :],
        signed(manifest._POINT_DOMAIN, manifest.decode_point),
        json=True,
    ),
    "parity": Parser(protected(random.Random(6).randbytes(900)), whole, authenticated=True),
    "parity-repair": Parser(protected(random.Random(7).randbytes(900), b"end"), repair),
    "header": Parser(
        HEADER.encode(),
        lambda data: decode_header(data, ObjectClass.DATA_PACK, f.UUID),
        prefix=True,
    ),
    "directory": Parser(encode_directory(f.frames()), decode_directory),
    "run": Parser(encode_run(f.packs()), decode_run),
    "cell": Parser(
        commit.encode(f.cell()), lambda data: commit.decode_cell(data, "proxy-1"), json=True
    ),
    "generation": Parser(
        commit.encode(f.generation()), lambda data: commit.decode_generation(data, 2), json=True
    ),
    "key-set": Parser(
        msgspec.json.encode(SEALED),
        lambda data: keyring.decode_sealed(keyring.read_ring(k.STORED), data).key_set,
        json=True,
    ),
    "key-ring": Parser(k.STORED, unlocked, authenticated=True, json=True),
    "key-ring-checked": Parser(k.STORED, lambda data: unlocked(checked(data)), json=True),
    "private-key": Parser(PRIVATE, private_key, authenticated=True, json=True),
    "private-key-checked": Parser(PRIVATE, lambda data: private_key(checked(data)), json=True),
    "recipient": Parser(
        RECIPIENT.encode(), lambda data: keyfile.read_recipient(data.decode(errors="replace"))
    ),
    "recovery": Parser(
        "\n".join(recovery.recovery_lines(k.RECOVERY)).encode(),
        lambda data: recovery.read_recovery(data.decode(errors="replace")),
    ),
    "config": Parser(
        new_config(f.UUID.hex(), f.TIME, compare_and_swap=True),
        lambda data: read_config(data, "here"),
        json=True,
    ),
    "parts": Parser(encode_parts([f.part(), f.mail_part()]), decode_parts, prefix=True),
    "recipe": Parser(RECIPE, use_recipe),
    "catalog": Parser(
        encode_catalog_part(table_of(f.rows())),
        lambda data: list(rows_of(decode_catalog_part(data))),
    ),
}
BINARY = [name for name, p in PARSERS.items() if not p.json and not p.authenticated]
AUTHENTICATED = [name for name, parser in PARSERS.items() if parser.authenticated]


# -- mutations ---------------------------------------------------------------------------------------


def cut_short(good: bytes, rng: random.Random) -> Iterator[bytes]:
    """Shorter than it was, at its beginning and anywhere."""
    sizes = {*range(min(len(good), 70)), *(rng.randrange(len(good)) for _ in range(40))}
    yield from (good[:size] for size in sorted(sizes))


def with_numbers(good: bytes) -> Iterator[bytes]:
    """Every place set to the numbers that lengths, counts and offsets break at."""
    step = max(1, len(good) // 400)
    for width in (1, 2, 4, 8):
        top = (1 << 8 * width) - 1
        for at in range(0, len(good) - width + 1, step):
            for number in (0, 1, top >> 1, top):
                yield good[:at] + number.to_bytes(width, "little") + good[at + width :]


def mutated(good: bytes, rng: random.Random) -> bytes:
    """One random mutation: bytes changed, taken out, put in, copied from elsewhere, or all random."""
    made = bytearray(good)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, end = sorted((rng.randrange(len(good) + 1), rng.randrange(len(good) + 1)))
        match rng.randrange(7):
            case 0:
                made[at:end] = rng.randbytes(end - at)
            case 1:
                del made[at : at + rng.randint(1, 40)]
            case 2:
                made[at:at] = rng.randbytes(rng.randint(1, 40))
            case 3:
                made[at:at] = good[at:end]
            case 4:
                made = made[:at] + good[end:]
            case _:
                for _ in range(rng.randint(1, 4)):
                    if made:
                        made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
    return bytes(made) if rng.randrange(20) else rng.randbytes(rng.randrange(200))


def json_mutated(good: bytes, rng: random.Random) -> bytes:
    """One value of a JSON text replaced, taken out or given twice."""
    form = json.loads(good)
    holder, key = None, None
    node: Any = form
    while isinstance(node, dict | list) and node and (holder is None or rng.random() < 0.8):
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        holder, node = node, node[key]
    match rng.randrange(4):
        case 0 if isinstance(holder, dict):
            holder[rng.choice(("x", "", str(key).upper()))] = node
        case 1:
            del holder[key]  # type: ignore[arg-type,union-attr]
        case 2 if isinstance(holder, list):
            holder.append(node)
        case _:
            holder[key] = rng.choice(VALUES)  # type: ignore[index]
    return json.dumps(form, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
