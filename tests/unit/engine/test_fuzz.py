"""Every parser answers any bytes with what it read or with an error of ours: no other exception, no hang, bounded memory."""

import base64
import json
import random
import resource
import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine import manifest
from engine.catalog import SCHEMA, decode_catalog_part, decode_parts
from engine.errors import Corruption
from engine.keys import derive
from engine.limits import FRAME_PLAIN_BYTES_MAX, OBJECT_PLAIN_BYTES_MAX
from engine.pack import decode_directory
from engine.parity import protected
from engine.run import decode_run
from engine.seal import HEADER_BYTES, Header, ObjectClass, class_key, nonce, open_object
from tests.fixtures import formats as f
from tests.unit.engine.parsers import (
    AUTHENTICATED,
    BINARY,
    DEEP,
    PARSERS,
    cut_short,
    json_mutated,
    mutated,
    open_payload,
    tolerated,
    with_numbers,
)

SEEDS = Path(__file__).parents[2] / "golden" / "fuzz-seeds.json"
MEMORY_BYTES = 1 << 30  # above what the process has: less than what a wild length would ask for
ARROW_BYTES = 64 << 20
names = pytest.mark.parametrize("name", PARSERS)


@pytest.fixture(autouse=True)
def bounded_memory() -> Iterator[None]:
    """Whoever asks for more gets a MemoryError, which is no error of ours; Arrow's memory is looked at."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)
    assert pa.default_memory_pool().max_memory() < ARROW_BYTES


def attempt(name: str, data: bytes, seed: object) -> bool:
    """Parse; whatever is not ours is reported with the bytes to keep in SEEDS."""
    parser = PARSERS[name]
    try:
        refused = tolerated(parser.decode, data)
    except BaseException as error:
        packed = base64.b64encode(zlib.compress(data)).decode()
        error.add_note(f'seed {seed}; keep in {SEEDS.name}: ["{name}", "{packed}"]')
        raise
    same = data.startswith(parser.good) if parser.tail else data == parser.good
    assert refused or same or not parser.authenticated, (name, seed)
    return refused


def fuzz(name: str, seed: int, count: int) -> None:
    """`count` random mutations of one parser's bytes."""
    good = PARSERS[name].good
    for number in range(count):
        rng = random.Random(f"{name} {seed} {number}")
        if PARSERS[name].json and rng.random() < 0.6:
            attempt(name, json_mutated(good, rng), (seed, number))
        else:
            attempt(name, mutated(good, rng), (seed, number))


@names
def test_good_bytes_are_taken(name: str) -> None:
    """The samples are good ones."""
    PARSERS[name].decode(PARSERS[name].good)


@names
def test_short_and_doubled_bytes(name: str) -> None:
    """What is cut short is refused, unless its beginning is all there is to read; so is nesting without end."""
    parser = PARSERS[name]
    for data in cut_short(parser.good, random.Random(name)):
        assert attempt(name, data, len(data)) or parser.prefix or name == "recipe"
    for data in (parser.good + b"\0", parser.good * 2, DEEP, b'{"strongroom":' + DEEP):
        attempt(name, data, "doubled")


@pytest.mark.slow
@pytest.mark.parametrize("name", BINARY)
def test_numbers_at_every_place(name: str) -> None:
    """Lengths, counts and offsets of nothing, one, half and all that fits."""
    for number, data in enumerate(with_numbers(PARSERS[name].good)):
        attempt(name, data, number)


@pytest.mark.slow
@names
def test_mutations(name: str) -> None:
    """A few hundred mutations of each."""
    fuzz(name, 1, 400)


@pytest.mark.long
@names
def test_many_mutations(name: str) -> None:
    """Tens of thousands of mutations of each."""
    fuzz(name, 2, 30_000)


@pytest.mark.slow
@pytest.mark.parametrize("name", AUTHENTICATED)
def test_every_flipped_byte_of_authenticated_bytes_is_found(name: str) -> None:
    """No byte of a sealed or signed object can change unnoticed."""
    good = PARSERS[name].good
    for at in range(len(good)):
        damaged = bytearray(good)
        damaged[at] ^= 0x20
        assert attempt(name, bytes(damaged), at), at


def test_what_was_found_once_stays_mended() -> None:
    """Bytes that once broke a parser, kept in tests/golden."""
    for name, packed in json.loads(SEEDS.read_text()):
        attempt(name, zlib.decompress(base64.b64decode(packed)), "kept")


@pytest.mark.parametrize("bad", [b"\xff", b'"\xff"', b'{"writer":"\xff"}', DEEP])
@pytest.mark.parametrize("name", ["cell", "generation", "key-set", "parts", "config"])
def test_text_that_is_no_text_is_refused(name: str, bad: bytes) -> None:
    """Bytes that are no UTF-8, and nesting without end."""
    assert attempt(name, bad, "text")


def test_signed_text_that_is_no_text_is_corruption() -> None:
    """Also behind a good signature."""
    for name in ("manifest-body", "point-body"):
        for body in (b'{"format":"\xff"}', b"{}", b"null", b"", DEEP):
            assert attempt(name, body, "text")


# -- bombs -------------------------------------------------------------------------------------------


def bomb(size: int, *, stated: bool) -> bytes:
    """`size` zeros as one zstd frame, a few KiB."""
    compressor = zstandard.ZstdCompressor(level=1, write_content_size=stated)
    made = compressor.compressobj(size=size if stated else -1)
    piece = bytes(1 << 24)
    return b"".join([made.compress(piece) for _ in range(size >> 24)]) + made.flush()


def sealed(payload: bytes) -> bytes:
    """A single-frame object whose seal is good, whatever was compressed."""
    header = Header(ObjectClass.RUN, 2, f.UUID, f.SALT)
    cipher = AESGCM(derive(class_key(f.KEYS, header), "object", f.SALT))
    head = header.encode()
    assert len(head) == HEADER_BYTES
    return protected(head + cipher.encrypt(nonce(0), payload, head))


@pytest.mark.slow
@pytest.mark.parametrize("stated", [True, False])
def test_a_bomb_is_refused_unread(stated: bool) -> None:
    """1 GiB of zeros in a frame and in an object, sealed with our keys: Corruption, whether or not it says its size."""
    payload = bomb(1 << 30, stated=stated)
    assert len(payload) < 200_000
    with pytest.raises(Corruption) as caught:
        open_payload(payload)
    assert caught.value.code == "frame-size"
    with pytest.raises(Corruption) as caught:
        open_object(f.KEYS, ObjectClass.RUN, f.UUID, sealed(payload))
    assert caught.value.code == "frame-size"


@pytest.mark.slow
def test_a_size_that_is_not_true_is_refused() -> None:
    """A frame that states less than it holds is not read beyond, one that states more is short."""
    payload = bytearray(zstandard.ZstdCompressor().compress(bytes(FRAME_PLAIN_BYTES_MAX)))
    at = payload.index(FRAME_PLAIN_BYTES_MAX.to_bytes(4, "little"))
    for size in (0, 600, FRAME_PLAIN_BYTES_MAX - 1, FRAME_PLAIN_BYTES_MAX + 1, 2**32 - 1):
        payload[at : at + 4] = size.to_bytes(4, "little")
        with pytest.raises(Corruption):
            open_payload(bytes(payload))
    payload[at : at + 4] = (OBJECT_PLAIN_BYTES_MAX + 1).to_bytes(4, "little")
    with pytest.raises(Corruption) as caught:
        open_object(f.KEYS, ObjectClass.RUN, f.UUID, sealed(bytes(payload)))
    assert caught.value.code == "frame-size"


def test_counts_without_rows_are_refused() -> None:
    """Tables that say they have four thousand million rows and have none."""
    for count in (1, 2**31, 2**32 - 1):
        word = count.to_bytes(4, "little")
        for place in range(4):
            head = b"".join(word if n == place else bytes(4) for n in range(4))
            for decode in (decode_directory, decode_run):
                with pytest.raises(Corruption):
                    decode(head)
        for packed in (b"\xdd" + word[::-1], b"\x91\x94\xa1a\x01\xc6" + word[::-1]):
            with pytest.raises(Corruption):
                decode_parts(packed)


@pytest.mark.slow
def test_parquet_of_impossible_sizes_is_refused() -> None:
    """A file that says that its pages are larger than they are; other columns; nulls."""
    good = PARSERS["catalog"].good
    table = pq.read_table(pa.BufferReader(good))
    for broken in (
        table.drop_columns(["removed"]),
        table.append_column("more", pa.array([1] * len(table))),
        pa.table({**{n: table[n] for n in SCHEMA.names}, "id": pa.nulls(len(table), pa.binary())}),
        table.set_column(0, "id", pa.array(["a"] * len(table), pa.string())),
    ):
        sink = pa.BufferOutputStream()
        pq.write_table(broken, sink)
        with pytest.raises(Corruption):
            decode_catalog_part(bytes(sink.getvalue()))
    footer = int.from_bytes(good[-8:-4], "little")
    for size in (0, footer - 1, footer + 1, len(good), 2**31 - 1, 2**32 - 1):
        with pytest.raises(Corruption):
            decode_catalog_part(good[:-8] + size.to_bytes(4, "little") + good[-4:])


assert manifest.SIGNATURE_BYTES == 64
