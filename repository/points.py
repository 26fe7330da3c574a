"""Restore points: one per job session, naming for every object its newest complete entry."""

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from engine.collection import point_id
from engine.errors import BackupError, Corruption, NotFound, Unsupported, UsageError
from engine.keys import SALT_BYTES, KeySet
from engine.manifest import (
    EntryRef,
    PointEntry,
    PointForm,
    decode_point,
    encode_point,
    public_key_of,
)
from engine.seal import ObjectClass, open_object, seal_object
from engine.version import FORMAT_VERSION
from repository import ambient
from repository.blobstore.protocol import BlobStore
from repository.entries import Entry
from repository.layout import point_name

POINT_ID_DIGITS = 16
READS_AT_ONCE_MAX = 16
_POINT_ID = re.compile(rf"[0-9a-f]{{{POINT_ID_DIGITS}}}")


@dataclass(frozen=True, slots=True)
class PointDraft:
    """
    A restore point to be. `id` (`new_point_id`) is chosen once for a session, so that sealing twice makes one.

    `created_at` (RFC 3339): of a copy, when the original was made; by default now.
    """

    id: str
    name: str
    session: str
    result: str
    entries: tuple[EntryRef, ...]
    created_at: str | None = None


def new_point_id() -> str:
    """A fresh id: 16 hex digits."""
    return ambient.random_bytes(POINT_ID_DIGITS // 2).hex()


def put_point(
    store: BlobStore,
    keys: KeySet,
    repository: str,
    uuid: bytes,
    draft: PointDraft,
    entries: Sequence[Entry],
) -> tuple[str, PointForm]:
    """
    Write the object of a restore point; its name for the commit that makes it count, and what it says.

    The name ends in random digits, because an object that no commit named may be gone tomorrow and its name with it.
    UsageError for a bad id.
    """
    if not _POINT_ID.fullmatch(draft.id):
        raise UsageError("a restore point's id has 16 hex digits", code="bad-point-id")
    form = PointForm(
        format=FORMAT_VERSION,
        repository=repository,
        id=draft.id,
        name=draft.name,
        created_at=draft.created_at or ambient.now(),
        session=draft.session,
        result=draft.result,
        entries=tuple(
            PointEntry(e.form.object, e.form.workload, e.ref, e.form.items, e.form.bytes)
            for e in entries
        ),
        public_key=public_key_of(keys.signing_seed),
    )
    point = f"{draft.id}-{new_point_id()}"
    name = point_name(point)
    plain = encode_point(form, keys.signing_seed)
    salt = ambient.random_bytes(SALT_BYTES)
    store.put_new(name, seal_object(keys, ObjectClass.POINT, uuid, salt, plain, name))
    return point, form


def read_point(
    store: BlobStore, keys: KeySet, repository: str, uuid: bytes, point: str
) -> PointForm:
    """The restore point in the object that a commit names `point`. NotFound, Corruption or Unsupported."""
    name = point_name(point)
    plain = open_object(keys, ObjectClass.POINT, uuid, store.get(name), name)
    form = decode_point(plain, repository, keys.signing_seed)
    if form.id != point_id(point):
        raise Corruption(f"{name} holds another restore point", code="point-corrupt")
    return form


Damaged = dict[str, BackupError]  # name of an object -> what is wrong with it


def read_points(
    store: BlobStore,
    keys: KeySet,
    repository: str,
    uuid: bytes,
    points: Iterable[str],
    damaged: Damaged,
) -> dict[str, PointForm]:
    """By name those of `points` that can be read; the others are put into `damaged`."""

    def read(point: str) -> PointForm | BackupError:
        try:
            return read_point(store, keys, repository, uuid, point)
        except NotFound:
            return Corruption(
                "it is named and missing: `strongroom repo verify` says what is affected",
                code="object-missing",
            )
        except (Corruption, Unsupported) as error:
            return error

    names = list(points)
    if store.calls_at_once() == 1 or len(names) < 2:
        return _sorted_out(zip(names, map(read, names), strict=True), damaged)
    with ThreadPoolExecutor(READS_AT_ONCE_MAX, "points") as threads:
        return _sorted_out(zip(names, threads.map(read, names), strict=True), damaged)


def _sorted_out(
    read: Iterable[tuple[str, PointForm | BackupError]], damaged: Damaged
) -> dict[str, PointForm]:
    found: dict[str, PointForm] = {}
    for point, form in read:
        if isinstance(form, BackupError):
            damaged[point_name(point)] = form
        else:
            found[point] = form
    return found


def in_order(points: Iterable[PointForm]) -> list[PointForm]:
    """Oldest first; one that was sealed twice comes once."""
    once = {point.id: point for point in points}
    return sorted(once.values(), key=lambda point: (point.created_at, point.id))


def resolve_point(points: Sequence[PointForm], text: str, damaged: Damaged) -> PointForm:
    """
    The restore point that a POINT argument names: an id, a unique prefix of one, `latest` or `NAME:latest`.

    `points` oldest first. NotFound, UsageError or Corruption say what to do: with a damaged point among them nobody knows
    which one is the latest, so it must be named.
    """
    name, _, last = text.rpartition(":")
    if last == "latest":
        if damaged:
            raise Corruption(
                f"{min(damaged)} is damaged and may be the latest: choose one of `strongroom points` by its id",
                code="point-corrupt",
            )
        chosen = [p for p in points if not name or p.name == name]
        if not chosen:
            what = (
                f"no restore point has the name {name!r}"
                if name
                else "there is no restore point yet"
            )
            raise NotFound(f"{what}: `strongroom points` lists them", code="point-not-found")
        return chosen[-1]
    matches = [p for p in points if text and p.id.startswith(text)]
    for blob, error in damaged.items():
        if text and not matches and blob.startswith(point_name(text)):
            raise error
    if len(matches) > 1:
        raise UsageError(
            f"{text!r} begins {len(matches)} ids: give more digits", code="point-ambiguous"
        )
    if not matches:
        raise NotFound(
            f"no restore point begins with {text!r}: `strongroom points` lists them",
            code="point-not-found",
        )
    return matches[0]
