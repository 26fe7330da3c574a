"""Data sets made from a seed, each with the change that comes after the first backups."""

import json
import math
import os
import random
import shutil
import sysconfig
import tarfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path

from blake3 import blake3

from benchmarks import mail as mails

SEED = 1
MAKE = 1  # counts up when a set is made in another way: kept sets are then made again
CHANGED = "changed"  # this file is there while the change is applied: a killed run leaves it
PIECE_BYTES = 1 << 20
MAIL_COUNT, MAIL_FOLDERS = 200_000, 1_000
FILES_BYTES, FILE_BYTES_MIN, FILE_BYTES_MAX, COPIES_SHARE = 2_200_000_000, 300_000, 60_000_000, 0.3
RANDOM_BYTES = 1_000_000_000
SOURCE_BYTES, SOURCE_FILE_BYTES_MAX, NEIGHBOURS = 1_350_000_000, 1_000_000, 20
SOURCE_ENDINGS = (
    *(".c", ".cc", ".cpp", ".css", ".el", ".go", ".h", ".hpp", ".html", ".js", ".json", ".m4"),
    *(".md", ".mjs", ".pl", ".pm", ".pxd", ".py", ".pyi", ".pyx", ".rb", ".rs", ".rst", ".s"),
    *(".sh", ".sql", ".tcl", ".ts", ".txt", ".vim", ".xml"),
)
SMALL_COUNT, SMALL_BYTES, SMALL_FOLDERS = 320_000, 48, 320
SHARED = Path(__file__).parents[2] / "shared" / "data"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a set. `ideal_bytes`: unique bytes where the making tells them, else 0."""

    name: str
    files: int
    bytes: int
    ideal_bytes: int = 0
    changed_bytes: int = 0  # overwritten and inserted
    replaced: list[str] = field(default_factory=list)  # by the change
    added: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)  # of the tree, before and after


@dataclass(slots=True)
class DataSet:
    """A set on disk: the tree `data`, and `change` with the files that the change brings."""

    folder: Path
    facts: Facts
    changed: bool = False

    @property
    def data(self) -> Path:
        """The tree that is backed up."""
        return self.folder / "data"

    def toggle(self) -> None:
        """Apply the change, or take it back. Only renames: content and times stay."""
        mark = self.folder / CHANGED
        mark.touch()
        for name in self.facts.replaced:
            here, there = self.data / name, self.folder / "change" / name
            aside = there.with_name(there.name + ".aside")
            here.rename(aside)
            there.rename(here)
            aside.rename(there)
        here, there = self.data, self.folder / "change"
        for name in self.facts.added:
            source, target = (here, there) if self.changed else (there, here)
            (source / name).rename(target / name)
        self.changed = not self.changed
        if not self.changed:
            mark.unlink()

    def digest(self) -> str:
        """Of the tree as it is now."""
        return self.facts.digests["after" if self.changed else "before"]


def tree_digest(folder: Path) -> str:
    """BLAKE3 over all relative paths and contents."""
    total = blake3()
    for path in sorted_files(folder):
        name = os.fsencode(path.relative_to(folder))
        total.update(len(name).to_bytes(4, "big") + name)
        total.update(path.stat().st_size.to_bytes(8, "big"))
        with path.open("rb", buffering=0) as file:
            while piece := file.read(PIECE_BYTES):
                total.update(piece)
    return total.hexdigest()


def sorted_files(folder: Path) -> Iterator[Path]:
    """Regular files below a folder, always in the same order."""
    for below, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(below) / name


def prepare(name: str, scale: float, store: Path) -> DataSet:
    """The set below `store`, made now if it is not there. LookupError if this machine cannot have it."""
    folder = store / f"{name}-{scale:g}-{MAKE}"
    kept = folder / "facts.json"
    if kept.exists() and not (folder / CHANGED).exists():
        return DataSet(folder, Facts(**json.loads(kept.read_text())))
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data").mkdir(parents=True)
    (folder / "change").mkdir()
    # in a process of its own: what it holds must not count in the peaks of commands started later
    with ProcessPoolExecutor(1, get_context("spawn")) as other:
        facts = other.submit(_make, name, scale, folder).result()
    kept.write_text(json.dumps(asdict(facts)))
    return DataSet(folder, facts)


def _make(name: str, scale: float, folder: Path) -> Facts:
    changes = DATASETS[name](folder, scale)
    sizes = [path.stat().st_size for path in sorted_files(folder / "data")]
    made = [str(p.relative_to(folder / "change")) for p in sorted_files(folder / "change")]
    replaced = [name for name in made if (folder / "data" / name).exists()]
    added = [name for name in made if not (folder / "data" / name).exists()]
    facts = Facts(name, len(sizes), sum(sizes), *changes, replaced, added)
    whole = DataSet(folder, facts)
    digests = {"before": tree_digest(whole.data)}
    whole.toggle()
    digests["after"] = tree_digest(whole.data)
    whole.toggle()
    return replace(facts, digests=digests)


def _random_file(path: Path, size: int, dice: random.Random) -> None:
    with path.open("wb") as file:
        for start in range(0, size, PIECE_BYTES):
            file.write(dice.randbytes(min(PIECE_BYTES, size - start)))


def _overwrite(content: bytearray, place: int, new: bytes, inserted: bytes) -> None:
    content[place : place + len(new)] = new
    content[place:place] = inserted


def _mail_part(folder: Path, numbers: range, count: int, folders: int) -> None:
    for number, content in mails.messages(SEED, numbers, count):
        path = folder / f"{number % folders:04d}" / f"{number:07d}.eml"
        path.write_bytes(content)


def mail(folder: Path, scale: float) -> tuple[int, int]:
    """200,000 messages in 1,000 folders. The change: one percent more."""
    count, folders = max(20, int(MAIL_COUNT * scale)), max(1, int(MAIL_FOLDERS * scale))
    more = count + count // 100 + 1
    for below in ("data", "change"):
        for number in range(folders):
            (folder / below / f"{number:04d}").mkdir()
    step = math.ceil(count / 16)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as workers:
        parts = [range(i, min(count, i + step)) for i in range(0, count, step)]
        works = [workers.submit(_mail_part, folder / "data", p, more, folders) for p in parts]
        for work in works:
            work.result()
    _mail_part(folder / "change", range(count, more), more, folders)
    return 0, sum(p.stat().st_size for p in sorted_files(folder / "change"))


def files(folder: Path, scale: float) -> tuple[int, int]:
    """Office-like: three quarters random, one deflated text; a third copies with a few insertions.

    The change: a hundredth of all bytes overwritten at places in a tenth of the files, each place shifted.
    """
    dice = random.Random(f"{SEED} files")
    most, wanted = min(FILE_BYTES_MAX, int(FILES_BYTES * scale / 4)), FILES_BYTES * scale
    made: list[Path] = []
    total = ideal = 0
    while total < wanted:
        path = folder / "data" / f"{len(made):03d}.bin"
        if made and dice.random() < COPIES_SHARE:
            content = bytearray(dice.choice(made).read_bytes())
            for _ in range(dice.randrange(3, 11)):
                inserted = dice.randbytes(dice.randrange(1, 1001))
                _overwrite(content, dice.randrange(len(content)), b"", inserted)
                ideal += len(inserted)
            path.write_bytes(content)
        else:
            size = int(dice.triangular(min(FILE_BYTES_MIN, most // 8), most, most / 8))
            if dice.random() < 0.25:
                path.write_bytes(_deflated(dice, size))
            else:
                _random_file(path, size, dice)
            ideal += path.stat().st_size
        made.append(path)
        total += path.stat().st_size
    touched = dice.sample(made, max(1, len(made) // 10))
    piece = min(PIECE_BYTES, int(total / 100 / len(touched) / 2))
    changed = 0
    for path in touched:
        content = bytearray(path.read_bytes())
        for _ in range(2):
            new, inserted = dice.randbytes(piece), dice.randbytes(dice.randrange(1, 1001))
            _overwrite(content, dice.randrange(max(1, len(content) - piece)), new, inserted)
            changed += len(new) + len(inserted)
        (folder / "change" / path.name).write_bytes(content)
    return ideal, changed


def _deflated(dice: random.Random, size: int) -> bytes:
    lines, packer = mails.corpus().lines, zlib.compressobj(1)
    made: list[bytes] = []
    length = 0
    while length < size:
        starts = [dice.randrange(len(lines)) for _ in range(50)]
        text = "\n".join(line for start in starts for line in lines[start : start + 40])
        made.append(packer.compress(text.encode()))
        length += len(made[-1])
    return b"".join([*made, packer.flush()])


def incompressible(folder: Path, scale: float) -> tuple[int, int]:
    """One file. The change: a hundredth of it overwritten, in ten places."""
    dice = random.Random(f"{SEED} random")
    size = max(PIECE_BYTES, int(RANDOM_BYTES * scale))
    original = folder / "data" / "stream.bin"
    _random_file(original, size, dice)
    shutil.copyfile(original, folder / "change" / original.name)
    piece = size // 1000
    with (folder / "change" / original.name).open("r+b") as file:
        for _ in range(10):
            file.seek(dice.randrange(size - piece))
            file.write(dice.randbytes(piece))
    return size, 10 * piece


def source(folder: Path, scale: float) -> tuple[int, int]:
    """One tar of the source files of this machine, none twice. The change: a line in one member of a hundred."""
    members = _source_members(SOURCE_BYTES * scale)
    if not members:
        raise LookupError("no source files on this machine")
    dice = random.Random(f"{SEED} source")
    runs = max(1, round(len(members) / 100 / NEIGHBOURS))
    starts = [dice.randrange(len(members)) for _ in range(runs)]
    edited = {start + i for start in starts for i in range(NEIGHBOURS)}
    changed = 0
    with (
        tarfile.open(folder / "data/source.tar", "w", format=tarfile.PAX_FORMAT) as before,
        tarfile.open(folder / "change/source.tar", "w", format=tarfile.PAX_FORMAT) as after,
    ):
        for number, path in enumerate(members):
            content = path.read_bytes()
            _add(before, path, content)
            if number in edited:
                line = f"# changed: {dice.getrandbits(64):016x}\n".encode()
                at = content.find(b"\n", dice.randrange(len(content))) + 1
                content = content[:at] + line + content[at:]
                changed += len(line)
            _add(after, path, content)
    return 0, changed


def _add(archive: tarfile.TarFile, path: Path, content: bytes) -> None:
    member = tarfile.TarInfo(str(path).lstrip("/"))
    member.size, member.mtime, member.mode = len(content), 1_700_000_000, 0o644
    archive.addfile(member, BytesIO(content))


def _source_members(size_max: float) -> list[Path]:
    roots = {
        os.path.realpath(sysconfig.get_path(kind)) for kind in ("stdlib", "purelib", "platlib")
    }
    roots |= {"/usr/include", "/usr/lib", "/usr/share", "/usr/src"}
    seen: set[bytes] = set()
    found: list[tuple[bytes, Path, int]] = []
    for path in (path for root in sorted(roots) for path in sorted_files(Path(root))):
        if path.suffix not in SOURCE_ENDINGS or path.is_symlink():
            continue
        try:
            content = path.read_bytes() if path.stat().st_size <= SOURCE_FILE_BYTES_MAX else b""
        except OSError:
            continue
        key = blake3(content).digest()
        if content and key not in seen:
            seen.add(key)
            found.append((key, path, len(content)))
    # fewer files at a smaller scale, but from all over: by their digest, then in order of path
    chosen, total = [], 0
    for _, path, size in sorted(found):
        if total + size > size_max:
            break
        chosen.append(path)
        total += size
    return sorted(chosen)


def small(folder: Path, scale: float) -> tuple[int, int]:
    """320,000 files of 48 random bytes: what each file costs. The change: one percent more."""
    dice = random.Random(f"{SEED} small")
    count = max(SMALL_FOLDERS, int(SMALL_COUNT * scale))
    for below, numbers in (("data", range(count)), ("change", range(count, count + count // 100))):
        for number in range(SMALL_FOLDERS):
            (folder / below / f"{number:03d}").mkdir()
        for number in numbers:
            path = folder / below / f"{number % SMALL_FOLDERS:03d}" / f"{number:06d}"
            path.write_bytes(dice.randbytes(SMALL_BYTES))
    return count * SMALL_BYTES, count // 100 * SMALL_BYTES


def shared(folder: Path, scale: float) -> tuple[int, int]:
    """The real mail and documents beside the checkout, as they lie there. The change: a line more in every 100th file."""
    if not SHARED.is_dir():
        raise LookupError("no shared data beside this checkout")
    changed = 0
    for number, path in enumerate(sorted_files(SHARED)):
        if path.is_symlink():
            continue
        name = path.relative_to(SHARED)
        for below in ("data", "change") if number % 100 == 0 else ("data",):
            (folder / below / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / below / name)
        if number % 100 == 0:
            with (folder / "change" / name).open("ab") as file:
                changed += file.write(b"\nchanged\n")
    return 0, changed


# each makes folder/data and folder/change at a scale, and returns `ideal_bytes` and `changed_bytes`
DATASETS: dict[str, Callable[[Path, float], tuple[int, int]]] = {
    "mail": mail,
    "files": files,
    "random": incompressible,
    "source": source,
    "small": small,
    "shared": shared,
}
