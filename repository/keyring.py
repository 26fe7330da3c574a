"""
The key ring of a repository on its store: found, opened, changed (docs/decisions/0014).

Each change is one create-only put of the next ring, which is its commit point; then come the second copy and the removal of
older rings. Whoever lost a race reads again and goes on.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.errors import (
    BackupError,
    Conflict,
    Corruption,
    Denied,
    InternalError,
    NotFound,
    ScopeClosed,
    Unavailable,
    UsageError,
)
from engine.keyring import (
    Key,
    KeyForm,
    Ring,
    RingForm,
    open_ring,
    read_ring,
    require_sealable,
    seal_ring,
)
from engine.keys import KEY_BYTES, EpochKeys, KeySet, derive
from engine.scope import SCOPES_MAX, Scope
from repository.ambient import random_bytes
from repository.blobstore.locks import kept_versions
from repository.blobstore.protocol import BlobStore
from repository.keymemory import KeyMemory
from repository.layout import KEYS
from repository.scopes import OpenScopes
from repository.unlocking import Credential, unlock

COPIES = ("a", "b")
ATTEMPTS_MAX = 5
_NAME = re.compile(re.escape(KEYS) + r"([0-9]{10})-[ab]")


def ring_name(number: int, copy: str = "a") -> str:
    """keys/<ten digits>-<a or b>."""
    return f"{KEYS}{number:010d}-{copy}"


def check_ring(name: str, stored: bytes) -> RingForm:
    """A stored ring whose bytes and name are right. Corruption otherwise."""
    form = read_ring(stored)
    if name not in (ring_name(form.ring, copy) for copy in COPIES):
        raise Corruption(f"{name} holds the key ring of another number", code="key-corrupt")
    return form


def ring_problems(store: BlobStore, names: Sequence[str]) -> Iterator[tuple[str, BackupError]]:
    """What is wrong with stored rings: one that is damaged, or a copy of the newest that is missing."""
    for name in names:
        try:
            check_ring(name, store.get(name))
        except BackupError as error:
            yield name, error
    newest = max((_number(name) for name in names if _NAME.fullmatch(name)), default=0)
    for name in (ring_name(newest, copy) for copy in COPIES if newest):
        if name not in names:
            yield (
                name,
                NotFound(
                    "a copy of the key ring is missing: the next change of keys writes it again",
                    code="object-missing",
                ),
            )


def new_key_set(config_digest: bytes) -> KeySet:
    """Fresh random keys, epoch 1."""
    return KeySet(
        id_key=random_bytes(KEY_BYTES),
        chunker_key=random_bytes(KEY_BYTES),
        signing_seed=random_bytes(KEY_BYTES),
        epochs={1: _fresh_epoch()},
        config_digest=config_digest,
    )


def _fresh_epoch() -> EpochKeys:
    return EpochKeys(random_bytes(KEY_BYTES), random_bytes(KEY_BYTES))


def found_ring(store: BlobStore, keys: KeySet, key: Key, repository: bytes) -> None:
    """Write the first ring of a new repository, with one key."""
    stored = seal_ring(Ring(1, (key,), keys), repository, random_bytes)
    for copy in COPIES:
        store.put_new(ring_name(1, copy), stored)


@dataclass(slots=True)
class Change:
    """A change that is durable, and what could not be tidied up behind it: older rings are still there."""

    ring: int
    left: list[BackupError] = field(default_factory=list)


class _Epochs(dict[int, EpochKeys]):
    """Epochs of a ring; one that came later is looked for, and does not become the one to write with."""

    def __init__(
        self, known: Mapping[int, EpochKeys], look: Callable[[int], EpochKeys | None]
    ) -> None:
        super().__init__(known)
        self._look = look

    def __missing__(self, number: int) -> EpochKeys:
        found = self._look(number)
        if found is None:
            raise KeyError(number)
        return found


class Keyring:
    """The newest ring as this process knows it, and the key it was opened with. Thread-safe."""

    def __init__(
        self,
        store: BlobStore,
        repository: bytes,
        memory: KeyMemory,
        form: RingForm,
        credential: Credential,
    ) -> None:
        self._store = store
        self._repository = repository
        self._memory = memory
        self.scopes = OpenScopes(memory.folder / "scopes.json")
        self._lock = threading.RLock()
        memory.check(form.ring)
        key, self._opening = unlock(form, credential, memory.key)
        self.opened_with = key.id
        self._take(open_ring(form, key, self._opening, repository))

    def _take(self, ring: Ring) -> None:
        keys = ring.key_set
        mark = derive(keys.id_key, "mark of the key set").hex()
        self._memory.remember(ring.number, self.opened_with, mark)
        self._ring = ring
        self._keys = replace(keys, epochs=_Epochs(keys.epochs, self._look))

    @property
    def ring(self) -> Ring:
        """The newest ring read so far."""
        return self._ring

    @property
    def keys(self) -> KeySet:
        """Its key set. An epoch that it lacks is looked for in a newer ring, once for each time it is asked for."""
        return self._keys

    def renewed(self) -> KeySet:
        """
        The key set of the newest ring that is stored.

        Raises: Denied(key-removed): the key this was opened with is not in it.
        """
        with self._lock:
            form = read_newest(self._store)
            if form.ring != self._ring.number:
                self._memory.check(form.ring)
                self._take(open_ring(form, self._own(form), self._opening, self._repository))
            return self._keys

    def _own(self, form: RingForm) -> KeyForm:
        for key in form.keys:
            if key.id == self.opened_with and key.public_key == self._opening.public.hex():
                return key
        raise Denied(
            "the key this repository was opened with has been removed: open it with another one",
            code="key-removed",
        )

    def _look(self, number: int) -> EpochKeys | None:
        with self._lock:
            keys = self._ring.key_set
            if number not in keys.epochs and keys.scope_of(number) is None:
                self.renewed()
                keys = self._ring.key_set
            if (scope := keys.scope_of(number)) is not None:
                return self.scopes.keys(scope)
            return keys.epochs.get(number)

    # -- changes ---------------------------------------------------------------------------------

    def find(self, text: str) -> Key:
        """The key that an id or a unique beginning of one names. NotFound, UsageError."""
        found = [key for key in self._ring.keys if text and key.id.startswith(text)]
        if len(found) > 1:
            raise UsageError(f"{text} is the beginning of several keys", code="key-ambiguous")
        if not found:
            raise NotFound(f"there is no key {text}: look at `repo key list`", code="key-not-found")
        return found[0]

    def add(self, key: Key) -> Change:
        """One more key opens the repository. Conflict(key-exists) if its public half is there."""

        def added(ring: Ring) -> Ring:
            self.require_addable(key)
            return replace(ring, keys=(*ring.keys, key))

        return self._change(added)

    def require_addable(self, key: Key) -> None:
        """Conflict(key-exists), UsageError(key-limit, label-long): what `add` refuses."""
        if any(other.public_key == key.public_key for other in self._ring.keys):
            raise Conflict("this key opens the repository already", code="key-exists")
        live = [s for s in self._ring.key_set.scopes.values() if not s.is_destroyed]
        if key.service and any(scope.service == key.service for scope in live):
            raise Conflict(
                f"{key.service} wraps a scope, and goes with it: give the key another one",
                code="scope-service-shared",
            )
        require_sealable((*self._ring.keys, key))

    def require_removable(self, key: Key) -> None:
        """UsageError if the repository might be lost without this key."""
        if len(self._ring.keys) == 1:
            raise UsageError(
                "this is the last key of the repository: add another one first", code="key-last"
            )
        if key.id == self.opened_with:
            raise UsageError(
                "this key opened the repository just now: open it with one that stays, which shows that it works",
                code="key-in-use",
            )

    def remove(self, key_id: str) -> Change:
        """
        A key opens the repository no more. It does not undo what its holder has copied; see `rotate`.

        Raises: NotFound. UsageError(key-last, key-in-use): nobody can be sure that another key works.
        """

        def removed(ring: Ring) -> Ring:
            key = self.find(key_id)
            self.require_removable(key)
            return replace(ring, keys=tuple(k for k in ring.keys if k.id != key.id))

        return self._change(removed)

    def rotate(self) -> Change:
        """A new epoch: write sessions that begin from now on seal with keys that no earlier ring holds."""

        def rotated(ring: Ring) -> Ring:
            keys = ring.key_set
            epochs = {**keys.epochs, keys.next_epoch: _fresh_epoch()}
            return replace(ring, key_set=replace(keys, epochs=epochs))

        return self._change(rotated)

    # -- scopes ----------------------------------------------------------------------------------

    def scope(self, text: str) -> Scope:
        """The scope that is not destroyed and has this name, else the one with this id. NotFound(scope-not-found)."""
        known = self._ring.key_set.scopes
        for scope in known.values():
            if scope.name == text and not scope.is_destroyed:
                return scope
        if text in known:
            return known[text]
        raise NotFound(
            f"there is no scope {text}: look at `repo key scope list`", code="scope-not-found"
        )

    def require_scope_free(self, name: str, service: str) -> None:
        """Conflict if a new scope may not have this name, or its service key seals something else here."""
        key_set = self._ring.key_set
        live = [scope for scope in key_set.scopes.values() if not scope.is_destroyed]
        if any(scope.name == name for scope in live):
            raise Conflict(f"there is a scope {name} already", code="scope-exists")
        titles = [scope.service for scope in live] + [key.service for key in self._ring.keys]
        if service in titles:
            raise Conflict(
                f"{service} wraps another key of this repository, and would end both: give the scope its own",
                code="scope-service-shared",
            )

    def add_scope(self, scope: Scope) -> tuple[Scope, Change]:
        """One more scope, whose epoch is numbered here. Conflict, UsageError(scope-limit)."""

        def added(ring: Ring) -> Ring:
            keys = ring.key_set
            self.require_scope_free(scope.name, scope.service)
            if len(keys.scopes) >= SCOPES_MAX:
                raise UsageError(
                    f"a repository has at most {SCOPES_MAX} scopes, the destroyed ones included",
                    code="scope-limit",
                )
            made = replace(scope, epoch=keys.next_epoch)
            return replace(ring, key_set=replace(keys, scopes={**keys.scopes, made.id: made}))

        change = self._change(added)
        return self._ring.key_set.scopes[scope.id], change

    def bury_scope(self, scope_id: str, destroyed_at: str) -> Change:
        """Note that a scope was destroyed; its key in the service is gone already."""

        def buried(ring: Ring) -> Ring:
            keys = ring.key_set
            known = keys.scopes[scope_id]
            gone = replace(known, wrapped=b"", destroyed_at=known.destroyed_at or destroyed_at)
            return replace(ring, key_set=replace(keys, scopes={**keys.scopes, scope_id: gone}))

        return self._change(buried)

    def require_scope_open(self, scope_id: str) -> None:
        """ScopeClosed if the newest ring or the key service says that a scope was shredded, or it does not open now."""
        with self._lock:
            self.renewed()
            self.scopes.keys(self._ring.key_set.scopes[scope_id], anew=True)

    def is_scope_open(self, scope_id: str) -> bool:
        """Whether this machine can read a scope, as far as the newest ring read says; empty means none, which is open."""
        if not scope_id:
            return True
        with self._lock:
            if scope_id not in self._ring.key_set.scopes:
                self.renewed()
            try:
                self.scopes.keys(self._known_scope(scope_id))
            except ScopeClosed:
                return False
            return True

    def is_scope_shredded(self, scope_id: str) -> bool:
        """Whether nobody can read a scope any more, as far as the newest ring read says."""
        if not scope_id:
            return False
        with self._lock:
            if scope_id not in self._ring.key_set.scopes:
                self.renewed()
            return self._known_scope(scope_id).is_destroyed

    def _known_scope(self, scope_id: str) -> Scope:
        scope = self._ring.key_set.scopes.get(scope_id)
        if scope is None:
            raise Corruption(
                f"an entry names scope {scope_id}, which the key set lacks", code="scope-unknown"
            )
        return scope

    def _change(self, build: Callable[[Ring], Ring]) -> Change:
        with self._lock:
            for _ in range(ATTEMPTS_MAX):
                self.renewed()
                ring = replace(build(self._ring), number=self._ring.number + 1)
                stored = seal_ring(ring, self._repository, random_bytes)
                self._require_opening(stored, ring)
                if self._put(ring_name(ring.number), stored):
                    self._take(ring)
                    return Change(ring.number, self._tidy(ring.number, stored))
        raise Conflict("the keys change all the time: try again", code="keys-changed")

    def _require_opening(self, stored: bytes, ring: Ring) -> None:
        """A ring that its own author could not open must not be stored."""
        form = read_ring(stored)
        if open_ring(form, self._own(form), self._opening, self._repository) != ring:
            raise InternalError("a new key ring does not open: nothing was changed")

    def _put(self, name: str, stored: bytes) -> bool:
        """Store; False if somebody else was first. A lost answer is settled by what is there."""
        try:
            self._store.put_new(name, stored)
        except (Conflict, Unavailable) as error:
            try:
                found = self._store.get(name)
            except NotFound:
                raise error from None
            return found == stored
        return True

    def _tidy(self, number: int, stored: bytes) -> list[BackupError]:
        """The second copy, then away with older rings; what fails is told and tried again at the next change."""
        left: list[BackupError] = []
        try:
            self._put(ring_name(number, "b"), stored)
        except BackupError as error:
            left.append(error)
        try:
            older = [name for name in _names(self._store) if _number(name) < number]
        except BackupError as error:
            return [*left, error]
        for name in older:
            try:
                self._store.delete(name)
            except BackupError as error:
                left.append(error)
        for name in sorted(kept_versions(self._store, KEYS)):
            left.append(
                Denied(
                    f"{name} is deleted, but the bucket keeps its versions: take them away, or let a lifecycle rule do it",
                    code="versions-kept",
                )
            )
        return left


def _names(store: BlobStore) -> list[str]:
    return [blob.name for blob in store.list(KEYS) if _NAME.fullmatch(blob.name)]


def _number(name: str) -> int:
    return int(name[len(KEYS) :][:10])


def read_newest(store: BlobStore) -> RingForm:
    """
    The newest ring of a store, checked, not opened.

    Raises: Corruption: there is none, or both copies are damaged. Unsupported: a newer program's.
    """
    for _ in range(ATTEMPTS_MAX):
        names = _names(store)
        newest = [name for name in names if _number(name) == max(map(_number, names))]
        failure: Corruption | None = None
        for name in newest:
            try:
                return check_ring(name, store.get(name))
            except NotFound:
                continue  # a newer ring has come
            except Corruption as error:
                failure = failure or Corruption(f"{name}: {error.message}", code=error.code)
        if failure is not None:
            raise failure
        if not newest:
            raise Corruption(
                "the repository has no key ring: put keys/ back from a copy of the repository",
                code="keys-missing",
            )
    raise Conflict("the keys change all the time: try again", code="keys-changed")


def open_keyring(
    store: BlobStore, credential: Credential, repository: bytes, state_dir: Path
) -> Keyring:
    """
    Open the newest ring of a store.

    Args:
        credential: passphrase or typed recovery secret, private key, or key of a key service.
        state_dir: folder of this repository in the state folder.

    Raises:
        Denied: no key fits. UsageError(recovery-mistyped). Corruption: no ring is whole, or it is of another repository, or
            older than this machine has seen. Unavailable: a key takes more memory than there is.
    """
    memory = KeyMemory(state_dir / "keys.json")
    return Keyring(store, repository, memory, read_newest(store), credential)
