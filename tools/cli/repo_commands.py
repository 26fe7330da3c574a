"""`strongroom repo ...`: make, look at, verify."""

from pathlib import Path
from typing import Literal

from tools.cli import arguments
from tools.cli.output import (
    DONE,
    FAILED,
    complain,
    facts,
    print_json,
    progress_bar,
    say,
    size_text,
)

PaddingChoice = Literal["padme", "none"]
ParityChoice = Literal["on", "off"]
LevelChoice = Literal["listing", "directory", "scrub", "read"]


def init(
    repo: str,
    padding: PaddingChoice,
    parity: ParityChoice | None,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Create a repository; asks for the passphrase twice on a terminal."""
    from repository import create_repository

    secret = arguments.passphrase(passphrase_file, twice=True)
    places = arguments.places(cache_dir, state_dir)
    with create_repository(repo, secret, places=places, padding=padding, parity=parity) as made:
        if json:
            print_json(
                {
                    "repository": made.id,
                    "compare_and_swap": made.config.compare_and_swap,
                    "parity": made.config.parity,
                }
            )
            return DONE
        say(f"repository {made.id} is ready at {repo}")
        say("keep the passphrase safe: without it nothing can ever be read back")
        if not made.config.compare_and_swap:
            complain("note: this storage lacks compare-and-swap: use one writer at a time")
    return DONE


def info(
    repo: str,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Version, keys, writers, restore points."""
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


def verify(
    repo: str,
    level: LevelChoice,
    read_data: bool,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Check what is stored; changes nothing."""
    if read_data:
        level = "read"
    if level == "scrub":
        return _scrub(repo, json=json)
    with (
        arguments.opened(
            repo, passphrase_file, cache_dir, state_dir, soon="repository.verify"
        ) as opened,
        progress_bar("verifying", quiet=json) as bar,
    ):
        report = opened.verify(
            level, lambda done, all_, read: bar.update(done, all_, size_text(read))
        )
    if json:
        print_json({**_plain(report), "ok": report.ok})
        return DONE if report.ok else FAILED
    for problem in report.problems:
        complain(f"{problem.name}: {problem.detail} ({problem.code})")
    for affected in report.affected:
        complain(f"affected: {affected}")
    verdict = "no problem found" if report.ok else f"{len(report.problems)} problems"
    say(
        f"{verdict}: {report.objects} objects, {report.packs} packs, {report.chunks} chunks, "
        f"{report.points} restore points, {size_text(report.bytes_read)} read at level {level}"
    )
    if not report.ok:
        complain("the repository was not changed; restore what is affected from another copy")
    return DONE if report.ok else FAILED


def _plain(report: object) -> dict[str, object]:
    import dataclasses

    assert dataclasses.is_dataclass(report)
    return {f.name: getattr(report, f.name) for f in dataclasses.fields(report)}


def _scrub(repo: str, *, json: bool) -> int:
    from repository.blobstore.addresses import open_store
    from repository.scrub import scrub

    store = open_store(repo)
    with progress_bar("scrubbing", quiet=json) as bar:
        report = scrub(store, bar.update)
    if json:
        print_json({**_plain(report), "ok": not report.damaged})
    else:
        for name in report.damaged:
            complain(f"{name}: its bytes are not those its name says (object-corrupt)")
        verdict = (
            f"{len(report.damaged)} objects are damaged" if report.damaged else "no problem found"
        )
        say(
            f"{verdict}: {report.objects} objects, {size_text(report.bytes_read)} read at level scrub"
        )
    return FAILED if report.damaged else DONE
