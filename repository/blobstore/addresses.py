"""From the text of a REPO argument to a blob store."""

from pathlib import Path

from engine.errors import NotFound, Unsupported, UsageError
from repository.blobstore.local import LocalStore, translated
from repository.blobstore.protocol import BlobStore


def _local_path(address: str) -> Path:
    if not address:
        raise UsageError("name the repository: a path or s3://bucket/prefix", code="bad-address")
    scheme, found, rest = address.partition("://")
    if found and scheme in ("s3", "az"):
        raise Unsupported(
            f"{scheme}:// repositories come with a later version; use a path",
            code="store-unsupported",
        )
    if found and scheme == "file":
        return Path(rest)
    path = Path(address).expanduser() if address.startswith("~/") else Path(address)
    return path.absolute()


def create_store(address: str) -> BlobStore:
    """An empty store at `address`. Conflict if something is there."""
    return LocalStore.create(_local_path(address))


def open_store(address: str) -> BlobStore:
    """The store at `address`. NotFound says how to make one."""
    path = _local_path(address)
    try:
        is_there = (path / "config").is_file()
    except OSError as error:
        raise translated(error, str(path)) from error
    if not is_there:
        raise NotFound(
            f"{path} is not a Strongroom repository: check the path, or make one with `strongroom repo init`",
            code="repository-not-found",
        )
    return LocalStore(path)
