"""`strongroom repo key scope ...`: keys of one organization in a shared repository, and how they end."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import Corruption, NotFound, UsageError
from tools.cli import arguments
from tools.cli.output import DONE, WARNINGS, complain, plain_text, print_json, say, size_text, table

if TYPE_CHECKING:
    from engine.scope import Scope
    from repository.keyring import Change, Keyring
    from repository.scopes import ScopeContents
    from repository.unlocking import ServiceKey

POINTS_SHOWN_MAX = 100


def list_(
    repo: str,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """The scopes of the repository, and whether this machine can read them."""
    from repository.scopes import scope_state

    keyring = arguments.opened_keys(repo, passphrase_file, cache_dir, state_dir).keyring
    found = [(scope, *scope_state(keyring, scope)) for scope in _scopes(keyring)]
    if json:
        print_json(
            {"ring": keyring.ring.number, "scopes": [_facts(s, how, why) for s, how, why in found]}
        )
        return DONE
    if not found:
        say("no scopes: all is sealed with the keys of the repository")
        return DONE
    rows = [
        (
            scope.id,
            plain_text(scope.name),
            scope.service,
            _minute(scope.created_at),
            how if how != "shredded" else f"shredded {_minute(scope.destroyed_at)}",
        )
        for scope, how, _ in found
    ]
    table(("scope", "name", "key of the service", "made", ""), rows)
    return DONE


def add(
    repo: str,
    name: str,
    service: str,
    dry_run: bool,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """A scope: what is backed up in it can be read with this key of a key service alone, besides one of the repository."""
    from repository.scopes import add_scope, require_scope_addable

    held = _service_key(service)
    keyring = arguments.opened_keys(repo, passphrase_file, cache_dir, state_dir).keyring
    if dry_run:
        require_scope_addable(keyring, name, held)
        makes_key = not held.service.holds(held.name)
        if json:
            print_json({"dry_run": True, "name": name, "makes_key": makes_key, "left": []})
        else:
            say(f"would make the scope {plain_text(name)}, wrapped by {held.title}")
            if makes_key:
                say(f"would make {held.name} in the {held.service.describe()}")
        return DONE
    scope, change = add_scope(keyring, name, held)
    if json:
        print_json(
            {"dry_run": False, **_facts(scope, "open", ""), "ring": change.ring, **_left(change)}
        )
        return WARNINGS if change.left else DONE
    say(f"scope {scope.id} {plain_text(name)} is ready: back up with --scope {plain_text(name)}")
    say(
        f"keep {held.address} as safe as the repository's own keys: without it nothing of the scope "
        "can be read; every copy of it must be destroyed to shred the scope"
    )
    return _tell(change)


def attach(
    repo: str,
    service: str,
    dry_run: bool,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Tell this machine where the service key of a scope is."""
    from repository.scopes import attach_scope

    held = _service_key(service)
    keyring = arguments.opened_keys(repo, passphrase_file, cache_dir, state_dir).keyring
    found = attach_scope(keyring, held, dry_run=dry_run)
    if json:
        print_json({"dry_run": dry_run, "scopes": [_facts(scope, "open", "") for scope in found]})
        return DONE
    since = "could read it" if dry_run else "can read it from now on"
    for scope in found:
        say(f"scope {plain_text(scope.name)}: this machine {since}")
    return DONE


def destroy(
    repo: str,
    name: str,
    service: str | None,
    dry_run: bool,
    yes: bool,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Shred a scope: destroy its key in the key service, then take it out of the key ring."""
    from repository.scopes import destroy_scope, require_destroyable, scope_state, shredded

    keyring, contents = _opened(repo, name, passphrase_file, cache_dir, state_dir)
    scope = keyring.scope(name)
    held = _service_key(service) if service is not None else keyring.scopes.held(scope)
    if scope.is_destroyed:
        raise shredded(scope)
    if held is None:
        raise UsageError(
            f"where is {scope.service}? Give it with --service file:DIR/NAME", code="scope-service"
        )
    require_destroyable(scope, held)
    if not json:
        _say_what_goes(scope, contents)
    change = None
    if not dry_run:
        if not yes:
            _confirm(scope)
        change = destroy_scope(keyring, scope, held)
    if json:
        goes = None if contents is None else dataclasses.asdict(contents)
        now = keyring.ring.key_set.scopes[scope.id]
        facts = _facts(now, *scope_state(keyring, now))
        print_json({"dry_run": dry_run, **facts, "contents": goes, **_left(change)})
        return WARNINGS if change is not None and change.left else DONE
    if change is None:
        say("nothing was changed")
        return DONE
    say(
        f"the scope {plain_text(scope.name)} is shredded. Copies of the key service's folder, processes that had the key, "
        "and what was exported are beyond this; `forget` its restore points and `collect` to get the space back"
    )
    return _tell(change)


def _opened(
    repo: str,
    name: str,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
) -> "tuple[Keyring, ScopeContents | None]":
    """The key ring, and what the scope holds; a repository that is damaged can be shredded all the same."""
    from repository.scopes import scope_contents

    try:
        with arguments.opened(repo, passphrase_file, cache_dir, state_dir) as opened:
            opened.keyring.renewed()
            return opened.keyring, scope_contents(opened, opened.keyring.scope(name))
    except (Corruption, NotFound) as error:
        if error.code == "scope-not-found":
            raise
        keyring = arguments.opened_keys(repo, passphrase_file, cache_dir, state_dir).keyring
        complain(f"what the scope holds is not known: {error.message} ({error.code})")
        return keyring, None


def _say_what_goes(scope: "Scope", contents: "ScopeContents | None") -> None:
    say(f"scope {scope.id} {plain_text(scope.name)}, wrapped by {scope.service}")
    if contents is None:
        return
    for point in contents.points[:POINTS_SHOWN_MAX]:
        say(f"  restore point {point}" + (" (held)" if point in contents.held else ""))
    if len(contents.points) > POINTS_SHOWN_MAX:
        say(f"  ... and {len(contents.points) - POINTS_SHOWN_MAX} more; --json lists all")
    say(
        f"unreadable for good, everywhere: {len(contents.points)} restore points; the newest state of "
        f"{contents.objects} objects and workloads, {contents.items} items, {size_text(contents.bytes)}"
    )


def _confirm(scope: "Scope") -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            "nothing brings a shredded scope back: give --yes, or look with --dry-run",
            code="confirmation-missing",
        )
    if input("Type the name of the scope to shred it: ") != scope.name:
        raise UsageError("the name is another one: nothing was changed", code="confirmation-wrong")


def _service_key(address: str) -> "ServiceKey":
    from repository.keyservice import file_key_service
    from repository.unlocking import ServiceKey

    return ServiceKey(*file_key_service(address))


def _scopes(keyring: "Keyring") -> "list[Scope]":
    scopes = keyring.ring.key_set.scopes.values()
    return sorted(scopes, key=lambda scope: (scope.is_destroyed, scope.name, scope.id))


def _facts(scope: "Scope", state: str, why: str) -> dict[str, object]:
    return {
        "id": scope.id,
        "name": scope.name,
        "service": scope.service,
        "created_at": scope.created_at,
        "destroyed_at": scope.destroyed_at,
        "epoch": scope.epoch,
        "state": state,
        "why": why,
    }


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")


def _left(change: "Change | None") -> dict[str, object]:
    return {"left": [] if change is None else [error.message for error in change.left]}


def _tell(change: "Change") -> int:
    for error in change.left:
        complain(f"older keys could not be taken away: {error.message} ({error.code})")
    return WARNINGS if change.left else DONE
