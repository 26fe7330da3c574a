"""
Azure Blob Storage.

Account and credentials: AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY,
AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET; else the identity of the virtual machine.
Other AZURE_* variables of obstore count too.
"""

import os
from typing import TYPE_CHECKING

from obstore.exceptions import BaseError
from obstore.store import AzureStore

from engine.errors import UsageError
from repository.blobstore.endpoints import allows_http, split_address
from repository.blobstore.refusals import Service, missing_credentials
from repository.blobstore.remote import Clients, Patience, RemoteStore

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ClientConfig, ObjectStore, RetryConfig

SERVICE = Service(
    "Azure",
    "container",
    "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
)
_CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"


def open_azure(address: str, patience: Patience | None = None) -> RemoteStore:
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
    endpoint = config.get("endpoint", "")

    def make(options: "ClientConfig", retries: "RetryConfig") -> "ObjectStore":
        return AzureStore(
            container,
            prefix=prefix or None,
            config=config,
            client_options=options,
            retry_config=retries,
        )

    try:
        clients = Clients.made_by(make, patience, allow_http=allows_http(endpoint))
    except (
        BaseError
    ):  # of the parts of the configuration only the account and the key can be wrong by themselves
        raise missing_credentials(SERVICE, address) from None
    return RemoteStore(clients, SERVICE, address, suffix_ranges=False, patience=patience)


def _config() -> "AzureConfig":
    """From the connection string; what obstore reads from the environment by itself is left to it."""
    config: AzureConfig = {}
    endpoint = os.environ.get("AZURE_STORAGE_ENDPOINT") or os.environ.get("AZURE_ENDPOINT")
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
