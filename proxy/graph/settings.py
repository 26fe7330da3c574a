"""
Settings of one organization: the table `[organization]` of `--org FILE`, or the same members from the server.

Values come in as text (the server keeps and seals them as text). Relations between them are checked here, once;
the rest of the proxy only sees `OrganizationSettings`.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from urllib.parse import urlsplit

from engine.errors import UsageError
from proxy.graph.clouds import CLOUDS, Cloud

__all__ = ["OrganizationSettings", "load_organization", "parse_organization"]

SECRET_VARIABLE = "STRONGROOM_CLIENT_SECRET"  # noqa: S105 - the name of a variable, not a secret
RESTORE_SECRET_VARIABLE = "STRONGROOM_RESTORE_CLIENT_SECRET"  # noqa: S105 - the same
SECRETS = frozenset(
    {"certificate", "ca", "client_secret", "restore_certificate", "restore_client_secret"}
)
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.\-]{0,252}")
NUMBERS = frozenset({"budget_share", "item_patience_s", "page_patience_s"})
COUNTS = frozenset({"licenses"})


@dataclass(frozen=True, slots=True)
class OrganizationSettings:
    """
    How to reach one organization.

    `cloud` names one of `clouds.CLOUDS`; `authority` and `graph_endpoint` are origins (`https://host[:port]`, no
    version), the cloud's own unless configured; `certificate` and `ca` are PEM text. `budget_share` is this
    installation's part of the organization's request budget, 0 < share <= 1; `licenses` picks the SharePoint band.
    Patience is how long, in seconds, one item or one page is tried again. `restore_...` are the application that
    restores sign in as; without it they use the one of the backup.
    """

    tenant_id: str
    client_id: str
    client_secret: str = ""
    certificate: str = ""
    cloud: str = "global"
    authority: str = CLOUDS["global"].authority
    graph_endpoint: str = CLOUDS["global"].graph_endpoint
    ca: str = ""
    proxy_url: str = ""
    name: str = ""
    budget_share: float = 1.0
    licenses: int = 1
    item_patience_s: float = 30.0
    page_patience_s: float = 600.0
    restore_client_id: str = ""
    restore_client_secret: str = ""
    restore_certificate: str = ""

    def for_restore(self) -> "OrganizationSettings":
        """The same organization as a restore signs in to it."""
        if not self.restore_client_id:
            return self
        return replace(
            self,
            client_id=self.restore_client_id,
            client_secret=self.restore_client_secret,
            certificate=self.restore_certificate,
        )

    @property
    def its_cloud(self) -> Cloud:
        """What is known of the cloud that the tenant is in."""
        return CLOUDS[self.cloud]

    @property
    def audience(self) -> str:
        """What tokens are asked for: the origin of the cloud's Graph, whatever address leads there."""
        return self.its_cloud.graph_endpoint or self.graph_endpoint

    def __repr__(self) -> str:
        return f"OrganizationSettings(tenant_id={self.tenant_id!r}, client_id={self.client_id!r})"


FILES = {
    "certificate_file": "certificate",
    "ca_file": "ca",
    "restore_certificate_file": "restore_certificate",
}
MEMBERS = frozenset(field.name for field in fields(OrganizationSettings)) | FILES.keys()


def load_organization(path: Path | str) -> OrganizationSettings:
    """
    Read `--org FILE`.

    File names in it are relative to the file.

    Raises:
        UsageError: the file is missing, is not TOML, or its members do not fit together.
    """
    source = Path(path)
    try:
        document = tomllib.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _usage(f"There is no file {source}.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _usage(f"{source} cannot be read as TOML: {error}") from error
    table = document.get("organization")
    if not isinstance(table, dict):
        raise _usage(f"{source} has no table [organization].")
    return parse_organization(table, folder=source.parent)


def parse_organization(
    members: Mapping[str, object],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> OrganizationSettings:
    """
    Check the members of `[organization]` and make settings of them.

    Args:
        members: text members as in the file; numbers may be numbers or text.
        folder: what relative file names are relative to; None: the working folder.
        environment: where STRONGROOM_CLIENT_SECRET is looked up; None: the process's.

    Raises:
        UsageError: a member is unknown, missing or contradicts another.
    """
    unknown = sorted(set(members) - MEMBERS)
    if unknown:
        raise _usage(f"[organization] has unknown members: {', '.join(unknown)}.")
    variables = os.environ if environment is None else environment
    values = {name: _value(name, value) for name, value in members.items() if name not in FILES}
    for member, target in FILES.items():
        if members.get(member):
            values[target] = _file_text(member, str(members[member]), folder or Path())
    if not values.get("client_secret") and not values.get("certificate"):
        values["client_secret"] = variables.get(SECRET_VARIABLE, "")
    if values.get("restore_client_id") and not values.get("restore_certificate"):
        values.setdefault("restore_client_secret", variables.get(RESTORE_SECRET_VARIABLE, ""))
    for name in ("tenant_id", "client_id"):
        if not values.get(name):
            raise _usage(f"[organization] needs {name}.")
    cloud = CLOUDS.get(str(values.setdefault("cloud", "global")))
    if cloud is None:
        raise _usage(f"cloud must be one of {', '.join(CLOUDS)}.")
    for name in ("authority", "graph_endpoint"):
        if not values.get(name):
            values[name] = getattr(cloud, name)
        if not values[name]:
            raise _usage(f"cloud {values['cloud']} needs {name}.")
    settings = OrganizationSettings(**values)  # type: ignore[arg-type]  # checked member by member above
    _check(settings)
    return _with_origins(settings)


def _check(settings: OrganizationSettings) -> None:
    if bool(settings.client_secret) == bool(settings.certificate):
        raise _usage("[organization] needs either client_secret or certificate_file, not both.")
    secrets = bool(settings.restore_client_secret) + bool(settings.restore_certificate)
    if secrets != bool(settings.restore_client_id):
        raise _usage(
            "[organization] needs restore_client_id and either restore_client_secret or"
            " restore_certificate_file, or none of them."
        )
    if not TENANT.fullmatch(settings.tenant_id):
        raise _usage("tenant_id must be a GUID or a domain name.")
    if not 0.0 < settings.budget_share <= 1.0:
        raise _usage("budget_share must be above 0 and at most 1.")
    if settings.item_patience_s < 0 or settings.page_patience_s < 0 or settings.licenses < 0:
        raise _usage("Patience and licenses cannot be negative.")


def _with_origins(settings: OrganizationSettings) -> OrganizationSettings:
    changes = {
        "authority": _authority(settings.authority, settings.tenant_id),
        "graph_endpoint": _origin("graph_endpoint", settings.graph_endpoint, plain_loopback=True),
    }
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    return OrganizationSettings(**{**values, **changes})


def _authority(value: str, tenant_id: str) -> str:
    # People paste the authority with the tenant behind it; both spellings mean the same.
    trimmed = value.rstrip("/").removesuffix("/" + tenant_id)
    return _origin("authority", trimmed, plain_loopback=False)


def _origin(member: str, value: str, *, plain_loopback: bool) -> str:
    url = urlsplit(value.rstrip("/"))
    if url.path.strip("/") or url.query or url.fragment:
        raise _usage(f"{member} must be an origin like https://host, without a path or version.")
    plain = plain_loopback and url.scheme == "http" and url.hostname in LOOPBACK
    if not url.hostname or (url.scheme != "https" and not plain):
        raise _usage(f"{member} must begin with https://.")
    if url.username or url.password:
        raise _usage(f"{member} must not hold a user name or password.")
    return f"{url.scheme}://{url.netloc}"


def _value(name: str, value: object) -> object:
    if name in NUMBERS or name in COUNTS:
        try:
            number = float(str(value))
        except ValueError as error:
            raise _usage(f"{name} must be a number.") from error
        return int(number) if name in COUNTS else number
    if not isinstance(value, str):
        raise _usage(f"{name} must be text.")
    return value if name in SECRETS else value.strip()


def _file_text(member: str, name: str, folder: Path) -> str:
    path = folder / Path(name).expanduser()
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _usage(f"{member}: {path} cannot be read.") from error


def _usage(message: str) -> UsageError:
    return UsageError(message, code="organization-settings")
