"""What an endpoint and a bucket of an object storage service may look like."""

import ipaddress
import os
import re
from urllib.parse import urlsplit

from engine.errors import UsageError

ALLOW_HTTP = "STRONGROOM_ALLOW_HTTP"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]*(/[A-Za-z0-9][A-Za-z0-9._=-]*)*")


def split_address(address: str) -> tuple[str, str]:
    """Bucket and prefix (empty: none) of `s3://bucket/prefix` or `az://container/prefix`. UsageError."""
    scheme, _, rest = address.partition("://")
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if not _BUCKET.fullmatch(bucket) or (prefix and not _PREFIX.fullmatch(prefix)):
        raise UsageError(
            f"write {scheme}://BUCKET/PREFIX, of letters, digits and .-_= alone; credentials come from the environment",
            code="bad-address",
        )
    return bucket, prefix


def allows_http(endpoint: str) -> bool:
    """
    Whether this endpoint is to be reached without TLS.

    Raises: UsageError if it would be, and is neither on this machine nor allowed by STRONGROOM_ALLOW_HTTP=1.
    """
    if not endpoint.lower().startswith("http://"):
        return False
    host = urlsplit(endpoint).hostname or ""
    if _is_loopback(host) or os.environ.get(ALLOW_HTTP) == "1":
        return True
    raise UsageError(
        f"the storage endpoint is http://, in clear on the network: use https://, or set {ALLOW_HTTP}=1",
        code="endpoint-insecure",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
