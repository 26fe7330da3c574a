from typing_extensions import Buffer

def cut(
    data: Buffer,
    table: bytes,
    size_min: int,
    size_normal: int,
    size_max: int,
    mask_strict: int,
    mask_loose: int,
) -> list[int]: ...
