"""
Immutability: what a repository locks, until when, and whether the store says so (docs/decisions/0019-immutability.md).

Whatever is written once and stays is locked from its creation; cells, generations, forgets and marks are not. The end of a
lock lies at the end of a period of PERIOD, so that one request a period extends it. All times are the store's. An object
that is not dead is locked for the promised days after each extension, and for SPARE longer, so that extending may be late.
"""

from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from blake3 import blake3

from engine.errors import Conflict, NotFound, Unsupported, UsageError
from engine.keys import KeySet, derive
from repository import ambient
from repository.blobstore.locks import (
    Lock,
    Lockable,
    LockMode,
    LockStore,
    Progress,
    Version,
    lock_store,
)
from repository.blobstore.protocol import BlobStore
from repository.layout import (
    CONFIG,
    KEYS,
    LOCK_DIGITS,
    LOCKS,
    MANIFESTS,
    PACKS,
    POINTS,
    RUNS,
    lock_name,
    manifest_name,
    point_name,
    run_name,
)
from repository.settings import LOCK_DAYS_MAX, ConfigForm, LockForm

if TYPE_CHECKING:
    from repository.repository import Repository
    from repository.state import State

PERIOD = timedelta(days=7)
SPARE = timedelta(days=3)
CLOCK_TRUSTED_S = 3600
UPLOAD_TIME_MAX = timedelta(hours=2)  # from the choice of a lock to the time of the object
STORE_CALLS_AT_ONCE = 16
COLLECTED = (PACKS, RUNS, MANIFESTS, POINTS)
LOCKED = (CONFIG, KEYS, LOCKS, *COLLECTED)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

DriftKind = Literal["bucket", "unlocked", "short", "weaker", "hidden", "missing", "overwritten", "locked", "long"]  # fmt: skip


def _quiet(done: int, todo: int) -> None:
    """No progress is shown."""


def period_end(moment: datetime) -> datetime:
    """End of the period in which a moment lies."""
    return _EPOCH + ((moment - _EPOCH) // PERIOD + 1) * PERIOD


def is_locked_kind(name: str) -> bool:
    """Whether objects of this name are locked."""
    return name.startswith(LOCKED)


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that is not as it should be; `name` is empty of the bucket itself."""

    name: str
    kind: DriftKind
    detail: str


@dataclass(slots=True)
class AuditReport:
    """What the store says. `locked_until`: the earliest end of what should be locked."""

    mode: str
    days: int
    objects: int = 0
    locked: int = 0
    locked_until: str | None = None
    drifts: list[Drift] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ExtendReport:
    """How many objects should be locked, how many locks were extended, to when."""

    days: int
    objects: int
    extended: int
    until: str


class Immutability:
    """The locks of one repository. Thread-safe. `keys` is set as soon as they are known."""

    def __init__(self, store: Lockable, form: LockForm, repository: str) -> None:
        self.form = form
        self.keys: KeySet | None = None
        self._uuid = bytes.fromhex(repository)
        self._plain = store
        self.store: BlobStore = store.locking(self._lock_for)
        self._clock: tuple[datetime, float] | None = None
        self._days = form.days

    @property
    def locks(self) -> LockStore:
        """Versions and locks of the store."""
        return self._plain.locks()

    def _lock_for(self, name: str) -> Lock | None:
        return self.new_lock(self._now()) if is_locked_kind(name) else None

    def new_lock(self, now: datetime) -> Lock:
        """The lock of what is made or extended now."""
        return Lock(self.form.mode, period_end(now + timedelta(days=self._days) + SPARE))

    def _now(self) -> datetime:
        """The store's time, asked for now and then; so are the days."""
        if self._clock is None or ambient.since_boot_s() - self._clock[1] > CLOCK_TRUSTED_S:
            self._clock = (self.locks.now(), ambient.since_boot_s())
            self._days = self.days()
        asked, at = self._clock
        return asked + timedelta(seconds=ambient.since_boot_s() - at)

    # -- for how long ----------------------------------------------------------------------------

    def days(self) -> int:
        """For how many days objects are locked at least: what `config` says, or more if `lock/` says so with our key."""
        if self.keys is None:
            return self.form.days
        stated = {blob.name.removeprefix(LOCKS) for blob in self.store.list(LOCKS)}
        digits = (d for d in stated if d.isdecimal() and len(d) == LOCK_DIGITS)
        for days in sorted(map(int, digits), reverse=True):
            if days > self.form.days and self.store.get(lock_name(days)) == self._stated(days):
                return days
        return self.form.days

    def _stated(self, days: int) -> bytes:
        assert self.keys is not None
        return derive(self.keys.id_key, "lock days", self._uuid + days.to_bytes(4, "little"))

    def require_more(self, days: int) -> None:
        """UsageError(lock-shorter) unless these are more days than now."""
        held = self.days()
        if not held < days <= LOCK_DAYS_MAX:
            raise UsageError(
                f"locks are for {held} days and can only be made longer, up to {LOCK_DAYS_MAX} days",
                code="lock-shorter",
            )

    def raise_days(self, days: int) -> None:
        """Lock for more days from now on; `extend` brings what is there up to it. UsageError if it is not more."""
        self.require_more(days)
        try:
            self.store.put_new(lock_name(days), self._stated(days))
        except Conflict:
            if self.store.get(lock_name(days)) != self._stated(days):
                raise
        self._days = days

    # -- extending -------------------------------------------------------------------------------

    def extend(
        self, dead: Collection[str], progress: Progress = _quiet, *, everything: bool = False
    ) -> ExtendReport:
        """
        Bring every lock up to the promise, except those of objects that a generation calls dead.

        Args:
            everything: also ask for the locks of what is so young that it got its lock for long enough when it was made.
        """
        now = self.locks.now()
        self._days = self.days()
        lock = self.new_lock(now)
        due = Lock(self.form.mode, now + timedelta(days=self._days) + SPARE)
        # what was made lately got its lock then: it need not be asked for
        made_with = timedelta(days=self.form.days) + SPARE - UPLOAD_TIME_MAX
        names = [v for v in self._latest_locked() if v.name not in dead]
        asked = [
            v.name for v in names if everything or period_end(v.written + made_with) < due.until
        ]
        extended = self.locks.extend(asked, lock, due, progress)
        return ExtendReport(self._days, len(names), extended, lock.until.isoformat())

    def _latest_locked(self) -> list[Version]:
        """What is locked, without the versions of cells and generations, of which there are many."""
        versions = (version for prefix in LOCKED for version in self.locks.versions(prefix))
        return [v for v in versions if v.is_latest and not v.is_deletion]

    def _held(self, names: Iterable[str], progress: Progress = _quiet) -> dict[str, Lock | None]:
        """Locks as the store tells them; names that have gone are left out."""
        todo = list(names)
        held: dict[str, Lock | None] = {}

        def look(name: str) -> tuple[str, Lock | None] | None:
            try:
                return name, self.locks.lock_of(name)
            except NotFound:
                return None

        with ThreadPoolExecutor(STORE_CALLS_AT_ONCE, "lock") as threads:
            for number, found in enumerate(threads.map(look, todo)):
                if found is not None:
                    held[found[0]] = found[1]
                progress(number + 1, len(todo))
        return held

    def still_locked(self, names: Iterable[str]) -> set[str]:
        """Those that the store does not let go yet."""
        held, now = self._held(names), self.locks.now()
        return {name for name, lock in held.items() if lock is not None and lock.until > now}

    # -- auditing --------------------------------------------------------------------------------

    def audit(
        self, dead: Collection[str], named: Iterable[str], progress: Progress = _quiet
    ) -> AuditReport:
        """
        Compare the store with the promise.

        Args:
            dead: names that a generation calls dead. named: names that the state cannot do without.
        """
        now, days = self.locks.now(), self.days()
        report = AuditReport(self.form.mode, days)
        report.drifts += self._bucket_drifts()
        promised = Lock(self.form.mode, now + timedelta(days=days))
        groups: dict[str, list[Version]] = {}
        for version in self.locks.versions(""):
            groups.setdefault(version.name, []).append(version)
        there = [name for name, versions in groups.items() if not versions[0].is_deletion]
        held = self._held(there, progress)
        report.objects = len(held)
        report.locked = sum(lock is not None and lock.until > now for lock in held.values())
        due = [lock for n, lock in held.items() if is_locked_kind(n) and n not in dead]
        ends = [lock.until for lock in due if lock is not None]
        report.locked_until = min(ends).isoformat() if ends else None
        self._days = days
        longest = self.new_lock(now).until
        for name, lock in held.items():
            report.drifts += _drifts(name, lock, promised, longest, is_dead=name in dead)
        for name, versions in groups.items():
            if not is_locked_kind(name) or name in dead:
                continue
            contents = sum(not version.is_deletion for version in versions)
            if contents > 1 and not self._is_right(name, versions[0]):
                report.drifts.append(Drift(name, "overwritten", f"{contents} versions"))
            if versions[0].is_deletion and contents:  # we delete versions and leave no markers
                report.drifts.append(Drift(name, "hidden", "deleted, its versions are there"))
        gone = set(named) - held.keys() - {d.name for d in report.drifts if d.kind == "hidden"}
        report.drifts += [Drift(name, "missing", "named and not there") for name in sorted(gone)]
        return report

    def _is_right(self, name: str, latest: Version) -> bool:
        """Whether an object that was written again holds what its name says, as after a repair."""
        if latest.is_deletion or not name.startswith((PACKS, RUNS, MANIFESTS)):
            return False
        stored = self.locks.read_version(latest, 0, latest.size)
        return blake3(stored).hexdigest() == name.rpartition("/")[2]

    def _bucket_drifts(self) -> list[Drift]:
        state = self.locks.bucket_state()
        found = []
        if not state.versioning:
            found.append("versioning is off or suspended")
        if not state.object_lock:
            found.append("locks are off (Object Lock, version-level immutability)")
        if state.default_lock:
            found.append("a default retention locks what must stay free")
        return [Drift("", "bucket", text) for text in found]


def _drifts(
    name: str, lock: Lock | None, promised: Lock, longest: datetime, *, is_dead: bool
) -> list[Drift]:
    if not is_locked_kind(name):
        return [] if lock is None else [Drift(name, "locked", f"until {lock.until.isoformat()}")]
    if lock is not None and lock.until > longest:
        return [Drift(name, "long", f"until {lock.until.isoformat()}")]
    if is_dead or (lock is not None and lock.covers(promised)):
        return []
    if lock is None:
        return [Drift(name, "unlocked", "no lock")]
    if lock.until < promised.until:
        return [Drift(name, "short", f"until {lock.until.isoformat()}")]
    return [Drift(name, "weaker", lock.mode)]


def immutability_of(store: BlobStore, config: ConfigForm) -> Immutability | None:
    """The locks of a repository; None if it has none, or lies as a copy on a store without locks."""
    if config.lock is None or not isinstance(store, Lockable):
        return None
    return Immutability(store, config.lock, config.repository)


def locking_store(store: BlobStore, config: ConfigForm, keys: KeySet) -> BlobStore:
    """The store as the repository writes to it: what stays is locked from its first moment, if the repository has locks."""
    held = immutability_of(store, config)
    if held is None:
        return store
    held.keys = keys
    return held.store


def require_lockable(store: BlobStore) -> None:
    """Raises: Unsupported(locks-unsupported, bucket-lockless, bucket-locks-all): this store keeps no promise of locks."""
    state = lock_store(store).bucket_state()
    if not state.object_lock or not state.versioning:
        raise Unsupported(
            f"{store.describe()} keeps no locks: make a new bucket with Object Lock and versioning, "
            "or a container with version-level immutability",
            code="bucket-lockless",
        )
    if state.default_lock:
        raise Unsupported(
            f"{store.describe()} locks every object by default: take the default retention of the bucket or container away",
            code="bucket-locks-all",
        )


def require_kept(store: BlobStore, name: str, mode: LockMode) -> None:
    """Raises: Unsupported(locks-ignored) if an object that was made with a lock of this mode has none, or a weaker one."""
    held = lock_store(store).lock_of(name)
    if held is None or not held.covers(Lock(mode, held.until)):
        raise Unsupported(
            f"{store.describe()} takes locks and does not keep them: use another storage service",
            code="locks-ignored",
        )


def require_immutable(repository: "Repository") -> Immutability:
    """The locks of a repository that has some. Unsupported(not-immutable)."""
    if repository.immutability is None:
        raise Unsupported(
            f"the objects of {repository.store.describe()} are not locked: make another repository with "
            "`strongroom repo init --immutable DAYS` and copy this one into it",
            code="not-immutable",
        )
    return repository.immutability


def extend_locks(
    repository: "Repository", progress: Progress = _quiet, *, everything: bool = False
) -> ExtendReport:
    """Bring every lock of a repository up to the promise, see `Immutability.extend`."""
    held = require_immutable(repository)
    return held.extend(_released(repository), progress, everything=everything)


def audit_locks(repository: "Repository", progress: Progress = _quiet) -> AuditReport:
    """Compare the locks of a repository with the promise."""
    held = require_immutable(repository)
    released = _released(repository)
    report = held.audit(released, _named(repository.state), progress)
    if any(drift.kind == "missing" for drift in report.drifts):
        named = _named(repository.refresh())  # a collection may have deleted it meanwhile
        report.drifts = [d for d in report.drifts if d.kind != "missing" or d.name in named]
    return report


def _named(state: "State") -> set[str]:
    """What the state cannot do without."""
    named = {CONFIG, *map(run_name, state.runs), *map(manifest_name, state.manifests)}
    return named | set(map(point_name, state.points))


def _released(repository: "Repository") -> set[str]:
    """What is to go once its lock ends: what the generation calls dead, and older key rings."""
    rings = [blob.name for blob in repository.store.list(KEYS)]
    newest = max(rings, default="").rpartition("-")[0]
    older = {name for name in rings if name.rpartition("-")[0] < newest}
    return older | set(repository.refresh().generation.dead)
