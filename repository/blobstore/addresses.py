"""From the text of a REPO argument to a blob store."""

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import Conflict, NotFound, UsageError
from repository.blobstore.limited import Limits, limited, limits_of_environment, split_limits
from repository.blobstore.local import LocalStore, translated
from repository.blobstore.protocol import BlobStore
from repository.blobstore.traced import traced

if TYPE_CHECKING:
    from repository.blobstore.remote import RemoteStore


def _local_path(address: str) -> Path:
    if not address:
        raise UsageError(
            "name the repository: a path, s3://bucket/prefix or az://container/prefix",
            code="bad-address",
        )
    scheme, found, rest = address.partition("://")
    if found and scheme == "file":
        return Path(rest)
    path = Path(address).expanduser() if address.startswith("~/") else Path(address)
    return path.absolute()


def _remote_store(address: str) -> "RemoteStore | None":
    """The store of an s3:// or az:// address, None for a path."""
    if address.partition("://")[0] not in ("s3", "az"):
        return None
    settings = [i for i in os.environ.items() if i[0].startswith(("AWS_", "AZURE_", "STRONGROOM_"))]
    return _connected(address, tuple(sorted(settings)))


@lru_cache(16)
def _connected(address: str, settings: tuple[tuple[str, str], ...]) -> "RemoteStore":
    """One store for each address and settings: connections are kept. Drivers load when they are needed."""
    if address.startswith("s3://"):
        from repository.blobstore.s3 import open_s3

        return open_s3(address)
    from repository.blobstore.azure import open_azure

    return open_azure(address)


def create_store(address: str) -> BlobStore:
    """An empty store at `address`. Conflict if something is there."""
    place, limits = split_limits(address)
    remote = _remote_store(place)
    if remote is None:
        return _surrounded(LocalStore.create(_local_path(place)), limits)
    if remote.has("config") or next(remote.list(""), None) is not None:
        raise Conflict(
            f"{place} is not empty: choose a new prefix for a repository", code="store-not-empty"
        )
    return _surrounded(remote, limits)


def open_store(address: str) -> BlobStore:
    """The store at `address`. NotFound says how to make one."""
    place, limits = split_limits(address)
    remote = _remote_store(place)
    if remote is None:
        return _surrounded(_open_local(_local_path(place)), limits)
    if not remote.has("config"):
        raise NotFound(_no_repository(place), code="repository-not-found")
    return _surrounded(remote, limits)


def store_at(address: str) -> BlobStore:
    """The store at `address`, whatever lies there."""
    place, limits = split_limits(address)
    return _surrounded(_remote_store(place) or LocalStore(_local_path(place)), limits)


def _surrounded(store: BlobStore, limits: Limits) -> BlobStore:
    """With the limits of the address, then those of all that this process does; waiting for either is not traced."""
    made = limited(traced(store), store.describe(), limits)
    return limited(made, "", limits_of_environment())


def _open_local(path: Path) -> LocalStore:
    try:
        is_there = (path / "config").is_file()
    except OSError as error:
        raise translated(error, str(path)) from error
    if not is_there:
        raise NotFound(_no_repository(str(path)), code="repository-not-found")
    return LocalStore(path)


def _no_repository(where: str) -> str:
    return f"{where} is not a Strongroom repository: check the address, or make one with `strongroom repo init`"
