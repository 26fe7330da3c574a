"""
S3 and what speaks like it.

Credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else all that AWS's own tools find (AWS_PROFILE, roles of machines
and containers). Region and endpoint: of the address, else AWS_REGION and AWS_ENDPOINT_URL. Other AWS_* variables of obstore
count too.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from obstore.store import S3Store

from engine.errors import UsageError
from repository.blobstore.endpoints import allows_http, first_set, split_address
from repository.blobstore.lockable import LOCKED_CLIENTS_MAX, LockableRemoteStore
from repository.blobstore.locks import Lock, LockStore
from repository.blobstore.refusals import Service, missing_credentials
from repository.blobstore.remote import NEVER_REPEAT, Clients, Patience

if TYPE_CHECKING:
    from obstore.auth.boto3 import Boto3CredentialProvider
    from obstore.store import ClientConfig, ObjectStore, RetryConfig, S3Config

SERVICE = Service(
    "S3", "bucket", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; AWS_REGION"
)
DEFAULT_REGION = "us-east-1"


def open_s3(address: str, patience: Patience | None = None) -> LockableRemoteStore:
    """
    The store at `s3://bucket/prefix?endpoint=URL&region=NAME`; nothing is asked yet.

    Raises: UsageError for a bad address or endpoint. Denied without credentials.
    """
    patience = patience or Patience()
    bucket, prefix, options = split_address(address, "endpoint", "region")
    endpoint = options.get("endpoint") or first_set(
        "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"
    )
    allow_http = allows_http(endpoint)
    region = options.get("region") or first_set("AWS_REGION", "AWS_DEFAULT_REGION")
    provider = None if os.environ.get("AWS_ACCESS_KEY_ID") else _provider(address)
    if provider is not None and not region:
        region = str(provider.config.get("region", ""))
    config: S3Config = {
        "region": region or DEFAULT_REGION,
        "virtual_hosted_style_request": False,
        "unsigned_payload": True,  # TLS guards the way, names and seals guard the bytes
        "disable_bulk_delete": True,
        "conditional_put": "etag",
    }
    if endpoint:
        config["endpoint"] = endpoint

    def make(
        options: "ClientConfig", retries: "RetryConfig", more: "S3Config | None" = None
    ) -> "ObjectStore":
        return S3Store(
            bucket,
            prefix=prefix or None,
            config=config | (more or {}),
            client_options=options,
            retry_config=retries,
            credential_provider=provider,
        )

    @lru_cache(LOCKED_CLIENTS_MAX)
    def locked(lock: Lock) -> "ObjectStore":
        options = patience.client_options(large=True, allow_http=allow_http)
        options["default_headers"] = {
            "x-amz-object-lock-mode": lock.mode.upper(),
            "x-amz-object-lock-retain-until-date": lock.until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        # S3 takes a lock with a checksum of the content alone
        return make(options, NEVER_REPEAT, {"checksum_algorithm": "sha256"})

    clients = Clients.made_by(make, patience, allow_http=allow_http)
    place = Place(bucket, prefix, endpoint, config["region"])

    def load_locks(store: LockableRemoteStore) -> LockStore:
        from repository.blobstore.locks_s3 import S3Locks

        return S3Locks(store, place)

    return LockableRemoteStore(
        clients,
        SERVICE,
        address,
        suffix_ranges=True,
        patience=patience,
        locked=locked,
        load_locks=load_locks,
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where the objects lie; empty `prefix`, `endpoint`: none."""

    bucket: str
    prefix: str
    endpoint: str
    region: str


def _provider(address: str) -> "Boto3CredentialProvider":
    """Credentials as AWS's own tools find them. Loaded late: boto3 takes long to import."""
    import boto3
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        return Boto3CredentialProvider(boto3.Session())
    except ValueError:
        raise missing_credentials(SERVICE, address) from None
    except BotoCoreError as error:
        raise UsageError(
            f"the AWS profile cannot be used: {error}", code="profile-unusable"
        ) from None
