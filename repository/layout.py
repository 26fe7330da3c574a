"""Object class to object name; docs/format.md, "Objects"."""

from engine.errors import Corruption, UsageError
from engine.ids import ObjectId, WriterId, object_id, writer_id
from engine.seal import ObjectClass

CONFIG = "config"
PROBE = "probe"
KEYS = "keys/"
PACKS = "pack/"
RUNS = "run/"
MANIFESTS = "manifest/"
POINTS = "point/"
CELLS = "sess/"
GENERATIONS = "gc/"
FORGETS = "forget/"
DAMAGED = "damaged/"  # followed by the name of a pack that could not be repaired
LOCKS = "lock/"
GENERATION_DIGITS = 10
LOCK_DIGITS = 5

_PACK_LETTER = {ObjectClass.DATA_PACK: "d", ObjectClass.METADATA_PACK: "m"}


def pack_name(object_class: ObjectClass, pack: ObjectId) -> str:
    """pack/<d|m>/<first two digits>/<id>."""
    return f"{PACKS}{_PACK_LETTER[object_class]}/{pack[:2]}/{pack}"


def parse_pack_name(name: str) -> tuple[ObjectClass, ObjectId]:
    """Reverse of `pack_name`; Corruption if a foreign object lies there."""
    for object_class, letter in _PACK_LETTER.items():
        if name.startswith(f"{PACKS}{letter}/"):
            return object_class, object_id(name.rpartition("/")[2])
    raise Corruption(f"{name} is not a pack", code="name-corrupt")


def run_name(run: str) -> str:
    """run/<id>."""
    return f"{RUNS}{object_id(run)}"


def manifest_name(manifest: str) -> str:
    """manifest/<id>."""
    return f"{MANIFESTS}{object_id(manifest)}"


def point_name(point: str) -> str:
    """point/<id>-<random>; or what all objects of a point begin with, if only (a prefix of) its id is given."""
    return f"{POINTS}{point}"


def forget_name(forget: str) -> str:
    """forget/<32 hex>."""
    return f"{FORGETS}{forget}"


def cell_name(writer: WriterId) -> str:
    """sess/<writer>."""
    return f"{CELLS}{writer}"


def cell_writer(name: str) -> WriterId:
    """Reverse of `cell_name`; Corruption if a foreign object lies there."""
    try:
        return writer_id(name.removeprefix(CELLS))
    except UsageError as error:
        raise Corruption(f"{name} is not a cell: take it away", code="name-corrupt") from error


def generation_number(name: str) -> int:
    """Reverse of `generation_name`; Corruption if a foreign object lies there."""
    digits = name.removeprefix(GENERATIONS)
    if not digits.isdecimal() or len(digits) != GENERATION_DIGITS:
        raise Corruption(f"{name} is not a generation: take it away", code="name-corrupt")
    return int(digits)


def generation_name(number: int) -> str:
    """gc/<number>, ten digits, so that names sort as numbers."""
    return f"{GENERATIONS}{number:0{GENERATION_DIGITS}d}"


def lock_name(days: int) -> str:
    """lock/<days>, five digits."""
    return f"{LOCKS}{days:0{LOCK_DIGITS}d}"
