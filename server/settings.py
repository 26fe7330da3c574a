"""Settings of one server process: a JSON file that only its owner may read."""

from pathlib import Path

import msgspec

from proxy.contract import UsageError


class ServerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Everything a server must know to start.

    `postgres` and `nats` hold credentials. `nats_users_dir` is where a private NATS looks for the
    accounts of proxies; with an existing NATS, `proxy_nats_url` (credentials included) goes into
    join documents instead. The first administrator is made when the database has no user.
    """

    postgres: str
    nats: str
    data_dir: str
    host: str = "127.0.0.1"
    port: int = 8443
    names: list[str] = []
    pool: str = "default"
    administrator: str = "admin"
    administrator_password: str = ""
    nats_users_dir: str = ""
    proxy_nats_url: str = ""
    faces_dir: str = ""
    token_life_s: int = 3600

    @property
    def folder(self) -> Path:
        """Where the key file and the certificate authority are."""
        return Path(self.data_dir)


def read_settings(path: Path) -> ServerSettings:
    """
    Read the settings file.

    Raises:
        UsageError: it is missing or wrong; the message says where, never a value.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=ServerSettings)
    except OSError as error:
        raise UsageError(
            f"The settings file {path.name} cannot be read.", code="settings-unreadable"
        ) from error
    except msgspec.DecodeError as error:
        raise UsageError(
            f"The settings file {path.name} is wrong: {error}", code="settings-invalid"
        ) from error
