"""Format version: a one-way ratchet. Readers keep the version before; docs/format.md has the table."""

from engine.errors import Unsupported

FORMAT_VERSION = 1
SUITE = 1  # BLAKE3-256, AES-256-GCM, zstd, Ed25519, Argon2id


def require_readable(version: int, suite: int = SUITE) -> None:
    """Refuse what a newer program wrote. Unsupported names the version and what to do."""
    if version > FORMAT_VERSION or suite > SUITE:
        raise Unsupported(
            f"the repository has format version {version}, suite {suite}; this program reads up to "
            f"{FORMAT_VERSION}, {SUITE}: use a newer strongroom",
            code="format-newer",
            version=version,
        )
