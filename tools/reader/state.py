"""Sections "Commit", "Manifests" and "Restore points": what the repository says is in it."""

import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from blake3 import blake3
from cryptography.exceptions import InvalidSignature

from tools.reader.content import Part
from tools.reader.folder import Damage, Folder
from tools.reader.keys import Keys
from tools.reader.sealing import CELL, GENERATION, MANIFEST, POINT, open_object

SIGNATURE_BYTES = 64
ID_FORM = "[0-9a-f]{64}"
Complain = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class State:
    """
    What counts: ids of manifests and index runs, names of restore points.

    `dropped`: of manifests, the numbers of the entries that do not count. `parents`: of entries, where they are not those
    of the manifest.
    """

    manifests: list[str]
    runs: list[str]
    points: list[str]
    dropped: dict[str, list[int]]
    parents: dict[tuple[str, int], tuple[tuple[str, int], ...]]
    items_from_ns: int | None

    def is_dropped(self, place: tuple[str, int]) -> bool:
        """Whether a collector took an entry away."""
        return place[1] in self.dropped.get(place[0], ())


@dataclass(frozen=True, slots=True)
class Entry:
    """One object and workload after one slice; a place is a manifest's id and the number in it."""

    place: tuple[str, int]
    parents: tuple[tuple[str, int], ...]
    created_at: str
    kind: str
    object_id: str
    name: str
    workload: str
    complete: bool
    items: int
    catalog: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A restore point and the places of its entries."""

    id: str
    name: str
    created_at: str
    result: str
    entries: tuple[tuple[str, int], ...]


def read_state(folder: Folder, keys: Keys, complain: Complain) -> State:
    """The newest generation and the commits above its watermarks; read again if something named went away meanwhile."""
    complaints: list[str] = []
    for _ in range(2):
        complaints.clear()
        state = _read_once(folder, keys, complaints.append)
        named = [f"manifest/{m}" for m in state.manifests] + [f"run/{r}" for r in state.runs]
        named += [f"point/{p}" for p in state.points]
        if all((folder.root / name).is_file() for name in named):
            break
    for complaint in complaints:
        complain(complaint)
    return state


def _read_once(folder: Folder, keys: Keys, complain: Complain) -> State:
    """Cells first, then the newest generation: a commit between the two is in one of them at least."""
    cells = _open_all(folder, keys, sorted(folder.names("sess/", "[^/]+")), CELL, complain)
    newest = _open_all(
        folder, keys, reversed(list(folder.names("gc/", "[0-9]{10}"))), GENERATION, complain, 1
    )
    generation: dict[str, Any] = newest[0] if newest else {}
    manifests = dict.fromkeys(generation.get("manifests", ()))
    runs = dict.fromkeys(generation.get("runs", ()))
    points = dict.fromkeys(generation.get("points", ()))
    watermarks = generation.get("watermarks", {})
    for cell in cells:
        for commit in cell["commits"]:
            if commit["turn"] > watermarks.get(cell["writer"], 0):
                if commit["manifest"] is not None:
                    manifests[commit["manifest"]] = None
                runs.update(dict.fromkeys(commit["runs"]))
                points.update(dict.fromkeys(commit["points"]))
    parents = {
        _place(changed["entry"]): tuple(_place(parent) for parent in changed["parents"])
        for changed in generation.get("lineage", ())
    }
    dropped = generation.get("dropped", {})
    since = generation.get("items_from_ns")
    return State(list(manifests), list(runs), list(points), dropped, parents, since)


def _place(entry: dict[str, Any]) -> tuple[str, int]:
    return entry["manifest"], entry["index"]


def _open_all(
    folder: Folder,
    keys: Keys,
    names: Iterable[str],
    object_class: int,
    complain: Complain,
    wanted: int | None = None,
) -> list[dict[str, Any]]:
    """The first `wanted` objects that open, all by default."""
    opened: list[dict[str, Any]] = []
    for name in names:
        if wanted is not None and len(opened) == wanted:
            break
        try:
            opened.append(json.loads(open_object(keys, name, folder.read(name), object_class)))
        except (Damage, ValueError) as error:
            complain(f"{name}: {error}")
    return opened


def load_manifest(folder: Folder, keys: Keys, manifest: str) -> list[Entry]:
    """The entries of a manifest whose name, seal, signature and root are right."""
    name = f"manifest/{manifest}"
    try:
        plain = open_object(keys, name, folder.read_checked(name), MANIFEST)
        body = _verified(keys, plain, b"strongroom manifest v1\0")
        leaves = [
            json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()
            for entry in body["entries"]
        ]
        if merkle_root(leaves).hex() != body["root"]:
            raise Damage("its entries do not hash to its root")
        return [_entry(body, (manifest, n), entry) for n, entry in enumerate(body["entries"])]
    except (Damage, ValueError, KeyError, TypeError) as error:
        raise Damage(f"{name}: {error}") from error


def load_points(
    folder: Folder, keys: Keys, names: Iterable[str], complain: Complain
) -> list[Point]:
    """The restore points of these names that open, each id once, oldest first."""
    points: dict[str, Point] = {}
    for name in (f"point/{name}" for name in names):
        try:
            plain = open_object(keys, name, folder.read(name), POINT)
            body = _verified(keys, plain, b"strongroom point v1\0")
            if body["id"] != name.removeprefix("point/").partition("-")[0]:
                raise Damage("has the id of another")
            places = tuple((e["entry"]["manifest"], e["entry"]["index"]) for e in body["entries"])
            points[body["id"]] = Point(
                body["id"], body["name"], body["created_at"], body["result"], places
            )
        except (Damage, ValueError, KeyError, TypeError) as error:
            complain(f"{name}: {error}")
    return sorted(points.values(), key=lambda point: point.created_at)


def heads(entries: Iterable[Entry], state: State | None) -> list[Entry]:
    """The newest entry of every object and workload: one that is no entry's parent. Without a state all entries count."""
    known = [e for e in entries if state is None or not state.is_dropped(e.place)]
    changed = {} if state is None else state.parents
    overtaken = {place for entry in known for place in changed.get(entry.place, entry.parents)}
    newest: dict[tuple[str, str, str], Entry] = {}
    for entry in sorted(known, key=lambda entry: entry.created_at):
        if entry.place not in overtaken:
            newest[entry.kind, entry.object_id, entry.workload] = entry
    return list(newest.values())


def merkle_root(leaves: list[bytes]) -> bytes:
    """Root over the bytes of the leaves, in order."""
    level = [blake3(b"\0" + leaf).digest() for leaf in leaves] or [blake3(b"\0empty").digest()]
    while len(level) > 1:
        odd = level[len(level) & ~1 :]
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [blake3(b"\1" + left + right).digest() for left, right in pairs] + odd
    return level[0]


def _verified(keys: Keys, plain: bytes, label: bytes) -> dict[str, Any]:
    """The body behind a signature, which must be right for the key set's own public key."""
    body = plain[SIGNATURE_BYTES:]
    try:
        keys.public_key.verify(plain[:SIGNATURE_BYTES], label + body)
    except InvalidSignature as error:
        raise Damage("its signature is wrong") from error
    decoded: dict[str, Any] = json.loads(body)
    public_key = keys.public_key.public_bytes_raw()
    if (decoded["format"], decoded["repository"]) != (1, keys.repository.hex()):
        raise Damage("is of another format or repository")
    if decoded["public_key"] != public_key.hex():
        raise Damage("states another public key")
    return decoded


def _entry(body: dict[str, Any], place: tuple[str, int], entry: dict[str, Any]) -> Entry:
    parts = (level["part"] for level in entry["catalog"])
    return Entry(
        place=place,
        parents=tuple((parent["manifest"], parent["index"]) for parent in entry["parents"]),
        created_at=body["created_at"],
        kind=entry["object"]["kind"],
        object_id=entry["object"]["id"],
        name=entry["object"]["name"],
        workload=entry["workload"],
        complete=entry["complete"],
        items=entry["items"],
        catalog=tuple(
            Part(part["role"], part["size"], base64.b64decode(part["chunks"])) for part in parts
        ),
    )
