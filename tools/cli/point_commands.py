"""Restore points: list them, walk them, give them back."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import BackupError, UsageError
from tools.cli import arguments
from tools.cli.output import (
    DONE,
    WARNINGS,
    complain,
    plain_text,
    print_json,
    progress_bar,
    say,
    size_text,
    table,
    time_text,
)

if TYPE_CHECKING:
    from engine.manifest import PointForm
    from proxy.contract import ExportFormat
    from repository import Repository
    from repository.browse import Listed
    from repository.tree.importer import Progress, TreeProblem

PROBLEMS_SHOWN_MAX = 100


def points(
    repo: str,
    objects: bool,
    as_of: str | None,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """List restore points: id, time, name, objects, items, bytes."""
    from repository.scopes import point_state

    with arguments.opened(repo, passphrase_file, cache_dir, state_dir, as_of=as_of) as opened:
        damaged: dict[str, BackupError] = {}
        found = opened.points(damaged)
        states = {point.id: point_state(opened, point) for point in found}
    for error in damaged.values():
        complain(f"damaged: {error} ({error.code})")
    code = WARNINGS if damaged else DONE
    if json:
        print_json(
            [{**_point_document(p, objects=objects), "scope_state": states[p.id]} for p in found]
        )
        return code
    if not found:
        say("no restore points yet")
    elif objects:
        rows = [
            [p.id, e.object.name, e.workload, str(e.items), size_text(e.bytes), states[p.id]]
            for p in found
            for e in p.entries
        ]
        table(["id", "object", "workload", "items", "size", ""], rows, right=(3, 4))
    else:
        rows = [
            [
                p.id,
                p.created_at[:19].replace("T", " "),
                p.name,
                str(len({e.object.id for e in p.entries})),
                str(sum(e.items for e in p.entries)),
                size_text(sum(e.bytes for e in p.entries)),
                states[p.id] or ("" if p.result == "success" else p.result),
            ]
            for p in found
        ]
        head = ["id", "time (UTC)", "name", "objects", "items", "size", ""]
        table(head, rows, right=(3, 4, 5))
    return code


def _point_document(point: "PointForm", *, objects: bool) -> dict[str, object]:
    document: dict[str, object] = {
        "id": point.id,
        "name": point.name,
        "created_at": point.created_at,
        "result": point.result,
        "objects": len({entry.object.id for entry in point.entries}),
        "items": sum(entry.items for entry in point.entries),
        "bytes": sum(entry.bytes for entry in point.entries),
    }
    if objects:
        document["entries"] = [
            {
                "object": entry.object.name,
                "workload": entry.workload,
                "items": entry.items,
                "bytes": entry.bytes,
                "manifest": entry.entry.manifest,
                "index": entry.entry.index,
            }
            for entry in point.entries
        ]
    return document


def browse(
    repo: str,
    point: str,
    path: str,
    as_of: str | None,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """List containers and items of a restore point."""
    from repository.browse import Browser

    with arguments.opened(repo, passphrase_file, cache_dir, state_dir, as_of=as_of) as opened:
        found = list(Browser(opened, opened.point(point)).list(path))
    if json:
        print_json([_listed_document(listed) for listed in found])
        return DONE
    rows = [
        [
            listed.kind,
            str(listed.items) if listed.items else "",
            size_text(listed.size) if listed.size or listed.kind != "container" else "",
            time_text(listed.modified_ns) if listed.modified_ns else "",
            listed.name + ("/" if listed.kind == "container" else ""),
        ]
        for listed in found
    ]
    table(["kind", "items", "size", "modified (UTC)", "name"], rows, right=(1, 2))
    return DONE


def _listed_document(listed: "Listed") -> dict[str, object]:
    from repository.tree.paths import base64_name

    document: dict[str, object] = {
        "name": plain_text(listed.name),
        "path": plain_text(listed.path),
        "kind": listed.kind,
        "size": listed.size,
        "items": listed.items,
        "modified_ns": listed.modified_ns,
    }
    if listed.row is not None and (encoded := base64_name(listed.row.name)) is not None:
        document["name_b64"] = encoded
    return document


def export(
    repo: str,
    point: str,
    destination: Path,
    path: str,
    form: "ExportFormat",
    folders: list[str] | None,
    without_folders: list[str] | None,
    received_from: str | None,
    received_until: str | None,
    dated_from: str | None,
    dated_until: str | None,
    as_of: str | None,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Write what a restore point holds to open files; overwrites nothing."""
    from proxy.contract import Selection

    selection = Selection(
        folders=folders or [],
        without_folders=without_folders or [],
        received_from=received_from or "",
        received_until=received_until or "",
        dated_from=dated_from or "",
        dated_until=dated_until or "",
    )
    with arguments.opened(
        repo, passphrase_file, cache_dir, state_dir, soon="repository.tree.exporter", as_of=as_of
    ) as opened:
        from repository.browse import is_tree

        chosen = opened.point(point)
        if not is_tree(chosen):
            from tools.cli.tenant_commands import export_tenant

            return export_tenant(opened, chosen, destination, path, form, selection, json=json)
        if selection != Selection():
            raise UsageError(
                "a directory tree has no folders of mail and no dates: use --path",
                code="format-unfit",
            )
        if form != "native":
            raise UsageError("a directory tree is exported as native", code="format-unfit")
        return _export_tree(opened, chosen, destination, path, json=json)


def _export_tree(
    repository: "Repository", point: "PointForm", destination: Path, path: str, *, json: bool
) -> int:
    from repository.tree.exporter import export_tree

    entry = repository.named_entry(point.entries[0].entry)
    with progress_bar("exporting", quiet=json) as bar:
        result = export_tree(
            repository,
            entry,
            destination,
            path=os.fsencode(path),
            show=lambda p: bar.update(
                p.bytes + p.items, p.bytes_total + p.items_total, size_text(p.bytes)
            ),
        )
    if json:
        print_json(
            {
                "files": result.files,
                "folders": result.folders,
                "links": result.links,
                "bytes": result.bytes,
                "problems": _problem_documents(result.problems),
            }
        )
    else:
        _show_problems(result.problems)
        say(
            f"wrote {result.files} files, {result.folders} folders, {result.links} links, "
            f"{size_text(result.bytes)} to {destination}"
        )
    return WARNINGS if result.problems else DONE


def import_(
    folder: Path,
    repo: str,
    name: str,
    reread: bool,
    scope: str,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Store a directory tree: files, links, modes, times."""
    from repository.tree.paths import check_folder, display

    check_folder(folder)
    chosen = display(os.fsencode(name or folder.resolve().name)) or "root"
    with (
        arguments.opened(
            repo, passphrase_file, cache_dir, state_dir, soon="repository.tree.importer"
        ) as opened,
        progress_bar("importing", quiet=json) as bar,
    ):
        from repository.tree.importer import import_tree

        def show(p: "Progress") -> None:
            bar.update(p.bytes + p.items, p.bytes_total + p.items_total, size_text(p.bytes))

        result = import_tree(
            opened,
            folder,
            chosen,
            reread=reread,
            show=show if bar.shown else None,
            scope=scope,
        )
    assert result.point is not None
    if json:
        document = _point_document(result.point, objects=False)
        document |= {
            "files_read": result.files_read,
            "unchanged": result.unchanged,
            "removed": result.removed,
            "bytes_read": result.bytes_read,
            "bytes_stored": result.bytes_stored,
            "problems": _problem_documents(result.problems),
        }
        print_json(document)
    else:
        _show_problems(result.problems)
        say(
            f"restore point {result.point.id} ({chosen}): {result.files_read} files read, "
            f"{size_text(result.bytes_read)}; {result.unchanged} unchanged, {result.removed} removed; "
            f"{size_text(result.bytes_stored)} stored"
        )
    return WARNINGS if result.problems else DONE


def _show_problems(problems: list["TreeProblem"]) -> None:
    for problem in problems[:PROBLEMS_SHOWN_MAX]:
        name = plain_text(os.fsdecode(problem.path))
        complain(f"{problem.result}: {name}: {problem.reason}")
    if len(problems) > PROBLEMS_SHOWN_MAX:
        complain(f"... and {len(problems) - PROBLEMS_SHOWN_MAX} more; --json lists all")


def _problem_documents(problems: list["TreeProblem"]) -> list[dict[str, str]]:
    from repository.tree.paths import base64_name, display

    documents = []
    for problem in problems:
        document = {
            "path": display(problem.path),
            "result": problem.result,
            "reason": problem.reason,
        }
        if (encoded := base64_name(problem.path)) is not None:
            document["path_b64"] = encoded
        documents.append(document)
    return documents
