"""What opens a repository, as options say it: a passphrase file, a private key file, a key of a key service."""

import argparse
import stat
from collections.abc import Callable
from pathlib import Path, PosixPath
from typing import TYPE_CHECKING, Any

from engine.errors import Denied, NotFound, UsageError

if TYPE_CHECKING:
    from repository.unlocking import Credential

KEY_FILE_BYTES_MAX = 4096


class KeyFile(PosixPath):
    """Value of --key-file; `passphrase_file` is where its passphrase lies, if it has one and that was said."""

    passphrase_file: Path | None = None


class ServiceAddress(PosixPath):
    """Value of --kms: file:DIR/NAME."""


class OneOpening(argparse.Action):
    """--passphrase-file, --key-file and --kms fill one place; a passphrase file beside a key file is the key file's."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """See argparse."""
        held = getattr(namespace, self.dest, None)
        kinds = {type(values), type(held)}
        if held is not None and (
            len(kinds) == 1 or KeyFile not in kinds or ServiceAddress in kinds
        ):
            raise argparse.ArgumentError(
                self, "give one of --passphrase-file, --key-file and --kms"
            )
        if isinstance(held, KeyFile):
            held.passphrase_file, values = values, held
        elif isinstance(values, KeyFile):
            values.passphrase_file = held
        setattr(namespace, self.dest, values)


def read_small(file: Path, option: str) -> bytes:
    """A small file that a person names."""
    try:
        with open(file, "rb") as opened:
            data = opened.read(KEY_FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise NotFound(f"{file} is not there: check {option}", code="file-not-found") from None
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read ({error.strerror})", code="file-unreadable"
        ) from error
    if len(data) > KEY_FILE_BYTES_MAX:
        raise UsageError(f"{file} is too long: check {option}", code="file-unreadable")
    return data


def credential(
    source: "KeyFile | ServiceAddress", passphrase: "Callable[[Path | None], str]"
) -> "Credential":
    """
    A private key or a key of a key service.

    Args:
        passphrase: asked for the passphrase of a protected key file.

    Raises: Denied(key-file-open): others may read the private key. NotFound, UsageError, Corruption, Unavailable.
    """
    if isinstance(source, ServiceAddress):
        from repository.keyservice import file_key_service
        from repository.unlocking import ServiceKey

        return ServiceKey(*file_key_service(str(source)))
    from engine.keyfile import open_private_key, read_private_key

    data = read_small(source, "--key-file")
    if stat.S_IMODE(source.stat().st_mode) & 0o077:
        raise Denied(
            f"{source} can be read by others: make it 0600, and the key a new one if they may have",
            code="key-file-open",
        )
    form = read_private_key(data)
    return open_private_key(form, passphrase(source.passphrase_file) if form.is_protected else "")
