"""`strongroom diff`: what changed between two restore points."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tools.cli import arguments
from tools.cli.output import DONE, plain_text, say, size_text, table

if TYPE_CHECKING:
    from engine.manifest import PointForm
    from repository.difference import Change, EntryDifference

_MARKS = {"added": "+", "removed": "-", "changed": "~"}


def diff(
    repo: str,
    older: str,
    newer: str,
    path: str,
    summary: bool,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """What changed between two restore points."""
    from repository.difference import differences

    with arguments.opened(
        repo, passphrase_file, cache_dir, state_dir, soon="repository.difference"
    ) as opened:
        sides = opened.point(older), opened.point(newer)
        found = differences(opened, *sides, path)
        if json:
            for text in _document(*sides, found, summary=summary):
                sys.stdout.write(text)
        else:
            _show(found, summary=summary)
    return DONE


def _show(found: "Iterator[EntryDifference]", *, summary: bool) -> None:
    rows, equal = [], 0
    for difference in found:
        if not len(difference):
            equal += 1
            continue
        if not summary:
            for change in difference.changes():
                say(plain_text(_line(change)))
        added, removed, changed = (difference.sums(c) for c in ("added", "removed", "changed"))
        rows.append(
            [
                difference.object,
                difference.workload,
                *(str(s.items + s.containers) for s in (added, removed, changed)),
                size_text(added.bytes_after),
                size_text(removed.bytes_before),
                f"{size_text(changed.bytes_before)} -> {size_text(changed.bytes_after)}"
                if changed.items
                else "",
            ]
        )
    if rows:
        head = ["object", "workload", "added", "removed", "changed"]
        sizes = ["size added", "size removed", "size changed"]
        table([*head, *sizes], rows, right=range(2, 8))
    say(f"{len(rows)} of {len(rows) + equal} objects and workloads differ")


def _line(change: "Change") -> str:
    line = f"{_MARKS[change.change]} {change.path}{'/' if change.kind == 'container' else ''}"
    notes = list(change.aspects)
    if change.old_path:
        notes[notes.index("place")] = f"was {change.old_path}"
    if change.size_before != change.size_after and change.change == "changed":
        notes.append(f"{size_text(change.size_before)} -> {size_text(change.size_after)}")
    return f"{line}  ({', '.join(notes)})" if notes else line


def _document(
    older: "PointForm",
    newer: "PointForm",
    found: "Iterator[EntryDifference]",
    *,
    summary: bool,
) -> Iterator[str]:
    """The JSON document, piece by piece: it may be longer than memory allows."""
    sides = (("older", older), ("newer", newer))
    points = {side: {"id": p.id, "name": p.name, "created_at": p.created_at} for side, p in sides}
    yield f'{msgspec.json.encode(points).decode()[:-1]},"entries":['
    between = ""
    for difference in found:
        entry = {
            "object": plain_text(difference.object),
            "workload": difference.workload,
            "added": difference.sums("added"),
            "removed": difference.sums("removed"),
            "changed": difference.sums("changed"),
        }
        yield f"{between}\n{msgspec.json.encode(entry).decode()[:-1]}"
        between = ","
        if not summary:
            yield ',"changes":['
            comma = ""
            for change in difference.changes():
                yield f"{comma}\n{msgspec.json.encode(_change_document(change)).decode()}"
                comma = ","
            yield "]"
        yield "}"
    yield "]}\n"


def _change_document(change: "Change") -> dict[str, object]:
    from repository.tree.paths import base64_name

    document: dict[str, object] = {
        "change": change.change,
        "path": plain_text(change.path),
        "kind": change.kind,
        "size_before": change.size_before,
        "size_after": change.size_after,
        "aspects": change.aspects,
        "id": change.id.decode("utf-8", "replace"),
    }
    if (encoded := base64_name(change.id)) is not None:
        document["id_b64"] = encoded
    if change.old_path:
        document["old_path"] = plain_text(change.old_path)
    return document
