"""From the text of a REPO argument to a blob store."""

from pathlib import Path
from urllib.parse import urlsplit

from engine.errors import NotFound, Unsupported, UsageError
from repository.blobstore.local import LocalStore
from repository.blobstore.protocol import BlobStore


def _local_path(address: str) -> Path:
    if not address:
        raise UsageError("name the repository: a path or s3://bucket/prefix", code="bad-address")
    parts = urlsplit(address)
    if parts.scheme in ("s3", "az"):
        raise Unsupported(
            f"{parts.scheme}:// repositories come with a later version; use a path",
            code="store-unsupported",
        )
    if parts.scheme == "file":
        return Path(parts.path)
    return Path(address).expanduser().absolute()


def create_store(address: str) -> BlobStore:
    """An empty store at `address`. Conflict if something is there."""
    return LocalStore.create(_local_path(address))


def open_store(address: str) -> BlobStore:
    """The store at `address`. NotFound says how to make one."""
    path = _local_path(address)
    if not (path / "config").is_file():
        raise NotFound(
            f"{path} is not a Strongroom repository: check the path, or make one with `strongroom repo init`",
            code="repository-not-found",
        )
    return LocalStore(path)
