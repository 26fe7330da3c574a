"""Which restore points are copied: those of each series that are newer than its newest copy, unless others are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from engine.collection import point_id
from engine.errors import Conflict, ScopeClosed, Unsupported, UsageError
from engine.manifest import PointForm
from repository.points import Damaged, resolve_point
from repository.scopes import point_scopes, require_open
from repository.tree import WORKLOAD as TREE

if TYPE_CHECKING:
    from repository.repository import Repository


@dataclass(frozen=True, slots=True)
class Selection:
    """
    What is asked for.

    Attributes:
        points: as of a POINT argument; empty: all. last: of each name only so many, the newest. name: a pattern (*, ?).
        again: also points older than the newest copy of their name: forgotten in the copy, or left out before.
    """

    points: Sequence[str] = ()
    last: int | None = None
    name: str | None = None
    again: bool = False


@dataclass(slots=True)
class Plan:
    """
    Restore points of the original, oldest first.

    Attributes:
        wanted: to be copied. present: those asked for that are copied already. older: left out, as of `Selection.again`.
        damaged: those that cannot be read. closed: those asked for that are in a scope which is not open here, and why.
        scopes: of each wanted one the name of its scope, empty for none.
    """

    wanted: list[PointForm] = field(default_factory=list)
    present: list[PointForm] = field(default_factory=list)
    older: list[PointForm] = field(default_factory=list)
    damaged: Damaged = field(default_factory=dict)
    closed: dict[str, str] = field(default_factory=dict)
    scopes: dict[str, str] = field(default_factory=dict)


def require_two(source: "Repository", target: "Repository") -> None:
    """UsageError if both are one repository, or copies of its files."""
    if source.id == target.id:
        raise UsageError(
            "both addresses are the same repository: make another one with `strongroom repo init`",
            code="copy-same-repository",
        )


def plan_copy(source: "Repository", target: "Repository", selection: Selection) -> Plan:
    """
    Choose, from the state of both as of now.

    Raises:
        UsageError(copy-same-repository). NotFound, UsageError: a POINT names none. Conflict(copy-point-forgotten): one asked
        for by name is forgotten in the copy, and not collected yet.
    """
    require_two(source, target)
    source.refresh()
    target.refresh()
    plan = Plan()
    points = source.points(plan.damaged)
    copied = {point.id for point in target.points({})}
    held = {point_id(point) for point in target.state.points}  # the forgotten ones too
    newest: dict[str, tuple[str, str]] = {}
    for point in points:
        if point.id in held:
            newest[point.name] = (point.created_at, point.id)
    explicit = {resolve_point(points, text, plan.damaged).id for text in selection.points}
    for point in _selected(points, selection, explicit):
        if point.id in copied:
            plan.present.append(point)
        elif point.id in held and (explicit or selection.again):
            raise Conflict(
                f"restore point {point.id} is forgotten in the copy: collect there first, then copy it again",
                code="copy-point-forgotten",
            )
        elif (
            explicit
            or selection.again
            or (point.created_at, point.id) > newest.get(point.name, ("", ""))
        ):
            plan.wanted.append(point)
        else:
            plan.older.append(point)
    _require_room(target, plan)
    _choose_scopes(source, target, plan)
    return plan


def _choose_scopes(source: "Repository", target: "Repository", plan: Plan) -> None:
    """
    What is in a scope goes into the scope of that name in the copy, which must be there and open. What is closed is left out.

    Raises: NotFound(scope-not-found), ScopeClosed: of the copy. Unsupported(scope-several): a restore point of several scopes.
    """
    wanted, plan.wanted = plan.wanted, []
    for point in wanted:
        ids = point_scopes(source, point)
        try:
            names = [require_open(source, scope_id) for scope_id in sorted(ids) if scope_id]
        except ScopeClosed as error:
            plan.closed[point.id] = error.message
            continue
        if len(ids) > 1:
            raise Unsupported(
                f"restore point {point.id} has something of several scopes: such a one is not copied",
                code="scope-several",
            )
        plan.scopes[point.id] = name = "".join(names)
        if name:
            require_open(target, target.keyring.scope(name).id)
        plan.wanted.append(point)


def _require_room(target: "Repository", plan: Plan) -> None:
    """UsageError if the target drops items by age and a tree is to come: its files may be old already."""
    trees = any(entry.workload == TREE for point in plan.wanted for entry in point.entries)
    if trees and target.state.generation.items_from_ns is not None:
        raise UsageError(
            "the copy drops items by their age, and files may be old when they come: copy trees into another repository",
            code="item-period-unfit",
        )


def _selected(
    points: Sequence[PointForm], selection: Selection, explicit: set[str]
) -> list[PointForm]:
    """Points asked for, whether they are copied already or not; oldest first."""
    chosen = [p for p in points if not explicit or p.id in explicit]
    if selection.name is not None:
        chosen = [p for p in chosen if fnmatchcase(p.name, selection.name)]
    if selection.last is not None:
        left: dict[str, int] = {}
        kept = []
        for point in reversed(chosen):
            left[point.name] = left.get(point.name, selection.last) - 1
            if left[point.name] >= 0:
                kept.append(point)
        chosen = kept[::-1]
    return chosen
