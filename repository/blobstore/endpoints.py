"""What an endpoint and a bucket of an object storage service may look like."""

import ipaddress
import os
import re
from urllib.parse import parse_qsl, urlsplit

from engine.errors import UsageError

ALLOW_HTTP = "STRONGROOM_ALLOW_HTTP"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]*(/[A-Za-z0-9][A-Za-z0-9._=-]*)*")


def split_address(address: str, *options: str) -> tuple[str, str, dict[str, str]]:
    """
    Bucket, prefix (empty: none) and options of `s3://bucket/prefix?endpoint=URL&region=NAME`, or of the same with `az://`.

    Args:
        options: names that may stand behind the question mark.

    Raises: UsageError for anything else, credentials above all.
    """
    scheme, _, rest = address.partition("://")
    path, _, query = rest.partition("?")
    bucket, _, prefix = path.partition("/")
    prefix = prefix.strip("/")
    given = dict(parse_qsl(query, keep_blank_values=True))
    fits = _BUCKET.fullmatch(bucket) and (not prefix or _PREFIX.fullmatch(prefix))
    if not fits or given.keys() - set(options) or "@" in given.get("endpoint", ""):
        form = "&".join(f"{name}=..." for name in options)
        raise UsageError(
            f"write {scheme}://BUCKET/PREFIX or {scheme}://BUCKET/PREFIX?{form}, names of letters, digits and .-_= alone; "
            "credentials come from the environment",
            code="bad-address",
        )
    return bucket, prefix, given


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


def first_set(*names: str) -> str:
    """The first of these variables of the environment that says something, else nothing."""
    return next((value for name in names if (value := os.environ.get(name))), "")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
