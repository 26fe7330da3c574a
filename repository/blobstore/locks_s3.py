"""
Versions and locks of S3, through AWS's own client: obstore has no calls for them. Loaded when one is asked for.

Bytes travel through obstore all the same: new objects with the headers of a lock, versions by their id.
"""

import email.utils
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from engine.errors import BackupError, Denied, Locked
from repository.blobstore.lockable import CALLS_AT_ONCE, ExtendsEach, LockableRemoteStore
from repository.blobstore.locks import BucketState, Lock, LockMode, Version
from repository.blobstore.refusals import Answer, translated
from repository.blobstore.s3 import SERVICE, Place

T = TypeVar("T")

ATTEMPTS_MAX = 10
_MODES: dict[str, LockMode] = {"COMPLIANCE": "compliance", "GOVERNANCE": "governance"}
_NO_LOCKS = {"ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration"}


class S3Locks(ExtendsEach):
    """See LockStore."""

    def __init__(self, store: LockableRemoteStore, place: Place) -> None:
        self._store = store
        self._bucket = place.bucket
        self._root = f"{place.prefix}/" if place.prefix else ""
        self._client: Any = boto3.Session().client(
            "s3",
            endpoint_url=place.endpoint or None,
            region_name=place.region,
            config=Config(
                retries={"total_max_attempts": ATTEMPTS_MAX, "mode": "standard"},
                s3={"addressing_style": "path"},
                max_pool_connections=CALLS_AT_ONCE,
                connect_timeout=10,
                read_timeout=60,
            ),
        )

    def now(self) -> datetime:
        """See LockStore."""
        answer = self._ask("the bucket", lambda: self._client.head_bucket(Bucket=self._bucket))
        date = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
        return email.utils.parsedate_to_datetime(date).astimezone(UTC)

    def bucket_state(self) -> BucketState:
        """See LockStore."""
        versioning = self._ask(
            "the bucket", lambda: self._client.get_bucket_versioning(Bucket=self._bucket)
        )
        is_versioned = versioning.get("Status") == "Enabled"
        try:
            answer = self._client.get_object_lock_configuration(Bucket=self._bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] in _NO_LOCKS:
                return BucketState(is_versioned, object_lock=False, default_lock=False)
            raise self._ours(error, "the bucket") from None
        held = answer.get("ObjectLockConfiguration", {})
        return BucketState(
            is_versioned, held.get("ObjectLockEnabled") == "Enabled", bool(held.get("Rule"))
        )

    def lock_of(self, name: str, version_id: str | None = None) -> Lock | None:
        """See LockStore."""
        which = {} if version_id is None else {"VersionId": version_id}
        found = self._ask(
            name,
            lambda: self._client.head_object(Bucket=self._bucket, Key=self._root + name, **which),
        )
        mode, until = found.get("ObjectLockMode"), found.get("ObjectLockRetainUntilDate")
        return None if not mode or until is None else Lock(_MODES[mode], until.astimezone(UTC))

    def set_lock(self, name: str, lock: Lock) -> None:
        """Lock the latest version of an object like this. NotFound."""
        retention = {"Mode": lock.mode.upper(), "RetainUntilDate": lock.until}
        self._ask(
            name,
            lambda: self._client.put_object_retention(
                Bucket=self._bucket, Key=self._root + name, Retention=retention
            ),
        )

    def versions(self, prefix: str) -> Iterator[Version]:
        """See LockStore."""

        def walk() -> list[Version]:
            pages = self._client.get_paginator("list_object_versions").paginate(
                Bucket=self._bucket, Prefix=self._root + prefix
            )
            found = [
                self._version(form, is_deletion=kind == "DeleteMarkers")
                for page in pages
                for kind in ("Versions", "DeleteMarkers")
                for form in page.get(kind, ())
            ]
            # markers come apart from versions, times have whole seconds: within one, what was written counts as the later
            found.sort(key=lambda v: (v.written, not v.is_deletion), reverse=True)
            return sorted(found, key=lambda v: (v.name, not v.is_latest))

        yield from self._ask(prefix or "the store", walk)

    def _version(self, form: dict[str, Any], *, is_deletion: bool) -> Version:
        return Version(
            form["Key"].removeprefix(self._root),
            form["VersionId"],
            form["LastModified"].astimezone(UTC),
            form.get("Size", 0),
            form["IsLatest"],
            is_deletion,
        )

    def read_version(self, version: Version, offset: int, length: int) -> bytes:
        """See LockStore."""
        end = min(offset + length, version.size)
        if offset >= end:
            return b""
        return self._store.get_version(version.name, version.version_id, offset, end)

    def delete_version(self, version: Version) -> None:
        """See LockStore."""
        try:
            self._ask(
                version.name,
                lambda: self._client.delete_object(
                    Bucket=self._bucket,
                    Key=self._root + version.name,
                    VersionId=version.version_id,
                ),
            )
        except Denied as error:
            # the same refusal for a lock and for a missing right
            if (
                version.is_deletion
                or error.code != "store-denied"
                or self.lock_of(version.name, version.version_id) is None
            ):
                raise
            raise Locked(
                f"{version.name} is protected from changes by a policy: wait", code="blob-locked"
            ) from None

    def _ask(self, what: str, act: Callable[[], T]) -> T:
        try:
            return act()
        except (BotoCoreError, ClientError) as error:
            raise self._ours(error, what) from None

    def _ours(self, error: Exception, what: str) -> BackupError:
        answer = Answer(None, "")
        if isinstance(error, ClientError):
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            code = error.response["Error"]["Code"]
            # 405: what was asked for is a deletion marker
            answer = Answer(404 if code == "MethodNotAllowed" else status, code)
        return translated(answer, SERVICE, self._store.describe(), what)
