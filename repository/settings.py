"""What a user chooses when a repository is made or opened, and what `config` keeps of it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from engine.chunker import CHUNKER_NAME
from engine.errors import Corruption, Unsupported, UsageError
from engine.limits import CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CHUNK_BYTES_NORMAL
from engine.version import FORMAT_VERSION, SUITE, require_readable


@dataclass(frozen=True, slots=True)
class Places:
    """
    Folders of this machine, outside the repository.

    Attributes:
        cache_dir: index cache; losing it costs time only.
        state_dir: identities of writers and what was seen of the store; losing it weakens the notice of old states.
    """

    cache_dir: Path
    state_dir: Path


def default_places() -> Places:
    """XDG folders of this user."""
    home = Path.home()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    state = Path(os.environ.get("XDG_STATE_HOME") or home / ".local/state")
    return Places(cache / "strongroom", state / "strongroom")


Padding = Literal["padme", "none"]  # whether a pack's length is rounded up, so that it says little
LOCK_DAYS_MAX = 36500
Parity = Literal["on", "off"]  # whether a pack can be repaired from its own bytes


class ChunkerForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How parts are cut: name of the algorithm, sizes in bytes."""

    name: str = CHUNKER_NAME
    min: int = CHUNK_BYTES_MIN
    normal: int = CHUNK_BYTES_NORMAL
    max: int = CHUNK_BYTES_MAX


class LockForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How objects are locked, and for how many days at least from the begin; `lock/` may say more."""

    mode: Literal["compliance", "governance"]
    days: Annotated[int, msgspec.Meta(ge=1, le=LOCK_DAYS_MAX)]


class ConfigForm(msgspec.Struct, frozen=True):
    """`config`: JSON in clear. `features` names what a program must know to do each kind of work."""

    strongroom: str
    format: int
    suite: int
    repository: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    created_at: str
    compare_and_swap: bool
    chunker: ChunkerForm = ChunkerForm()
    padding: Padding = "padme"
    parity: Parity = "off"
    features: dict[str, list[str]] = {}
    lock: LockForm | None = None


def new_config(
    repository: str,
    created_at: str,
    *,
    compare_and_swap: bool,
    padding: Padding = "padme",
    parity: Parity = "off",
    lock: LockForm | None = None,
) -> bytes:
    """Stored bytes of the configuration of a new repository."""
    form = ConfigForm(
        "repository",
        FORMAT_VERSION,
        SUITE,
        repository,
        created_at,
        compare_and_swap,
        padding=padding,
        parity=parity,
        lock=lock,
    )
    return msgspec.json.format(msgspec.json.encode(form), indent=1)


def read_config(data: bytes, where: str) -> ConfigForm:
    """
    Understand a stored configuration.

    Raises:
        UsageError: something else's repository. Unsupported: a newer program's. Corruption: damaged.
    """
    try:
        head = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        head = None
    if not isinstance(head, dict) or head.get("strongroom") != "repository":
        raise UsageError(
            f"{where} is not a Strongroom repository (its config is of another program or damaged)",
            code="repository-foreign",
        )
    if isinstance(head.get("format"), int) and isinstance(head.get("suite"), int):
        try:
            require_readable(head["format"], head["suite"])
        except Unsupported as error:
            raise Unsupported(f"config of {where}: {error.message}", code=error.code) from error
    try:
        form = msgspec.json.decode(data, type=ConfigForm)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corruption(f"the config of {where} is damaged", code="config-corrupt") from error
    if form.chunker.name != CHUNKER_NAME or any(form.features.values()):
        raise Unsupported(
            f"the config of {where} names features this program lacks: use a newer strongroom",
            code="format-newer",
        )
    return form
