from array import array
from collections.abc import Sequence

from typing_extensions import Buffer

STAT_FIELDS: int
MODE: int
SIZE: int
MTIME_NS: int
CTIME_NS: int
INO: int
DEV: int
NLINK: int
UID: int
GID: int
BLOCKS: int
ERRNO: int

READ_FIELDS: int
AFTER_ERRNO: int
AFTER_SIZE: int
AFTER_MTIME_NS: int
AFTER_CTIME_NS: int
AFTER_INO: int
AFTER_XATTR: int

PLAN_FIELDS: int
ATTRIBUTE_FIELDS: int
CREATE: int
LAST: int

def scan(folder: bytes) -> tuple[bytes, array[int], array[int]]: ...
def read(
    paths: Buffer, path_ends: Buffer, sizes: Buffer, buffer: Buffer
) -> tuple[array[int], array[int]]: ...
def write(
    root: bytes,
    paths: Buffer,
    path_ends: Buffer,
    pieces: Sequence[Buffer],
    plan: Buffer,
    attributes: Buffer,
) -> array[int]: ...
