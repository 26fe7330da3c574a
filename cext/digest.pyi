from typing_extensions import Buffer

DIGEST_BYTES: int
simd: str

def use_simd(demand: str) -> None: ...
def keyed(data: Buffer, spans: Buffer, key: Buffer) -> bytes: ...
