"""`python -m tools.reader REPOSITORY DESTINATION`: exit code 0 all came back, 1 something is missing or damaged, 2 usage."""

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.reader.catalog import rows
from tools.reader.content import Content
from tools.reader.folder import Damage, Folder
from tools.reader.index import index_of_packs, index_of_runs
from tools.reader.items import safe_name, write_items
from tools.reader.keyfile import open_key_file
from tools.reader.keys import Keys, Opening, WrongPassphrase, open_keys
from tools.reader.output import printable
from tools.reader.recovery import Mistyped
from tools.reader.state import (
    ID_FORM,
    Entry,
    Point,
    State,
    heads,
    load_manifest,
    load_points,
    read_state,
)
from tools.reader.trees import TreeWriter


class Restore:
    """One run of the reader."""

    def __init__(self, folder: Folder, keys: Keys, *, from_packs: bool) -> None:
        self.folder = folder
        self.keys = keys
        self.from_packs = from_packs
        self.complaints = 0
        self._manifests: dict[str, list[Entry]] = {}
        self._state: State | None = None

    def complain(self, text: str) -> None:
        """Name what is damaged or missing."""
        self.complaints += 1
        sys.stderr.write(printable(text) + "\n")

    def entries_of(self, manifest: str) -> list[Entry]:
        """Entries of a manifest; none (and one complaint) if it is damaged."""
        if manifest not in self._manifests:
            try:
                self._manifests[manifest] = load_manifest(self.folder, self.keys, manifest)
            except Damage as error:
                self._manifests[manifest] = []
                self.complain(str(error))
        return self._manifests[manifest]

    def choose(self, wanted: str) -> list[Entry]:
        """Entries of the point wanted, or the heads; Damage: there is no such point."""
        points = self._points()
        if wanted == "heads" or (wanted == "latest" and not points):
            known = self._known_manifests()
            return heads((entry for m in known for entry in self.entries_of(m)), self._state)
        chosen = [p for p in points if wanted in ("latest", p.id)][-1:]
        if not chosen:
            raise Damage(f"there is no restore point {wanted}, or it is damaged")
        found: list[Entry] = []
        for manifest, number in chosen[0].entries:
            entries = self.entries_of(manifest)
            if number < len(entries):
                found.append(entries[number])
            else:
                self.complain(f"entry {number} of manifest/{manifest} is missing")
        return found

    def _known_manifests(self) -> list[str]:
        """Those of the state; without the index the state may be lost as well: all there are."""
        if self.from_packs:
            names = self.folder.names("manifest/", ID_FORM)
            return [name.partition("/")[2] for name in names]
        return self.state.manifests

    @property
    def state(self) -> State:
        """Cells and the newest generation, read once."""
        if self._state is None:
            self._state = read_state(self.folder, self.keys, self.complain)
        return self._state

    def _points(self) -> list[Point]:
        """Those of the state; without the index all there are."""
        if self.from_packs:
            found = self.folder.names("point/", "[0-9a-f]{16}-[0-9a-f]{16}")
            names = [name.partition("/")[2] for name in found]
        else:
            names = self.state.points
        return load_points(self.folder, self.keys, names, self.complain)

    def show(self) -> None:
        """List restore points and heads."""
        for point in self._points():
            line = f"{point.id}  {point.created_at}  {point.result}  {printable(point.name)}"
            sys.stdout.write(line + "\n")
            for manifest, number in point.entries:
                for entry in self.entries_of(manifest)[number : number + 1]:
                    sys.stdout.write("    " + describe(entry) + "\n")
        sys.stdout.write("heads\n")
        for entry in self.choose("heads"):
            sys.stdout.write("    " + describe(entry) + "\n")

    def restore(self, entries: list[Entry], destination: Path) -> None:
        """Write entries: a tree alone into the destination itself, else every object and workload into a folder."""
        if self.from_packs:
            index = index_of_packs(self.folder, self.keys, self.complain)
        else:
            index = index_of_runs(self.folder, self.keys, self.state.runs, self.complain)
        content = Content(self.folder, self.keys, index)
        destination.mkdir(parents=True, exist_ok=True)
        for entry in entries:
            base = os.fsencode(destination)
            if len(entries) > 1 or entry.kind != "tree":
                unique = f"{entry.kind}\0{entry.object_id}\0{entry.workload}"
                name = safe_name(f"{entry.name}.{entry.workload}", unique)
                base = os.path.join(base, os.fsencode(name))
                os.mkdir(base)
            if not entry.complete:
                self.complain(f"{describe(entry)}: the backup had not finished")
            since = None if self.from_packs else self.state.items_from_ns
            found = rows(content, entry, self.complain, since)
            if entry.kind == "tree":
                TreeWriter(content, base, self.complain).write(found)
            else:
                write_items(found, content, base, self.complain)


def describe(entry: Entry) -> str:
    """An entry in one line."""
    return printable(f"{entry.kind} {entry.name}, {entry.workload}: {entry.items} items")


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser("python -m tools.reader", description=__doc__)
    parser.add_argument("repository", type=Path)
    parser.add_argument("destination", type=Path, nargs="?", help="new or empty")
    parser.add_argument("--point", default="latest", help="an id, latest, or heads (newest of all)")
    parser.add_argument("--list", action="store_true", help="show restore points and heads")
    parser.add_argument("--from-packs", action="store_true", help="do without runs and cells")
    parser.add_argument("--passphrase-file", type=Path, help="also a typed recovery secret")
    parser.add_argument("--key-file", type=Path, help="private key of a recipient")
    parser.add_argument(
        "--scope-key",
        dest="scope_keys",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="NAME.key of a scope's key service (again for more)",
    )
    options = parser.parse_args(words)
    destination = options.destination
    if (destination is None) != options.list:
        parser.error("give a destination, or --list")
    if destination is not None:
        if destination.resolve().is_relative_to(options.repository.resolve()):
            parser.error("the destination lies inside the repository")
        if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
            parser.error("the destination must be new or empty")
    return options


def passphrase_of(options: argparse.Namespace) -> str:
    """From the file (without its newline), else the environment, else asked for."""
    if options.passphrase_file is not None:
        text: str = options.passphrase_file.read_text(encoding="utf-8")
        return text.removesuffix("\n").removesuffix("\r")
    return os.environ.get("STRONGROOM_PASSPHRASE") or getpass.getpass("Passphrase: ")


def secret_of(options: argparse.Namespace) -> str | Opening:
    """What opens the repository."""
    if options.key_file is not None:
        return open_key_file(options.key_file, lambda: passphrase_of(options))
    return passphrase_of(options)


def main(words: Sequence[str] | None = None) -> int:
    """Run; the exit code."""
    options = parse(words)
    try:
        folder = Folder(options.repository)
        keys, damaged = open_keys(folder, secret_of(options), options.scope_keys)
        restore = Restore(folder, keys, from_packs=options.from_packs)
        for complaint in damaged:
            restore.complain(complaint)
        if options.list:
            restore.show()
        else:
            restore.restore(restore.choose(options.point), options.destination)
    except (Damage, WrongPassphrase, Mistyped, OSError, EOFError) as error:
        sys.stderr.write(printable(str(error)) + "\n")
        return 1
    if restore.complaints:
        sys.stderr.write(f"{restore.complaints} problems, named above; all else came back\n")
    return 1 if restore.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
