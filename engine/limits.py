"""Every limit of the formats with its unit; relations between them are asserted at import."""

KIB = 1024
MIB = 1024 * KIB

CHUNK_BYTES_MIN = 16 * KIB
CHUNK_BYTES_NORMAL = 64 * KIB
CHUNK_BYTES_MAX = 256 * KIB
CHUNK_WINDOW_BYTES = 32  # the cut test sees the last 32 bytes, wherever a chunk began

FRAME_PLAIN_BYTES_TARGET = 512 * KIB  # a frame is closed when it holds this much
FRAME_PLAIN_BYTES_MAX = FRAME_PLAIN_BYTES_TARGET + CHUNK_BYTES_MAX
FRAME_STORED_BYTES_MAX = FRAME_PLAIN_BYTES_MAX + 64 * KIB  # zstd's worst case, tag and slack
FRAMES_PER_PACK_MAX = 1 << 20

DATA_PACK_BYTES_TARGET = 64 * MIB
METADATA_PACK_BYTES_TARGET = 16 * MIB
PACK_BYTES_MAX = 256 * MIB
PACK_CHUNKS_TARGET = 1 << 17  # a pack is closed when it holds as many, however small they are
DIRECTORY_BYTES_MAX = 64 * MIB

SALVAGE_INTERVAL_BYTES = 4 * MIB  # after so much a pack says again what is in it
SALVAGE_ALIGNMENT_BYTES = 4 * KIB  # where a reader of a torn pack tries

PARITY_SLICES = 32  # of a full stripe, which two parity slices protect
PARITY_SLICE_BYTES = 64 * KIB
PARITY_SLICE_BYTES_MIN = 128

RUN_CHUNKS_MAX = 1 << 20
RUN_MERGED_CHUNKS_MAX = 1 << 22  # merged by a collector; with its frames it fits in one object
OBJECT_PLAIN_BYTES_MAX = 256 * MIB  # a sealed single-frame object, decompressed

CATALOG_PARTS_PER_LEVEL_MAX = 8
CATALOG_LEVEL_ROWS = 4096  # a new part of up to this many rows begins at level 0, of eight times as many at level 1, ...
CELL_COMMITS_MAX = 100_000
NAME_BYTES_MAX = 1024  # of an object in the store

assert CHUNK_WINDOW_BYTES <= CHUNK_BYTES_MIN < CHUNK_BYTES_NORMAL < CHUNK_BYTES_MAX
assert CHUNK_BYTES_MAX <= FRAME_PLAIN_BYTES_MAX < METADATA_PACK_BYTES_TARGET
assert PACK_CHUNKS_TARGET + FRAME_PLAIN_BYTES_MAX <= RUN_CHUNKS_MAX  # one run holds any pack
assert 2 * PARITY_SLICES <= 255  # slices of a stripe: elements of the field but 0
assert DATA_PACK_BYTES_TARGET + FRAME_STORED_BYTES_MAX + DIRECTORY_BYTES_MAX <= PACK_BYTES_MAX
