from array import array

from typing_extensions import Buffer

WINDOW_BYTES: int
simd: str

def use_simd(demand: str) -> None: ...
def cut_spans(
    data: Buffer,
    spans: Buffer,
    table: Buffer,
    size_min: int,
    size_normal: int,
    size_max: int,
    mask_strict: int,
    mask_loose: int,
) -> tuple[array[int], array[int]]: ...
