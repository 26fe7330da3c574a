"""
Azure Blob Storage.

Account and credentials: AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY,
AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET; else the identity of the virtual machine.
Other AZURE_* variables of obstore count too.
"""

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from obstore.exceptions import BaseError
from obstore.store import AzureStore

from engine.errors import UsageError
from repository import ambient
from repository.blobstore.endpoints import allows_http, first_set, split_address
from repository.blobstore.lockable import LOCKED_CLIENTS_MAX, LockableRemoteStore
from repository.blobstore.locks import Lock, LockStore
from repository.blobstore.refusals import Service, missing_credentials
from repository.blobstore.remote import NEVER_REPEAT, Clients, Patience

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ClientConfig, ObjectStore, RetryConfig

SERVICE = Service(
    "Azure",
    "container",
    "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
)
DAY_S = 24 * 3600
_CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"
_KEYS = ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY")
_SIGNATURES = ("AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_SAS_TOKEN")


def open_azure(address: str, patience: Patience | None = None) -> LockableRemoteStore:
    """
    The store at `az://container/prefix?endpoint=URL&account=NAME`; nothing is asked yet.

    Raises: UsageError for a bad address, endpoint or connection string. Denied without an account.
    """
    patience = patience or Patience()
    container, prefix, options = split_address(address, "endpoint", "account")
    config = _config()
    if "endpoint" in options:
        config["endpoint"] = options["endpoint"]
    if "account" in options:
        config["account_name"] = options["account"]
    allow_http = allows_http(config.get("endpoint", ""))
    place = Place.of(container, prefix, config)

    def make(
        options: "ClientConfig", retries: "RetryConfig", more: "AzureConfig | None" = None
    ) -> "ObjectStore":
        return AzureStore(
            container,
            prefix=prefix or None,
            config=config | (more or {}),
            client_options=options,
            retry_config=retries,
        )

    @lru_cache(LOCKED_CLIENTS_MAX)
    def locked(lock: Lock, today: int) -> "ObjectStore":
        options = patience.client_options(large=True, allow_http=allow_http)
        options["default_headers"] = {
            "x-ms-immutability-policy-mode": "Locked" if lock.mode == "compliance" else "Unlocked",
            "x-ms-immutability-policy-until-date": format_datetime(lock.until, usegmt=True),
        }
        return make(options, NEVER_REPEAT, _unsigned(place, today))

    try:
        clients = Clients.made_by(make, patience, allow_http=allow_http)
    except (
        BaseError
    ):  # of the parts of the configuration only the account and the key can be wrong by themselves
        raise missing_credentials(SERVICE, address) from None

    def load_locks(store: LockableRemoteStore) -> LockStore:
        from repository.blobstore.locks_azure import AzureLocks

        return AzureLocks(store, place)

    return LockableRemoteStore(
        clients,
        SERVICE,
        address,
        suffix_ranges=False,
        patience=patience,
        locked=lambda lock: locked(lock, ambient.today()),
        load_locks=load_locks,
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where the objects lie, and what opens it: an account key, a shared access signature, or neither: a token."""

    container: str
    prefix: str
    account: str
    url: str
    key: str = field(repr=False)
    signature: str = field(repr=False)

    @classmethod
    def of(cls, container: str, prefix: str, config: "AzureConfig") -> "Place":
        """As obstore understands it, the environment too."""
        account = config.get("account_name") or first_set("AZURE_STORAGE_ACCOUNT_NAME")
        is_given = "account_key" in config or "sas_key" in config
        return cls(
            container,
            prefix,
            account,
            config.get("endpoint") or f"https://{account}.blob.core.windows.net",
            config.get("account_key", "") if is_given else first_set(*_KEYS),
            config.get("sas_key", "") if is_given else first_set(*_SIGNATURES).removeprefix("?"),
        )


def _unsigned(place: Place, today: int) -> "AzureConfig":
    """
    How requests are authorized that carry the headers of a lock: not by the account key itself.

    obstore does not sign these headers, and a signature by the key must cover them. A shared access signature, which that key
    makes here, covers none; nor does a token.
    """
    if not place.key:
        return {}
    from azure.storage.blob import generate_container_sas

    day = datetime.fromtimestamp(today * DAY_S, UTC)
    signature = generate_container_sas(
        place.account,
        place.container,
        account_key=place.key,
        permission="cwi",  # create, write, set immutability policies
        start=day - timedelta(days=1),
        expiry=day + timedelta(days=2),
    )
    return {"sas_key": signature, "credential_type": "sas_token"}


def _config() -> "AzureConfig":
    """From the connection string; what obstore reads from the environment by itself is left to it."""
    config: AzureConfig = {}
    endpoint = first_set("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
    if endpoint:
        config["endpoint"] = endpoint
    text = os.environ.get(_CONNECTION)
    if not text:
        return config
    fields = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    account = fields.get("AccountName", "")
    suffix = fields.get("EndpointSuffix", "core.windows.net")
    protocol = fields.get("DefaultEndpointsProtocol", "https")
    config["endpoint"] = fields.get("BlobEndpoint") or f"{protocol}://{account}.blob.{suffix}"
    if account:
        config["account_name"] = account
    if "AccountKey" in fields:
        config["account_key"] = fields["AccountKey"]
    elif "SharedAccessSignature" in fields:
        config["sas_key"] = fields["SharedAccessSignature"].removeprefix("?")
    else:
        raise UsageError(
            f"{_CONNECTION} has neither AccountKey nor SharedAccessSignature: copy it again",
            code="bad-connection-string",
        )
    return config
