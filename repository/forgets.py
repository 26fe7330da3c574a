"""Asking for restore points to go, and keeping them from it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from engine.collection import point_id
from engine.commit import ForgetForm, GenerationForm, encode
from engine.errors import Conflict, NotFound, Unavailable
from engine.keys import SALT_BYTES
from engine.seal import ObjectClass, seal_object
from repository import ambient
from repository.layout import forget_name, generation_name

if TYPE_CHECKING:
    from repository.repository import Repository

PUBLISH_ATTEMPTS_MAX = 20
REASON_CHARACTERS_MAX = 200


def forget(repository: "Repository", points: Sequence[str], items_from_ns: int | None) -> None:
    """See `Repository.forget`."""
    state = repository.refresh()
    known = {point_id(point) for point in state.points}
    for point in points:
        if point not in known:
            raise NotFound(
                f"there is no restore point {point}: `strongroom points` lists them",
                code="point-not-found",
            )
        if point in state.generation.holds:
            raise Conflict(
                f"restore point {point} is held ({state.generation.holds[point]}): "
                "`strongroom hold remove` first",
                code="point-held",
            )
    if points or items_from_ns is not None:
        name = forget_name(ambient.random_bytes(16).hex())
        plain = encode(ForgetForm(tuple(dict.fromkeys(points)), items_from_ns))
        salt = ambient.random_bytes(SALT_BYTES)
        stored = seal_object(
            repository.keys, ObjectClass.FORGET, repository.uuid, salt, plain, name
        )
        repository.store.put_new(name, stored)


def hold(repository: "Repository", point: str, reason: str) -> None:
    """See `Repository.hold`."""

    def held(generation: GenerationForm) -> GenerationForm:
        if point not in {point_id(name) for name in repository.state.points}:
            raise NotFound(
                f"there is no restore point {point}: `strongroom points` lists them",
                code="point-not-found",
            )
        holds = {**generation.holds, point: reason[:REASON_CHARACTERS_MAX]}
        return msgspec.structs.replace(generation, holds=holds)

    _publish_change(repository, held)


def release(repository: "Repository", point: str) -> None:
    """See `Repository.release`."""

    def released(generation: GenerationForm) -> GenerationForm:
        if point not in generation.holds:
            raise NotFound(f"restore point {point} is not held", code="hold-not-found")
        holds = {name: why for name, why in generation.holds.items() if name != point}
        return msgspec.structs.replace(generation, holds=holds)

    _publish_change(repository, released)


def _publish_change(
    repository: "Repository", change: Callable[[GenerationForm], GenerationForm]
) -> None:
    """Publish the newest generation with a change in it, computed anew as long as another one comes first."""
    for _ in range(PUBLISH_ATTEMPTS_MAX):
        generation = repository.refresh().generation
        changed = change(generation)
        following = msgspec.structs.replace(changed, number=generation.number + 1)
        if publish(repository, following):
            repository.refresh()
            return
    raise Unavailable(
        "other collectors publish all the time: run again later", code="generation-contended"
    )


def publish(repository: "Repository", generation: GenerationForm) -> bool:
    """
    Create `gc/<n>`; False if another one has the number: compute anew.

    Raises: Unavailable if it is not known to have arrived. What it names must then be left alone: it may still arrive.
    """
    name = generation_name(generation.number)
    salt = ambient.random_bytes(SALT_BYTES)
    stored = seal_object(
        repository.keys, ObjectClass.GENERATION, repository.uuid, salt, encode(generation), name
    )
    try:
        repository.store.put_new(name, stored)
    except (Conflict, Unavailable) as error:
        try:
            return repository.store.get(name) == stored
        except NotFound:
            raise error from None
    return True
