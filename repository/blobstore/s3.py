"""
S3 and what speaks like it.

Credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else all that AWS's own tools find (AWS_PROFILE, roles of machines
and containers). Region: AWS_REGION. Endpoint: AWS_ENDPOINT_URL. Other AWS_* variables of obstore count too.
"""

import os
from typing import TYPE_CHECKING

from obstore.store import S3Store

from engine.errors import UsageError
from repository.blobstore.endpoints import allows_http, split_address
from repository.blobstore.refusals import Service, missing_credentials
from repository.blobstore.remote import Clients, Patience, RemoteStore

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig, S3Config, S3CredentialProvider

SERVICE = Service(
    "S3", "bucket", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; AWS_REGION"
)
DEFAULT_REGION = "us-east-1"


def open_s3(address: str, patience: Patience | None = None) -> RemoteStore:
    """
    The store at `s3://bucket/prefix`; nothing is asked yet.

    Raises: UsageError for a bad address or endpoint. Denied without credentials.
    """
    patience = patience or Patience()
    bucket, prefix = split_address(address)
    endpoint = _first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    config: S3Config = {
        "region": _first("AWS_REGION", "AWS_DEFAULT_REGION") or DEFAULT_REGION,
        "virtual_hosted_style_request": False,
        "unsigned_payload": True,  # TLS guards the way, names and seals guard the bytes
        "disable_bulk_delete": True,
        "conditional_put": "etag",
    }
    if endpoint:
        config["endpoint"] = endpoint
    provider = None if os.environ.get("AWS_ACCESS_KEY_ID") else _provider(address, config)

    def make(options: "ClientConfig", retries: "RetryConfig") -> "ObjectStore":
        return S3Store(
            bucket,
            prefix=prefix or None,
            config=config,
            client_options=options,
            retry_config=retries,
            credential_provider=provider,
        )

    clients = Clients.made_by(make, patience, allow_http=allows_http(endpoint))
    return RemoteStore(clients, SERVICE, address, suffix_ranges=True, patience=patience)


def _first(*names: str) -> str:
    return next((value for name in names if (value := os.environ.get(name))), "")


def _provider(address: str, config: "S3Config") -> "S3CredentialProvider":
    """Credentials as AWS's own tools find them. Loaded late: boto3 takes long to import."""
    import boto3
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        session = boto3.Session()
        if session.region_name:
            config["region"] = session.region_name
        return Boto3CredentialProvider(session)
    except ValueError:
        raise missing_credentials(SERVICE, address) from None
    except BotoCoreError as error:
        raise UsageError(
            f"the AWS profile cannot be used: {error}", code="profile-unusable"
        ) from None
