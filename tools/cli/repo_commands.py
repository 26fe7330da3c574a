"""`strongroom repo ...`: make, look at."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engine.errors import UsageError
from tools.cli import arguments
from tools.cli.output import (
    DONE,
    complain,
    facts,
    print_json,
    say,
    size_text,
)

if TYPE_CHECKING:
    from repository import Repository
    from repository.settings import LockForm

PaddingChoice = Literal["padme", "none"]
ParityChoice = Literal["on", "off"]


def init(
    repo: str,
    padding: PaddingChoice,
    parity: ParityChoice | None,
    immutable: int | None,
    governance: bool,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Create a repository; asks for the passphrase twice on a terminal."""
    from repository import create_repository
    from repository.blobstore.locks import keeps_versions

    lock = _lock(immutable, governance=governance)
    secret = arguments.passphrase(passphrase_file, twice=True)
    places = arguments.places(cache_dir, state_dir)
    with create_repository(
        repo, secret, places=places, padding=padding, parity=parity, lock=lock
    ) as made:
        if json:
            print_json(
                {
                    "repository": made.id,
                    "compare_and_swap": made.config.compare_and_swap,
                    "parity": made.config.parity,
                    "lock": made.config.lock,
                }
            )
            return DONE
        say(f"repository {made.id} is ready at {repo}")
        say("keep the passphrase safe: without it nothing can ever be read back")
        if not made.config.compare_and_swap:
            complain("note: this storage lacks compare-and-swap: use one writer at a time")
        if lock is None and keeps_versions(made.store):
            complain(
                "note: this bucket keeps versions: what is deleted still takes space and can be read; "
                "give it a lifecycle rule for noncurrent versions"
            )
        if lock is not None and lock.mode == "governance" and repo.startswith("az://"):
            complain(
                "note: on Azure whoever may write with locks may take those of mode governance away: "
                "they guard against mistakes, not against stolen credentials"
            )
        if lock is not None:
            say(
                f"what is stored is locked for {lock.days} days at least ({lock.mode}): run "
                "`strongroom repo collect` or `repo lock extend` every day or two"
            )
    return DONE


def _lock(days: int | None, *, governance: bool) -> "LockForm | None":
    from repository.settings import LockForm

    if days is None and governance:
        raise UsageError("--governance belongs to --immutable", code="immutable-options")
    return None if days is None else LockForm("governance" if governance else "compliance", days)


def info(
    repo: str,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Version, keys, writers, restore points."""
    from repository.blobstore.locks import keeps_versions

    with arguments.opened(repo, passphrase_file, cache_dir, state_dir) as opened:
        document = {
            "repository": opened.id,
            "format": opened.config.format,
            "suite": opened.config.suite,
            "created_at": opened.config.created_at,
            "compare_and_swap": opened.config.compare_and_swap,
            "padding": opened.config.padding,
            "parity": opened.config.parity,
            "keys": len(opened.keyring.ring.keys),
            "key_epoch": opened.keys.newest_epoch,
            "generation": opened.state.generation.number,
            "writers": {
                w: {"turn": c.turn, "state": c.state} for w, c in opened.state.cells.items()
            },
            "manifests": len(opened.state.manifests),
            "runs": len(opened.state.runs),
            "points": len(opened.points()),
            "locked": _locked(opened),
            "versions_kept": keeps_versions(opened.store),
        }
    if json:
        print_json(document)
    else:
        writers = document.pop("writers")
        facts({name.replace("_", " "): str(value) for name, value in document.items()})
        assert isinstance(writers, dict)
        for writer, cell in writers.items():
            say(f"writer {writer}: turn {cell['turn']}, {cell['state']}")
    return DONE


def _locked(repository: "Repository") -> str:
    held = repository.immutability
    return "no" if held is None else f"{held.form.mode}, {held.days()} days"


def stats(
    repo: str,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Sizes, deduplication and compression."""
    from repository.statistics import statistics

    with arguments.opened(repo, passphrase_file, cache_dir, state_dir) as opened:
        found = statistics(opened)
    if json:
        print_json(found)
        return DONE
    facts(
        {
            "restore points": str(found.points),
            "items in their newest states": f"{found.items} of {size_text(found.item_bytes)}",
            "chunks": f"{found.chunks} of {size_text(found.chunk_bytes)}",
            "packs": f"{found.packs} of {size_text(found.pack_bytes)}",
            "stored in all": f"{size_text(found.stored_bytes)} in {found.objects} objects",
            "deduplication": f"{found.deduplication:.2f} : 1",
            "compression": f"{found.compression:.2f} : 1",
        }
    )
    return DONE
