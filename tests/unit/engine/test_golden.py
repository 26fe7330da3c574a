"""
Bytes of format version 1, checked in. A difference is a change of the format: docs/format.md and a new version first.

`python -m tests.unit.engine.test_golden --rewrite` writes the file anew, to be shown in review.
"""

import json
import random
import sys
from array import array
from pathlib import Path

import msgspec
from typing_extensions import Buffer

from cext import digest, mime
from engine import commit, manifest
from engine.catalog import encode_parts
from engine.chunker import ChunkerParams, cut_spans, keyed_table
from engine.frame import FrameCompressor, frame_identity, seal_frame
from engine.keyfile import encode_private_key, encode_recipient
from engine.keyring import seal_ring
from engine.keys import scope_epoch
from engine.pack import encode_directory, seal_salvage_point, seal_tail
from engine.parity import protected
from engine.recovery import recovery_lines
from engine.run import encode_run
from engine.seal import Header, ObjectClass, frame_cipher, open_object, seal_object
from engine.version import FORMAT_VERSION
from tests.fixtures import formats as f
from tests.fixtures import keyrings as k

FILE = Path(__file__).parents[2] / "golden" / "format-1.json"


def cuts(data: bytes, table: bytes) -> list[int]:
    """Ends of the chunks of one part."""
    chunks, _ = cut_spans(data, array("Q", (0, len(data))), ChunkerParams(table))
    return chunks[1::2].tolist()


def chunk_id(data: Buffer) -> str:
    return digest.keyed(data, array("Q", (0, memoryview(data).nbytes)), b"i" * 32).hex()


def vectors() -> dict[str, object]:
    """Everything that is a pure function of fixed keys, salts and times."""
    table = keyed_table(b"k" * 32)
    data = random.Random(11).randbytes(1_000_000)
    cipher = frame_cipher(f.KEYS, ObjectClass.DATA_PACK, 2, f.SALT)
    plain = random.Random(12).randbytes(40)  # stored, not compressed
    packed = FrameCompressor().pack(f.refs((1, 40)), plain, dense=True)
    entries = (f.entry(),)
    mails = f.mail(f.attachment()) + f.mail(f.attachment(4000), line=64, newline=b"\n")
    stream, _, _, recipes = mime.split(mails, array("Q", (0, len(mails))))
    header = Header(ObjectClass.DATA_PACK, 2, f.UUID, f.SALT)
    directory, trailer = seal_tail(f.KEYS, header, f.frames(), 500)
    scope = scope_epoch(k.SCOPE_SECRET)
    fill, salvage_point = seal_salvage_point(f.KEYS, header, f.frames(), 5000)
    return {
        "gear_table": table.hex(),
        "cuts": cuts(data, table),
        "cuts_of_zeros": cuts(bytes(1_000_000), table),
        "chunk_id": chunk_id(b"strongroom"),
        "frame_identity": frame_identity(f.refs((1, 10), (2, 20))).hex(),
        "sealed_frame": seal_frame(cipher, packed, f.UUID, ObjectClass.DATA_PACK, 2, 9).hex(),
        "header": Header(ObjectClass.RUN, 2, f.UUID, f.SALT).encode().hex(),
        "directory": encode_directory(f.frames()).hex(),
        "sealed_directory": directory.hex(),
        "trailer": trailer.hex(),
        "salvage_fill": fill,
        "salvage_point": salvage_point.hex(),
        "parity": protected(data[:700], b"end").hex(),
        "parity_of_stripes": chunk_id(protected(data * 5, b"end")),
        "run": encode_run(f.packs()).hex(),
        "recipe": recipes[0].hex(),
        "recipe_stream": chunk_id(stream),
        "parts": encode_parts([f.part(), f.part("json", 0), f.mail_part()]).hex(),
        "manifest": manifest.encode_manifest(f.manifest(entries), f.SEED).hex(),
        "point": manifest.encode_point(f.point(), f.SEED).hex(),
        "cell": commit.encode(f.cell()).decode(),
        "generation": commit.encode(f.generation()).decode(),
        "key_ring": seal_ring(k.RING, f.UUID, k.fixed_draw("ring")).decode(),
        "key_ring_of_scopes": seal_ring(
            k.RING_OF_SCOPES, f.UUID, k.fixed_draw("ring of scopes")
        ).decode(),
        "scope_keys": [
            key.hex() for key in (scope.data, scope.metadata, scope.id_key, scope.chunker_key)
        ],
        "manifest_of_scope": manifest.encode_manifest(
            f.manifest((msgspec.structs.replace(f.entry(), scope="00000000000000a1"),)), f.SEED
        ).hex(),
        "private_key": encode_private_key(b"r" * 32, f.TIME, "good", f.SALT, k.CHEAP).decode(),
        "recipient": encode_recipient(k.OPENING["recipient"].public),
        "recovery": recovery_lines(k.RECOVERY),
    }


def test_version_1_has_the_bytes_it_had() -> None:
    """Every encoder gives the checked-in bytes."""
    assert FORMAT_VERSION == 1
    golden = json.loads(FILE.read_text())
    made = vectors()
    assert sorted(golden["exact"]) == sorted(made)
    for name, value in made.items():
        assert golden["exact"][name] == value, name


def test_a_stored_object_of_version_1_opens() -> None:
    """Compressed bytes may differ between versions of zstd; those that were stored once still open."""
    golden = json.loads(FILE.read_text())
    stored = bytes.fromhex(golden["object"])
    assert open_object(f.KEYS, ObjectClass.POINT, f.UUID, stored, "point/x") == b"point " * 30


if __name__ == "__main__" and sys.argv[1:] == ["--rewrite"]:
    sealed = seal_object(f.KEYS, ObjectClass.POINT, f.UUID, f.SALT, b"point " * 30, "point/x")
    FILE.write_text(json.dumps({"exact": vectors(), "object": sealed.hex()}, indent=1) + "\n")
