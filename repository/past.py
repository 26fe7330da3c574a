"""
A repository as it was at a time, for restore after an attack: read from the versions that the store kept.

Everything that lay in the store then counts: points, manifests and runs that cells and generations of that time name, and
those that none names. So it opens too when cells and generations are gone or garbage, which nothing locks. What was forgotten
or not yet committed is shown as well, as far as it is there. What this machine has seen since is neither asked nor changed.
"""

import re
import tempfile
from collections.abc import Iterable
from dataclasses import replace as replaced
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import msgspec

from engine.commit import GENERATION_ZERO
from engine.errors import Corruption, NotFound, Unsupported, UsageError
from engine.manifest import PointForm
from engine.run import decode_run
from repository.blobstore.asof import AsOfStore, not_written
from repository.blobstore.locks import lock_store
from repository.blobstore.protocol import BlobStore
from repository.cellcheck import CellCheck
from repository.keyring import Keyring
from repository.layout import MANIFESTS, PACKS, POINTS, RUNS, pack_name
from repository.points import Damaged, in_order
from repository.repository import Repository, open_keys
from repository.settings import ConfigForm, Places
from repository.state import State, newest_generation, state_of
from repository.unlocking import Credential

_ID = re.compile(r"[0-9a-f]{64}")
_FORMS = {MANIFESTS: _ID, RUNS: _ID, POINTS: re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}")}


class PastRepository(Repository):
    """See the module head. Made by `open_past`."""

    def __init__(
        self,
        store: BlobStore,
        keyring: Keyring,
        config: ConfigForm,
        places: Places,
        memory: "tempfile.TemporaryDirectory[str]",
    ) -> None:
        self._memory = memory
        super().__init__(store, keyring, config, places, lenient=True)

    def close(self) -> None:
        """Let go of the local cache and of what was remembered."""
        super().close()
        self._memory.cleanup()

    def points(self, damaged: Damaged | None = None) -> list[PointForm]:
        """All restore points of then, forgotten ones too. See Repository."""
        found = self.read_points(self.state.points, {} if damaged is None else damaged)
        return in_order(found.values())

    def write_session(self, identity: str | None = None, scope: str | None = None) -> NoReturn:
        """Denied(store-past)."""
        raise not_written(self.store.describe())

    def lost_cells(self, listed: Iterable[str], check: CellCheck) -> dict[str, int]:
        """None: nothing of this state rests on cells."""
        return {}

    def _read_state(self) -> State:
        try:
            generation = newest_generation(self.store, self.keys, self.uuid)
        except (Corruption, NotFound, Unsupported, UsageError):
            generation = GENERATION_ZERO  # somebody changed what nothing locks
        names = {prefix: self._named(prefix, form) for prefix, form in _FORMS.items()}
        everything = msgspec.structs.replace(
            generation,
            manifests=names[MANIFESTS],
            runs=names[RUNS],
            points=names[POINTS],
            dropped={},
            condemned={},
            dead=(),
        )
        return state_of({}, everything, frozenset(self._gone(names[RUNS])))

    def _named(self, prefix: str, form: re.Pattern[str]) -> tuple[str, ...]:
        """What lies below a prefix; what nobody of us named so is left out."""
        found = (blob.name.removeprefix(prefix) for blob in self.store.list(prefix))
        return tuple(name for name in found if form.fullmatch(name))

    def _gone(self, runs: tuple[str, ...]) -> set[str]:
        """Packs that runs mention and that were not there: old runs, of which merged ones took the place, mention some."""
        there = {blob.name for blob in self.store.list(PACKS)}
        mentioned: set[str] = set()
        for run in runs:
            try:
                packs = decode_run(self.load_run(run)).packs
            except (Corruption, NotFound):
                continue  # lost, as the lenient opening finds too
            mentioned.update(pack_name(object_class, pack) for pack, object_class in packs)
        return mentioned - there


def open_past(
    store: BlobStore, credential: Credential, places: Places, moment: datetime
) -> Repository:
    """
    Open a repository as it was.

    Args:
        credential: one that opened it then. moment: UTC.

    Raises: as `open_repository`; NotFound(repository-not-found): there was none. Unsupported: no versions are kept.
    """
    past = AsOfStore(lock_store(store), moment, store.describe(), store.calls_at_once())
    memory = tempfile.TemporaryDirectory(prefix="strongroom-")
    try:
        apart = replaced(places, cache_dir=places.cache_dir / "past", state_dir=Path(memory.name))
        config, keyring = _opened(past, credential, apart)
        return PastRepository(past, keyring, config, apart, memory)
    except BaseException:
        memory.cleanup()
        raise


def _opened(past: AsOfStore, credential: Credential, places: Places) -> tuple[ConfigForm, Keyring]:
    try:
        return open_keys(past, credential, places)
    except NotFound as error:
        raise NotFound(
            f"{past.describe()} was not a Strongroom repository: give a later time",
            code="repository-not-found",
        ) from error
