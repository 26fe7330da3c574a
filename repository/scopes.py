"""
Scopes: made, opened and shredded with keys of key services (docs/decisions/0030).

A machine is told once where the service key of a scope is; the address, which is nothing secret, lies in the state folder.
"""

import contextlib
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engine.errors import (
    BackupError,
    Corruption,
    Denied,
    NotFound,
    ScopeClosed,
    Unavailable,
    UsageError,
)
from engine.keys import KEY_BYTES, EpochKeys, scope_epoch
from engine.scope import SCOPE_ID_DIGITS, SCOPE_NAME_CHARACTERS_MAX, Scope
from repository import ambient
from repository.keyservice import file_key_service
from repository.unlocking import ServiceKey
from repository.witness import state_unusable

if TYPE_CHECKING:
    from engine.manifest import PointForm
    from repository.keyring import Change, Keyring
    from repository.repository import Repository

DESTROYED = "key-service-destroyed"


class _Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    services: dict[str, str] = {}  # addresses by title


class OpenScopes:
    """The service keys that this machine was told of, and the scopes they opened. Used under the key ring's lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: dict[str, ServiceKey] | None = None  # by title, read at the first need
        self._opened: dict[str, EpochKeys] = {}

    def keys(self, scope: Scope, *, anew: bool = False) -> EpochKeys:
        """
        The keys of a scope.

        Args:
            anew: ask the service again, though it answered before.

        Raises: ScopeClosed(scope-shredded, scope-closed, scope-key-damaged).
        """
        if scope.is_destroyed:
            self._opened.pop(scope.id, None)
            raise shredded(scope)
        if anew or scope.id not in self._opened:
            self._opened.pop(scope.id, None)
            self._opened[scope.id] = scope_epoch(self._secret(scope))
        return self._opened[scope.id]

    def _secret(self, scope: Scope) -> bytes:
        held = self._services().get(scope.service)
        if held is None:
            raise ScopeClosed(
                f"it is sealed in the scope {scope.name}: say where {scope.service} is with `repo key scope attach`",
                code="scope-closed",
            )
        return unwrapped(scope, held)

    def held(self, scope: Scope) -> ServiceKey | None:
        """The service key of a scope, if this machine was told of it."""
        return self._services().get(scope.service)

    def hold(self, held: ServiceKey, *, remember: bool = True) -> None:
        """Use this service key from now on, and unless told otherwise the next time as well."""
        self._services()[held.title] = held
        if remember:
            self._remember()

    def _services(self) -> dict[str, ServiceKey]:
        if self._held is None:
            self._held = {}
            for title, address in self._told().items():
                with contextlib.suppress(UsageError):  # somebody wrote into the file
                    self._held[title] = ServiceKey(*file_key_service(address))
        return self._held

    def _told(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Told).services
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return {}
        except OSError as error:
            raise state_unusable(self._path, error) from error

    def _remember(self) -> None:
        held = {title: held.address for title, held in self._services().items()}
        told = {**self._told(), **held}  # another process may have been told of others
        temporary = self._path.with_suffix(f".{secrets.token_hex(8)}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.write_bytes(msgspec.json.encode(_Told(told)))
            temporary.rename(self._path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise state_unusable(self._path, error) from error


def shredded(scope: Scope) -> ScopeClosed:
    """What reading a destroyed scope says."""
    return ScopeClosed(
        f"the scope {scope.name} was shredded on {scope.destroyed_at[:10]}: its keys are destroyed, nobody can read it",
        code="scope-shredded",
    )


def unwrapped(scope: Scope, held: ServiceKey) -> bytes:
    """
    The secret of a scope.

    Raises: ScopeClosed: the service does not give it, now (scope-closed), since its key is damaged (scope-key-damaged) or
        destroyed (scope-shredded).
    """
    try:
        secret = held.service.unwrap(held.name, scope.wrapped)
        if len(secret) != KEY_BYTES:
            raise Corruption("the key service gave no key", code="key-service-corrupt")
    except Corruption as error:
        raise ScopeClosed(_closed(scope, error), code="scope-key-damaged") from error
    except (Unavailable, Denied) as error:
        if error.code == DESTROYED:
            raise ScopeClosed(_closed(scope, error), code="scope-shredded") from error
        raise ScopeClosed(_closed(scope, error), code="scope-closed") from error
    return secret


def _closed(scope: Scope, error: BackupError) -> str:
    return f"the scope {scope.name} is closed: {error.message}"


# -- changes -----------------------------------------------------------------------------------------


def check_scope_name(name: str) -> None:
    """UsageError unless a name has 1 to 128 printable characters."""
    if not 0 < len(name) <= SCOPE_NAME_CHARACTERS_MAX or not name.isprintable():
        raise UsageError(
            f"a scope has a name of 1 to {SCOPE_NAME_CHARACTERS_MAX} printable characters",
            code="scope-name",
        )


def add_scope(keyring: "Keyring", name: str, held: ServiceKey) -> "tuple[Scope, Change]":
    """
    Make a scope; its service key too, if there is none of that name. This machine remembers where it is.

    Raises: UsageError(scope-name). Conflict(scope-exists, scope-service-shared). What the service raises.
    """
    require_scope_addable(keyring, name, held)
    if not held.service.holds(held.name):
        held.service.make(held.name)
    secret = ambient.random_bytes(KEY_BYTES)
    wrapped = held.service.wrap(held.name, secret)
    if held.service.unwrap(held.name, wrapped) != secret:
        raise Corruption(
            "the key service does not unwrap what it wrapped", code="key-service-corrupt"
        )
    scope_id = ambient.random_bytes(SCOPE_ID_DIGITS // 2).hex()
    made, change = keyring.add_scope(Scope(scope_id, name, ambient.now(), 0, held.title, wrapped))
    keyring.scopes.hold(held)
    return made, change


def require_scope_addable(keyring: "Keyring", name: str, held: ServiceKey) -> None:
    """What `add_scope` refuses before it changes anything."""
    check_scope_name(name)
    keyring.renewed()
    keyring.require_scope_free(name, held.title)
    if held.service.holds(
        held.name
    ):  # made and destroyed, or damaged: say so before a ring is written
        held.service.wrap(held.name, bytes(KEY_BYTES))


def attach_scope(keyring: "Keyring", held: ServiceKey, *, dry_run: bool = False) -> list[Scope]:
    """
    Remember where a service key is, unless `dry_run`; the scopes that it opens.

    Raises: NotFound(scope-not-found): it opens none. ScopeClosed: it is another key of that name, or was destroyed.
    """
    scopes = keyring.renewed().scopes.values()
    mine = [s for s in scopes if s.service == held.title and not s.is_destroyed]
    for scope in mine:
        unwrapped(scope, held)
    if not mine:
        raise NotFound(
            f"no scope of the repository is wrapped by {held.title}: look at `repo key scope list`",
            code="scope-not-found",
        )
    if not dry_run:
        keyring.scopes.hold(held)
    return mine


def require_destroyable(scope: Scope, held: ServiceKey) -> None:
    """
    Make sure that this is the service key of a scope, or what is left of it. ScopeClosed, UsageError if not.

    A damaged one is what a destruction that was cut off leaves.
    """
    if scope.service != held.title:
        raise UsageError(
            f"the scope {scope.name} is wrapped by {scope.service}, not by {held.title}",
            code="scope-service-other",
        )
    try:
        unwrapped(scope, held)
    except ScopeClosed as error:
        if error.code not in ("scope-shredded", "scope-key-damaged"):
            raise


def destroy_scope(keyring: "Keyring", scope: Scope, held: ServiceKey) -> "Change":
    """
    Shred a scope: its key in the service first, then the ring. Again, if it was cut off.

    Raises: as of `require_destroyable`; what the service and the store raise.
    """
    require_destroyable(scope, held)
    held.service.destroy(held.name)
    return keyring.bury_scope(scope.id, ambient.now())


# -- what is in a scope ------------------------------------------------------------------------------


@dataclass(slots=True)
class ScopeContents:
    """What a scope holds: ids of restore points that name something of it, entries, items and bytes of the newest of them."""

    points: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    objects: int = 0
    items: int = 0
    bytes: int = 0


def scope_contents(repository: "Repository", scope: Scope) -> ScopeContents:
    """Look at every restore point and every newest entry; nothing sealed in the scope is opened."""
    found = ScopeContents()
    for point in repository.points():
        if scope.id in point_scopes(repository, point):
            found.points.append(point.id)
    found.held = [point for point in found.points if point in repository.holds]
    for entry in repository.entries.newest():
        if entry.form.scope == scope.id:
            found.objects += 1
            found.items += entry.form.items
            found.bytes += entry.form.bytes
    return found


def point_scopes(repository: "Repository", point: "PointForm") -> set[str]:
    """Ids of the scopes that a restore point has something of; the empty one is what is in no scope."""
    found = set()
    for one in point.entries:
        try:
            found.add(repository.named_entry(one.entry).form.scope)
        except (Corruption, NotFound):
            continue  # whoever reads it is told
    return found


def point_state(repository: "Repository", point: "PointForm") -> str:
    """`shredded` or `closed` if something of a restore point is that, else empty."""
    keyring, states = repository.keyring, set()
    for scope_id in point_scopes(repository, point):
        if keyring.is_scope_shredded(scope_id):
            states.add("shredded")
        elif not keyring.is_scope_open(scope_id):
            states.add("closed")
    return max(states, default="")


def require_open(repository: "Repository", scope_id: str) -> str:
    """The name of a scope that can be read here. ScopeClosed."""
    scope = repository.keyring.scope(scope_id)
    repository.keyring.keys.epoch(scope.epoch)
    return scope.name


def scope_state(keyring: "Keyring", scope: Scope) -> tuple[str, str]:
    """`open`, `closed` or `shredded`, and for people why it is not open."""
    try:
        keyring.scopes.keys(scope)
    except BackupError as error:
        return ("shredded" if scope.is_destroyed else "closed"), error.message
    return "open", ""
