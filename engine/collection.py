"""
The collector's part of the commit protocol, as pure functions (docs/format.md, "Collection").

read     forgets, cells, the newest generation, the listing, in this order
condemn  generation n+1: commits folded, forgets taken in, what nothing needs condemned with that number
drain    wait for every turn that was active after n+1, or revoke it
judge    read and mark again; a later generation says of what was condemned by then: needed after all, or dead
delete   what a published generation calls dead; decides nothing, anyone may repeat it

A generation is created under the number after the one it was computed from, or computed again from fresh reads.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from engine.commit import CellForm, CommitForm, ForgetForm, GenerationForm, LineageForm, unfolded


@dataclass(frozen=True, slots=True)
class View:
    """
    What a collector read, in the order of the attributes.

    Attributes:
        forgets: object name -> content. cells: writer -> cell. listed: names of the packs, runs, manifests and points.
    """

    forgets: Mapping[str, ForgetForm]
    cells: Mapping[str, CellForm]
    generation: GenerationForm
    listed: Collection[str]

    @property
    def commits(self) -> list[CommitForm]:
        """Commits that count besides the generation."""
        return unfolded(self.cells, self.generation)

    @property
    def points(self) -> tuple[str, ...]:
        """Restore points of the state, before these forgets."""
        found = dict.fromkeys(self.generation.points)
        found.update(dict.fromkeys(point for commit in self.commits for point in commit.points))
        return tuple(found)

    @property
    def runs(self) -> tuple[str, ...]:
        """Runs of the state, oldest first."""
        found = dict.fromkeys(self.generation.runs)
        found.update(dict.fromkeys(run for commit in self.commits for run in commit.runs))
        return tuple(found)


def kept_points(view: View) -> tuple[str, ...]:
    """Restore points of the state after these forgets; a held one is not forgotten."""
    forgotten = {point for forget in view.forgets.values() for point in forget.points}
    forgotten -= view.generation.holds.keys()
    return tuple(point for point in view.points if point_id(point) not in forgotten)


def point_id(point: str) -> str:
    """Id of the restore point in an object `point/<id>-<random>`."""
    return point.partition("-")[0]


def items_from_ns(view: View) -> int | None:
    """From when on items are kept, after these forgets; it only ever grows, and not while a restore point is held."""
    bounds = [view.generation.items_from_ns]
    if not view.generation.holds:
        bounds += [forget.items_from_ns for forget in view.forgets.values()]
    return max((bound for bound in bounds if bound is not None), default=None)


@dataclass(frozen=True, slots=True)
class Needs:
    """
    What marking found, as object names.

    Attributes:
        kept: what the state needs after this generation: packs with the kept location of each live chunk, runs,
            manifests, points.
        before: what it needed before the drops of this generation: any pack in which one of its chunks is found, and so on.
    """

    kept: Collection[str]
    before: Collection[str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Condemned objects with their numbers; objects newly dead."""

    condemned: dict[str, int]
    dead: tuple[str, ...]


def judge(view: View, needs: Needs, judged_through: int | None) -> Verdict:
    """
    Condemn what nothing needs, and judge what was condemned by a generation up to `judged_through`.

    Drops that this generation takes in count only for what it condemns itself: what was needed before them is condemned
    anew, because a writer that began since may still refer to it.

    Args:
        judged_through: the newest generation that was there before the turns waited for were read; None judges nothing.
    """
    generation = view.generation
    condemned: dict[str, int] = {}
    dead: list[str] = []
    for name in sorted({*view.listed, *generation.condemned}.difference(generation.dead)):
        if name in needs.kept:
            continue
        since = generation.condemned.get(name)
        if since is None or name in needs.before:
            condemned[name] = generation.number + 1
        elif judged_through is not None and since <= judged_through:
            dead.append(name)
        else:
            condemned[name] = since
    return Verdict(condemned, tuple(dead))


@dataclass(frozen=True, slots=True)
class Live:
    """What stays: manifests, numbers of their dropped entries, changed parents, names of points."""

    manifests: tuple[str, ...]
    dropped: dict[str, tuple[int, ...]]
    lineage: tuple[LineageForm, ...]
    points: tuple[str, ...]


def next_generation(
    view: View, live: Live, verdict: Verdict, runs: tuple[str, ...], replaced: tuple[str, ...] = ()
) -> GenerationForm:
    """
    The generation that folds every commit read, takes every forget in and publishes a verdict.

    Args:
        runs: the index from now on; none of them mentions a dead pack.
        replaced: names of run objects that merged ones stand for; they are dead at once.
    """
    before = view.generation
    watermarks = dict(before.watermarks)
    for writer, cell in view.cells.items():
        if cell.commits:
            watermarks[writer] = max(watermarks.get(writer, 0), cell.commits[-1].turn)
    ids = {point_id(point) for point in live.points}
    listed = set(view.listed)
    return GenerationForm(
        number=before.number + 1,
        manifests=live.manifests,
        dropped=live.dropped,
        lineage=live.lineage,
        points=live.points,
        holds={point: why for point, why in before.holds.items() if point in ids},
        watermarks=watermarks,
        runs=runs,
        condemned={n: since for n, since in verdict.condemned.items() if n not in replaced},
        dead=tuple(sorted({*(n for n in before.dead if n in listed), *verdict.dead, *replaced})),
        items_from_ns=items_from_ns(view),
    )


def turns_to_wait_for(cells: Mapping[str, CellForm]) -> dict[str, int]:
    """
    Turns active now, by writer.

    There is no exception for one's own: a collector's turn of copying has ended by then, and whoever uses its identity
    since is a writer like any other.
    """
    return {writer: cell.turn for writer, cell in cells.items() if cell.state == "active"}


def has_ended(cell: CellForm, turn: int) -> bool:
    """Whether the turn that was waited for is over."""
    return cell.turn != turn or cell.state != "active"
