"""`strongroom repo key ...`: who opens a repository."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import Conflict, Unsupported, UsageError
from tools.cli import arguments
from tools.cli.opening import read_small
from tools.cli.output import DONE, WARNINGS, complain, plain_text, print_json, say, table

if TYPE_CHECKING:
    from engine.keyring import Key
    from repository.keyring import Change, Keyring


def list_(
    repo: str,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Who opens the repository."""
    opened = arguments.opened_keys(repo, passphrase_file, cache_dir, state_dir)
    keyring = opened.keyring
    if json:
        print_json({**_state(keyring), "keys": [_facts(keyring, k) for k in keyring.ring.keys]})
        return DONE
    rows = [
        (
            key.id,
            key.kind,
            key.created_at[:16].replace("T", " "),
            key.service or key.label,
            "opened now" if key.id == keyring.opened_with else "",
        )
        for key in keyring.ring.keys
    ]
    table(("key", "kind", "made", "label", ""), rows)
    return DONE


def add(
    repo: str,
    new_passphrase_file: Path | None,
    recipient: Path | None,
    new_kms: str | None,
    label: str,
    dry_run: bool,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """One more passphrase, recipient or service key opens the repository."""
    if sum(given is not None for given in (new_passphrase_file, recipient, new_kms)) > 1:
        raise UsageError(
            "give one of --new-passphrase-file, --recipient and --new-kms", code="key-ambiguous"
        )
    opened = arguments.opened_keys(repo, passphrase_file, cache_dir, state_dir)
    key = _new_key(opened.keyring, new_passphrase_file, recipient, new_kms, label)
    opened.keyring.require_addable(key)
    change = None if dry_run else opened.keyring.add(key)
    if json:
        made = None if change is None else key.id  # a dry run's id is not the one to come
        print_json(
            {**_state(opened.keyring), "key": made, "dry_run": dry_run, "left": _left(change)}
        )
        return WARNINGS if change is not None and change.left else DONE
    if change is None:
        say(f"one more {key.kind} would open the repository: {_counted(opened.keyring)} do now")
        return DONE
    say(f"{key.kind} {key.id} opens the repository from now on")
    return _tell(change)


def _counted(keyring: "Keyring") -> str:
    count = len(keyring.ring.keys)
    return f"{count} key{'s' * (count != 1)}"


def _new_key(
    keyring: "Keyring",
    passphrase_file: Path | None,
    recipient: Path | None,
    kms: str | None,
    label: str,
) -> "Key":
    from repository.keyservice import file_key_service
    from repository.unlocking import (
        ServiceKey,
        passphrase_key,
        recipient_key,
        require_new,
        service_key,
    )

    if recipient is not None:
        from engine.keyfile import read_recipient

        text = read_small(recipient, "--recipient").decode("utf-8", "replace")
        return recipient_key(read_recipient(text), label)
    if kms is not None:
        return service_key(ServiceKey(*file_key_service(kms)), label)
    passphrase = arguments.new_passphrase(passphrase_file)
    require_new(passphrase, keyring.ring.keys)
    return passphrase_key(passphrase, label)


def remove(
    repo: str,
    key: str,
    dry_run: bool,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """A key opens the repository no more."""
    keyring = arguments.opened_keys(repo, passphrase_file, cache_dir, state_dir).keyring
    found = keyring.find(key)
    keyring.require_removable(found)
    change = None if dry_run else keyring.remove(found.id)
    if json:
        print_json(
            {**_state(keyring), "removed": found.id, "dry_run": dry_run, "left": _left(change)}
        )
        return WARNINGS if change is not None and change.left else DONE
    would = "would open" if dry_run else "opens"
    say(f"{found.kind} {found.id} {would} the repository no more")
    say(
        "whoever had it and kept a copy of keys/ can still read what is stored; `repo key rotate` "
        "keeps from them what is written from then on"
    )
    return DONE if change is None else _tell(change)


def rotate(
    repo: str,
    identity: bool,
    dry_run: bool,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """New keys for what is written from now on."""
    if identity:
        raise Unsupported(
            "new id and chunker keys would name every chunk anew, which is a full copy: make a new "
            "repository and back up into it",
            code="identity-fixed",
        )
    keyring = arguments.opened_keys(repo, passphrase_file, cache_dir, state_dir).keyring
    change = None if dry_run else keyring.rotate()
    if json:
        print_json({**_state(keyring), "dry_run": dry_run, "left": _left(change)})
        return WARNINGS if change is not None and change.left else DONE
    epoch = keyring.ring.key_set.newest_epoch + dry_run
    say(
        f"backups that begin from now on are sealed with keys of epoch {epoch}"
        if not dry_run
        else f"backups would be sealed with keys of epoch {epoch}"
    )
    say(f"{len(keyring.ring.keys)} keys open it:")
    for key in keyring.ring.keys:
        say(f"  {key.id}  {key.kind}  {plain_text(key.label)}".rstrip())
    return DONE if change is None else _tell(change)


def sheet(
    repo: str,
    out: Path | None,
    label: str,
    dry_run: bool,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Make a recovery secret and the page to print it on."""
    from repository.unlocking import recovery_key
    from tools.cli.key_sheet import Sheet, sheet_html, sheet_text

    opened = arguments.opened_keys(repo, passphrase_file, cache_dir, state_dir)
    key, lines = recovery_key(label)
    opened.keyring.require_addable(key)
    if dry_run:
        _require_free(out)
        if json:
            print_json(
                {**_state(opened.keyring), "key": None, "out": str(out or ""), "dry_run": True}
            )
        else:
            where = f"a sheet in {out}" if out is not None else "a sheet, shown here once,"
            say(f"{where} would open the repository: {_counted(opened.keyring)} do now")
        return DONE
    made = Sheet(opened.repository, opened.address, key.id, key.created_at[:10], lines)
    if out is not None:
        is_html = out.suffix.lower() in (".html", ".htm")
        _write_new(out, (sheet_html if is_html else sheet_text)(made).encode(), 0o600)
    try:
        change = opened.keyring.add(key)
    except BaseException:
        if out is not None:
            out.unlink(missing_ok=True)  # a sheet that opens nothing must not be kept
        raise
    if json:
        secret = {"lines": lines} if out is None else {"out": str(out)}
        print_json(
            {
                **_state(opened.keyring),
                "key": key.id,
                **secret,
                "dry_run": False,
                "left": _left(change),
            }
        )
        return WARNINGS if change.left else DONE
    if out is None:
        say(sheet_text(made))
        complain("print it now: the secret is shown this once and kept nowhere")
    else:
        say(f"recovery {key.id}: print {out}, then delete the file")
    return _tell(change)


def generate(
    file: Path | None,
    kms: str | None,
    protect: bool,
    dry_run: bool,
    passphrase_file: Path | None,
    json: bool,
) -> int:
    """A key pair of a recipient, or a key of a key service; no repository is touched."""
    from engine.keyfile import encode_private_key, encode_recipient
    from engine.keys import KEY_BYTES, SALT_BYTES, KdfCost, OpeningKey
    from repository import ambient
    from repository.keyservice import file_key_service
    from repository.unlocking import check_passphrase

    if (file is None) == (kms is None):
        raise UsageError("give a FILE for the private key, or --kms", code="key-ambiguous")
    if kms is not None:
        service, name = file_key_service(kms)
        version = service.next_version(name) if dry_run else service.make(name)
        if json:
            print_json(
                {
                    "service": service.describe(),
                    "name": name,
                    "version": version,
                    "dry_run": dry_run,
                }
            )
        else:
            ready = "would be made" if dry_run else "is ready"
            say(f"{name}, version {version}, {ready} in the {service.describe()}")
        return DONE
    assert file is not None
    passphrase = None
    if protect or passphrase_file is not None:
        passphrase = arguments.new_passphrase(passphrase_file)
        check_passphrase(passphrase)
    public = Path(f"{file}.pub")
    _require_free(public)
    if dry_run:
        _require_free(file)
        if json:
            print_json({"private": str(file), "public": str(public), "dry_run": True})
        else:
            say(f"would write {file} and {public}")
        return DONE
    private = ambient.random_bytes(KEY_BYTES)
    salt = ambient.random_bytes(SALT_BYTES)
    stored = encode_private_key(private, ambient.now(), passphrase, salt, KdfCost())
    line = encode_recipient(OpeningKey(private).public)
    _write_new(file, stored, 0o600)
    _write_new(public, line.encode() + b"\n", 0o644)
    if json:
        print_json(
            {"private": str(file), "public": str(public), "recipient": line, "dry_run": False}
        )
        return DONE
    say(f"keep {file} to yourself; give {public} to whoever runs `repo key add REPO --recipient`")
    return DONE


def _require_free(path: Path | None) -> None:
    if path is not None and path.exists():
        raise Conflict(f"{path} is there already: choose another name", code="already-exists")


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """A new file on disk, whole; Conflict if something has its name."""
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise Conflict(
            f"{path} is there already: choose another name", code="already-exists"
        ) from None
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written ({error.strerror})", code="file-unwritable"
        ) from error


def _state(keyring: "Keyring") -> dict[str, object]:
    return {
        "ring": keyring.ring.number,
        "key_epoch": keyring.ring.key_set.newest_epoch,
        "opened_with": keyring.opened_with,
    }


def _facts(keyring: "Keyring", key: "Key") -> dict[str, object]:
    return {
        "id": key.id,
        "kind": key.kind,
        "created_at": key.created_at,
        "label": key.label,
        "service": key.service,
        "opened_with": key.id == keyring.opened_with,
    }


def _left(change: "Change | None") -> list[str]:
    return [] if change is None else [error.message for error in change.left]


def _tell(change: "Change") -> int:
    for error in change.left:
        complain(f"older keys could not be taken away: {error.message} ({error.code})")
    return WARNINGS if change.left else DONE
