"""
Versions and locks of Azure ("version-level immutability"), through Azure's own client. Loaded when one is asked for.

A lock is the immutability policy of a version: `Locked` is compliance, `Unlocked` is governance. Bytes travel through obstore
all the same: new objects with the headers of a policy, versions by their id.

Azure leaves no marker where an object was deleted: its latest version becomes a previous one. Such a marker is made up here,
so that what is hidden is seen; it has no id, its time is that of the listing, and it goes with the last version. Nor can the
latest version be deleted as such: it becomes a previous one first, and what lay under it does not come back.
"""

import email.utils
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, TypeVar

from azure.core import MatchConditions
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.storage.blob import ContainerClient, ImmutabilityPolicy

from engine.errors import BackupError, Locked, NotFound
from repository.blobstore.azure import SERVICE, Place
from repository.blobstore.lockable import ExtendsEach, LockableRemoteStore
from repository.blobstore.locks import BucketState, Lock, LockMode, Version
from repository.blobstore.refusals import Answer, translated

T = TypeVar("T")

LISTED_FOR_VERSIONS = 50
STORAGE_SCOPE = "https://storage.azure.com/.default"
REPETITIONS_MAX = 6  # a minute in all
# else each request is a line of INFO, and a refusal, which we say in one line, a page of WARNING
logging.getLogger("azure").setLevel(logging.ERROR)
_MODES: dict[str, LockMode] = {"locked": "compliance", "unlocked": "governance"}
_MODE_OF: dict[LockMode, str] = {"compliance": "Locked", "governance": "Unlocked"}


class AzureLocks(ExtendsEach):
    """See LockStore."""

    def __init__(self, store: LockableRemoteStore, place: Place) -> None:
        self._store = store
        self._root = f"{place.prefix}/" if place.prefix else ""
        self._container: Any = ContainerClient(
            place.url,
            place.container,
            credential=self._ask("the store", lambda: _credential(place)),
            retry_total=REPETITIONS_MAX,
            initial_backoff=1,
            increment_base=2,
            random_jitter_range=1,
            connection_timeout=10,
            read_timeout=60,
        )

    def now(self) -> datetime:
        """See LockStore."""
        dates: list[datetime] = []

        def look() -> None:
            # a listing, because a shared access signature of the container may not ask for its properties
            pages = self._container.list_blobs(
                self._root, results_per_page=1, raw_response_hook=_clock(dates)
            ).by_page()
            next(pages, None)

        self._ask("the container", look)
        return dates[-1]

    def bucket_state(self) -> BucketState:
        """See LockStore. Whether versions are kept without locks is seen from objects alone: Azure tells it nowhere else."""
        found = self._ask("the container", self._container.get_container_properties)
        # without version-level immutability such a policy locks the container as a whole
        default_lock = bool(found.has_immutability_policy or found.has_legal_hold)
        if found.immutable_storage_with_versioning_enabled:
            return BucketState(versioning=True, object_lock=True, default_lock=default_lock)
        return BucketState(self._shows_versions(), object_lock=False, default_lock=default_lock)

    def _shows_versions(self) -> bool:
        def look() -> bool:
            pages = self._container.list_blobs(
                self._root, include=["versions"], results_per_page=LISTED_FOR_VERSIONS
            ).by_page()
            return any(blob.version_id for blob in next(pages, ()))

        return self._ask("the container", look)

    def lock_of(self, name: str, version_id: str | None = None) -> Lock | None:
        """See LockStore."""
        return _lock(self._head(name, version_id, []))

    def _head(self, name: str, version_id: str | None, dates: list[datetime]) -> Any:
        which = {"version_id": version_id} if version_id else {}
        return self._ask(
            name,
            lambda: self._blob(name).get_blob_properties(raw_response_hook=_clock(dates), **which),
        )

    def _blob(self, name: str) -> Any:
        return self._container.get_blob_client(self._root + name)

    def set_lock(self, name: str, lock: Lock) -> None:
        """Lock the latest version of an object like this. NotFound."""
        policy = ImmutabilityPolicy(expiry_time=lock.until, policy_mode=_MODE_OF[lock.mode])
        self._ask(name, lambda: self._blob(name).set_immutability_policy(policy))

    def versions(self, prefix: str) -> Iterator[Version]:
        """See LockStore."""

        def walk() -> list[Version]:
            dates: list[datetime] = []
            pages = self._container.list_blobs(
                self._root + prefix, include=["versions"], raw_response_hook=_clock(dates)
            )
            # ids of versions are times, finer than those of the objects
            found = sorted(pages, key=lambda blob: blob.version_id or "", reverse=True)
            found.sort(key=lambda blob: (blob.name, not blob.is_current_version))
            return [
                version
                for name, blobs in groupby(found, lambda blob: blob.name)
                for version in _of_one(name.removeprefix(self._root), list(blobs), dates[-1])
            ]

        yield from self._ask(prefix or "the store", walk)

    def read_version(self, version: Version, offset: int, length: int) -> bytes:
        """See LockStore."""
        end = min(offset + length, version.size)
        if offset >= end:
            return b""
        return self._store.get_version(version.name, version.version_id, offset, end)

    def delete_version(self, version: Version) -> None:
        """See LockStore; see the module head for markers and for latest versions."""
        if version.is_deletion:
            return
        if version.is_latest:
            with suppress(NotFound):
                self._make_previous(version)
        if version.version_id:
            with suppress(NotFound):
                self._delete(version.name, version_id=version.version_id)

    def _make_previous(self, version: Version) -> None:
        """Delete the object, unless its version is locked: then it stays in sight. Conflict if it was written again."""
        dates: list[datetime] = []
        found = self._head(version.name, None, dates)
        if (found.version_id or "") != version.version_id:
            return  # it is a previous one already
        lock = _lock(found)
        if lock is not None and lock.until > dates[-1]:
            raise Locked(
                f"{version.name} is protected from changes by a policy: wait", code="blob-locked"
            )
        self._delete(version.name, etag=found.etag, match_condition=MatchConditions.IfNotModified)

    def _delete(self, name: str, **which: Any) -> None:
        self._ask(name, lambda: self._blob(name).delete_blob(**which))

    def _ask(self, what: str, act: Callable[[], T]) -> T:
        try:
            return act()
        except AzureError as error:
            raise self._ours(error, what) from None

    def _ours(self, error: AzureError, what: str) -> BackupError:
        answer = Answer(None, "", str(error.message))
        if isinstance(error, ClientAuthenticationError) and error.status_code is None:
            answer = Answer(401, "")  # nobody gives a token
        elif isinstance(error, HttpResponseError):
            code = getattr(error, "error_code", None)
            answer = Answer(error.status_code, str(getattr(code, "value", code) or ""))
        return translated(answer, SERVICE, self._store.describe(), what)


def _credential(place: Place) -> Any:
    if place.key:
        return AzureNamedKeyCredential(place.account, place.key)
    if place.signature:
        return AzureSasCredential(place.signature)
    from azure.identity import DefaultAzureCredential

    # what obstore knows as well: an application's secret, the identity of a workload or of the machine
    found = DefaultAzureCredential(
        exclude_broker_credential=True,
        exclude_cli_credential=True,
        exclude_developer_cli_credential=True,
        exclude_powershell_credential=True,
        exclude_shared_token_cache_credential=True,
        exclude_visual_studio_code_credential=True,
    )
    found.get_token(STORAGE_SCOPE)  # now: within a request it would be tried again and again
    return found


def _clock(dates: list[datetime]) -> Callable[[Any], None]:
    """Keeps the service's time of each answer."""

    def note(answer: Any) -> None:
        date = answer.http_response.headers["date"]
        dates.append(email.utils.parsedate_to_datetime(date).astimezone(UTC))

    return note


def _lock(found: Any) -> Lock | None:
    policy = found.immutability_policy
    mode = _MODES.get(str(policy.policy_mode or "").lower())  # `mutable` is none
    if mode is None or policy.expiry_time is None:
        return None
    return Lock(mode, policy.expiry_time.astimezone(UTC))


def _of_one(name: str, blobs: Sequence[Any], now: datetime) -> Iterator[Version]:
    """Versions of one object; without versioning its only state has no id."""
    if not (blobs[0].is_current_version or blobs[0].version_id is None):
        yield Version(name, "", now, 0, is_latest=True, is_deletion=True)
    for blob in blobs:
        is_latest = bool(blob.is_current_version or blob.version_id is None)
        written = blob.last_modified.astimezone(UTC)
        yield Version(name, blob.version_id or "", written, blob.size, is_latest, is_deletion=False)
