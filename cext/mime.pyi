from array import array

from typing_extensions import Buffer

BODY_BYTES_MIN: int
simd: str

def split(data: Buffer, spans: Buffer) -> tuple[Buffer, array[int], array[int], list[bytes]]: ...
def join(streams: Buffer, recipe: Buffer) -> bytes: ...
def encode_lines(decoded: Buffer, line_characters: int, newline: int) -> bytes: ...
