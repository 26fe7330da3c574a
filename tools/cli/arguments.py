"""What the options that many commands share mean: the passphrase, the local folders, the repository."""

import importlib
import os
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import Corruption, NotFound, UsageError
from tools.cli.opening import KeyFile, ServiceAddress
from tools.cli.opening import credential as other_credential

if TYPE_CHECKING:
    from repository import Places, Repository
    from repository.keyring import Keyring
    from repository.unlocking import Credential

PASSPHRASE_BYTES_MAX = 4096


def passphrase(file: Path | None, *, twice: bool = False, side: str = "", of: str = "") -> str:
    """
    The passphrase: --passphrase-file, STRONGROOM_PASSPHRASE_FILE, STRONGROOM_PASSPHRASE, or a prompt.

    Args:
        twice: ask a second time on a terminal, for a new repository.
        side: "to" for the second repository of a command, whose options and variables have it in their names.
        of: the repository, for the prompt of a command that opens two.
    """
    if isinstance(file, KeyFile | ServiceAddress):
        raise UsageError(
            "a new repository begins with a passphrase: add other keys with `repo key add`",
            code="passphrase-missing",
        )
    option = f"--{side}-passphrase-file" if side else "--passphrase-file"
    variable = f"STRONGROOM_{side.upper()}_PASSPHRASE" if side else "STRONGROOM_PASSPHRASE"
    named = file or (Path(f) if (f := os.environ.get(f"{variable}_FILE")) else None)
    if named is not None:
        return _from_file(named)
    if variable in os.environ:
        return os.environ[variable]
    if not sys.stdin.isatty():
        raise UsageError(
            f"no passphrase{' of ' if of else ''}{of}: give {option} or set {variable}_FILE",
            code="passphrase-missing",
        )
    return _typed(f"Passphrase{' of ' if of else ''}{of}: ", twice=twice)


def new_passphrase(file: Path | None) -> str:
    """A passphrase that is chosen now: from a file, or asked for twice. Not from the environment, which holds another one."""
    if file is not None:
        return _from_file(file)
    if not sys.stdin.isatty():
        raise UsageError(
            "no new passphrase: give it in a file (see --help)", code="passphrase-missing"
        )
    return _typed("New passphrase: ", twice=True)


def _typed(prompt: str, *, twice: bool) -> str:
    import getpass

    first = getpass.getpass(prompt)
    if twice and getpass.getpass("Once more: ") != first:
        raise UsageError("the two passphrases differ", code="passphrase-differs")
    return first


def credential(source: Path | None, *, side: str = "", of: str = "") -> "Credential":
    """What --passphrase-file, --key-file or --kms name; a passphrase by default. `side`, `of`: see `passphrase`."""
    if isinstance(source, KeyFile | ServiceAddress):
        return other_credential(source, lambda file: passphrase(file, side=side, of=of))
    return passphrase(source, side=side, of=of)


def _from_file(file: Path) -> str:
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise NotFound(
            f"{file} is not there: check --passphrase-file", code="file-not-found"
        ) from None
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read ({error.strerror})", code="file-unreadable"
        ) from error
    if len(data) > PASSPHRASE_BYTES_MAX:
        raise UsageError(f"{file} is too long for a passphrase", code="passphrase-long")
    try:
        return data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8 text", code="file-unreadable") from None


def places(cache_dir: Path | None, state_dir: Path | None) -> "Places":
    """Local folders: the options, else the defaults of this user."""
    from repository import Places, default_places

    default = default_places()
    return Places(
        cache_dir.absolute() if cache_dir else default.cache_dir,
        state_dir.absolute() if state_dir else default.state_dir,
    )


def opened(
    repo: str,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    *,
    soon: str = "",
    as_of: str | None = None,
    damaged: bool = False,
) -> "Repository":
    """
    The repository that the shared options name.

    Args:
        soon: a module that the command needs next; it is loaded while the key is derived.
        as_of: a time: the repository as it was then.
        damaged: open it, to look at, though index runs are lost.
    """
    from repository.blobstore.addresses import open_store
    from repository.repository import open_on

    if as_of is not None:
        return _opened_past(repo, passphrase_file, places(cache_dir, state_dir), as_of)
    store = open_store(repo)  # before the passphrase is asked for
    secret = credential(passphrase_file)
    if soon:
        threading.Thread(target=importlib.import_module, args=(soon,)).start()
    held = places(cache_dir, state_dir)
    try:
        return open_on(store, secret, held)
    except Corruption:
        if not damaged:
            raise
    return open_on(store, secret, held, lenient=True)


def _opened_past(
    repo: str, passphrase_file: Path | None, places: "Places", as_of: str
) -> "Repository":
    from repository.blobstore.addresses import store_at
    from repository.past import open_past

    then = moment(as_of, "--as-of")
    return open_past(store_at(repo), credential(passphrase_file), places, then)


def moment(text: str, option: str) -> datetime:
    """A time that a person writes, UTC unless it says otherwise. UsageError(bad-time)."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option}: {text!r} is no time: write 2027-01-31 or 2027-01-31T12:00", code="bad-time"
        ) from None


@dataclass(frozen=True, slots=True)
class OpenedKeys:
    """The keys of a repository, with its id and where it is."""

    keyring: "Keyring"
    repository: str
    address: str


def opened_keys(
    repo: str, passphrase_file: Path | None, cache_dir: Path | None, state_dir: Path | None
) -> OpenedKeys:
    """The keys alone of the repository that the shared options name."""
    from repository.blobstore.addresses import open_store
    from repository.repository import open_keys

    store = open_store(repo)
    config, keyring = open_keys(store, credential(passphrase_file), places(cache_dir, state_dir))
    return OpenedKeys(keyring, config.repository, store.describe())
