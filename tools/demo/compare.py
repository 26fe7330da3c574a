"""Every exported byte against what the tenant holds."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many files were compared, their bytes, and each difference as a line."""

    files: int
    bytes: int
    differences: tuple[str, ...]


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compare_mailbox(exported: Path, expected: dict[str, dict[str, str]]) -> Comparison:
    """
    The `.eml` files below `exported` against the tenant's messages, folder by folder.

    Args:
        expected: folder path -> message id -> SHA-256 of the MIME.
    """
    differences: list[str] = []
    files = total = 0
    for folder, messages in expected.items():
        found = sorted(p for p in (exported / folder).glob("*.eml") if p.is_file())
        hashes = Counter(_digest(path) for path in found)
        files += len(found)
        total += sum(path.stat().st_size for path in found)
        missing = Counter(messages.values()) - hashes
        surplus = hashes - Counter(messages.values())
        if missing:
            differences.append(f"{folder}: {missing.total()} messages are missing or differ")
        if surplus:
            differences.append(f"{folder}: {surplus.total()} messages too many")
        if not (exported / folder).is_dir():
            differences.append(f"{folder}: the folder is missing")
    return Comparison(files, total, tuple(differences))


def compare_drive(exported: Path, expected: dict[str, Any]) -> Comparison:
    """The files below `exported` against the tenant's: path, bytes. `expected`: path -> {sha256, size}."""
    differences: list[str] = []
    total = 0
    found = {p.relative_to(exported).as_posix(): p for p in exported.rglob("*") if p.is_file()}
    for name, facts in expected.items():
        path = found.pop(name.strip("/"), None)
        if path is None:
            differences.append(f"{name} is missing")
        elif _digest(path) != facts["sha256"]:
            differences.append(f"{name} differs")
        else:
            total += path.stat().st_size
    differences += [f"{name} is not in the tenant" for name in found]
    return Comparison(len(expected), total, tuple(differences))


def compare_records(exported: Path, expected: dict[str, Any]) -> Comparison:
    """
    The events, contacts or tasks in `.json` files below `exported` against the tenant's, member by member.

    Args:
        expected: container id -> `items`: id -> `graph`: members as Graph gives them.
    """
    differences: list[str] = []
    found = {}
    total = 0
    for path in exported.rglob("*.json"):
        item = json.loads(path.read_bytes()).get("item")
        if item is not None:  # else it describes a folder
            found[item["id"]] = item
            total += path.stat().st_size
    wanted = {key: one["graph"] for each in expected.values() for key, one in each["items"].items()}
    for key, members in wanted.items():
        item = found.pop(key, None)
        if item is None:
            differences.append(f"{key} is missing")
            continue
        wrong = [name for name, value in members.items() if item.get(name) != value]
        if wrong:
            differences.append(f"{key} differs in {', '.join(wrong)}")
    differences += [f"{key} is not in the tenant" for key in found]
    return Comparison(len(wanted), total, tuple(differences))
