"""
The write session: one writer, its cell, one turn after the other (docs/format.md, "Commit").

begin   swap the own cell to the next active turn, *then* read generation, cells and runs
store   chunks that are in no usable pack go to new packs
commit  packs, then runs, then the manifest, then swap the cell: the only commit point

A session whose turn was revoked, or that met a failure while storing, is broken: it raises Fenced or the failure at every
call, and the work goes on in a new session from the last committed checkpoint.
"""

import threading
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from typing_extensions import Buffer

from engine import commit as protocol
from engine.catalog import encode_catalog_part, level_of, parts_to_merge
from engine.chunker import ChunkerParams, keyed_table
from engine.collection import point_id
from engine.commit import CellForm, CommitForm
from engine.errors import BackupError, Conflict, Fenced, NotFound
from engine.ids import WriterId
from engine.manifest import (
    CatalogPart,
    EntryForm,
    EntryRef,
    ManifestForm,
    ObjectKey,
    PointForm,
    encode_manifest,
    entries_root,
    part_form,
    part_from,
    public_key_of,
)
from engine.pack import DirectoryFrame
from engine.parts import Part
from engine.run import RunPack, encode_run, split_packs
from engine.scope import Scope
from engine.seal import ObjectClass
from engine.version import FORMAT_VERSION
from repository import ambient
from repository.catalogs import WALK_COLUMNS, Catalog, merged_part
from repository.cellcheck import CellCheck, lost_cell
from repository.entries import Entry
from repository.intake import Intake, StoredParts, as_failure
from repository.layout import manifest_name, pack_name, run_name
from repository.own_cell import OwnCell
from repository.packer import Packer
from repository.part_writer import PartWriter
from repository.points import PointDraft, put_point, read_point
from repository.session_scope import SessionScope
from repository.slices import Pending, Slice
from repository.state import read_generation

if TYPE_CHECKING:
    from repository.repository import Repository


@dataclass(frozen=True, slots=True)
class Commit:
    """A durable commit: its manifest and the entry of every slice in it."""

    manifest: str
    entries: dict[Slice, EntryRef]
    bytes_stored: int


class WriteSession:
    """See the module head. `store`, `open_part` and slices from any thread; one commit at a time."""

    def __init__(
        self,
        repository: "Repository",
        writer: WriterId,
        release: Callable[[], None],
        scope: Scope | None = None,
    ) -> None:
        self.scope = SessionScope(repository.keyring, scope)
        self._repository = repository
        self._writer = writer
        self._release = release
        self._keys = repository.keys
        self._uuid = repository.uuid
        form = repository.config.chunker
        epoch = self.scope.frame_epoch(self._keys)
        table = keyed_table(self._keys.chunker_key_of(epoch))
        chunker = ChunkerParams(table, form.min, form.normal, form.max)
        self._lock = threading.RLock()
        self._commit_lock = threading.Lock()
        self._data = self.scope.packer(repository, self._keys, ObjectClass.DATA_PACK)
        self._metadata = self.scope.packer(repository, self._keys, ObjectClass.METADATA_PACK)
        self._intake = Intake(
            repository.index,
            lambda: repository.state.usable(),
            chunker,
            self._keys.id_key_of(epoch),
        )
        self._slices: list[Slice] = []
        self._own = OwnCell(repository.store, self._keys, self._uuid, writer)
        self._begun = self._begun_before = 0  # read when this turn and the one before it began
        self._decided = 0  # and what waits for a commit was decided under this one or a later one
        self._begin()

    # -- turns -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        """
        Swap the cell to the next active turn, then read what counts.

        A cell behind its watermark, as after a copy of the repository, shows only then: it begins again, above. Where it
        names less than there is it must not: that would hide that the cell is lost.
        """
        before = self._own.read()
        if before is None or before.turn < self._watermark:
            self._require_nothing_lost()
        begun = protocol.begin(before, self._writer, self._watermark)
        self._swap(begun)
        generation = self._repository.refresh().generation
        if self._watermark >= begun.turn:
            self._begin()
            return
        self._begun = self._begun_before = self._decided = generation.number

    @property
    def _watermark(self) -> int:
        """Highest turn of this writer that was folded, as far as known."""
        return self._repository.state.generation.watermarks.get(self._writer, 0)

    def _require_nothing_lost(self) -> None:
        """Corruption(cell-missing) if manifests show turns above the watermark that the cell does not know of."""
        check = CellCheck(self._repository)
        if check.lost_turn(self._writer) > self._watermark:
            self._repository.refresh()
            if (turn := check.lost_turn(self._writer)) > self._watermark:
                raise lost_cell(self._writer, turn)

    @property
    def writer(self) -> WriterId:
        """Its permanent name."""
        return self._writer

    def _swap(self, cell: CellForm, committed: CommitForm | None = None) -> None:
        """See `OwnCell.swap`."""
        if (ended := self._own.swap(cell, committed)) is not None:
            self._failure = ended

    @property
    def _cell(self) -> CellForm:
        """The cell as of the last swap."""
        assert self._own.form is not None
        return self._own.form

    # -- storing ---------------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        """The collector generation that references are decided under."""
        return self._repository.state.generation.number

    @property
    def bytes_stored(self) -> int:
        """Bytes of packs stored by this session so far."""
        return self._data.bytes_stored + self._metadata.bytes_stored

    def store(self, role: str, data: Buffer) -> Part:
        """Chunk, deduplicate and queue one part; returns before it is durable."""
        self._raise_failure()
        return self._intake.store_part(role, data, self._data, self.generation)

    def store_many(self, data: Buffer, part_spans: "array[int]") -> StoredParts:
        """
        Chunk, deduplicate and queue many small parts at once.

        Args:
            part_spans: where they lie in `data`, flat pairs of start and end.
        """
        self._raise_failure()
        return self._intake.store(data, part_spans, self._data)

    def open_part(self, role: str, turns: "threading.Lock | None" = None) -> "PartWriter":
        """A part of any size, written piece by piece; `turns`: see `PartWriter`."""
        return PartWriter(self._intake, self._data, role, self.generation, turns)

    def _confirm(self, parts: Sequence[Part]) -> None:
        """Decide references of an earlier generation again."""
        for part in parts:
            if part.generation in (self.generation, -1):
                continue
            if not self._intake.holds(part.chunks):
                raise Conflict("a part must be stored again", code="part-stale")

    @property
    def _failure(self) -> BackupError | None:
        """What broke the session."""
        return self._intake.failure

    @_failure.setter
    def _failure(self, error: BackupError) -> None:
        self._intake.failure = error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    # -- slices ----------------------------------------------------------------------------------

    def open_slice(
        self,
        key: ObjectKey,
        workload: str,
        session: str,
        *,
        previous: Entry | None = None,
        parents: tuple[EntryRef, ...] | None = None,
        walk: bool = False,
    ) -> Slice:
        """
        Begin (or go on with) an object's workload.

        Args:
            session: id of the job session, kept in the entries.
            previous: the entry whose rows and checkpoint are taken over; None starts empty.
            parents: all heads that the next entry follows; by default `previous` alone.
            walk: rows come by `advance_table`, each id once, and nothing is asked of them later: what was added is not
                kept in memory, and of earlier rows only ids and versions are.

        Raises: Conflict(slice-open) while another slice of the same object and workload waits for its last commit.
            UsageError(scope-mixed): `previous` is of another scope than this session, see `SessionScope.ground`.
        """
        catalog, checkpoint = Catalog(), None
        self.scope.require_own(previous)
        if previous is not None:
            catalog = self._repository.catalog(previous, WALK_COLUMNS if walk else None)
            checkpoint = self._repository.checkpoint(previous)
        self._require_free(key, workload)
        with self._commit_lock:
            self._raise_failure()
            self._resume()
        if parents is None:
            parents = () if previous is None else (previous.ref,)
        made = Slice(
            key,
            workload,
            session,
            previous=previous,
            parents=parents,
            catalog=catalog,
            checkpoint=checkpoint,
            confirm=self._confirm,
            walk=walk,
        )
        with self._lock:
            self._require_free(key, workload)
            self._slices.append(made)
        return made

    def _require_free(self, key: ObjectKey, workload: str) -> None:
        """A commit has one entry for an object and workload."""
        for other in self._slices:
            if (other.object.kind, other.object.id, other.workload) == (key.kind, key.id, workload):
                raise Conflict(
                    f"{key.name}/{workload} has an open slice: finish and commit it, or drop it",
                    code="slice-open",
                )

    def drop_slice(self, slice_: Slice) -> None:
        """Forget a slice whose task failed; what it did not commit is not kept."""
        with self._lock:
            if slice_ in self._slices:
                self._slices.remove(slice_)

    @property
    def pending_rows(self) -> int:
        """Rows that wait for a commit, over all slices."""
        with self._lock:
            return sum(slice_.pending_rows for slice_ in self._slices)

    # -- commit ----------------------------------------------------------------------------------

    def commit(self) -> Commit | None:
        """
        Make every slice's news durable and begin the next turn; None if there is nothing to say.

        Raises: Fenced when the turn was revoked; Unavailable or Denied when storing failed. The session is broken then.
        """
        with self._commit_lock:
            with self._lock:
                self._raise_failure()
                taken = [(s, p) for s in self._slices if (p := s.take()) is not None]
            if not taken:
                return None
            try:
                self._resume()
                return self._commit(taken)
            except BaseException as error:
                # what was flushed is named by nothing: going on would refer to chunks that no run has
                self._failure = as_failure(error)
                raise

    def _commit(self, taken: list[tuple[Slice, Pending]]) -> Commit:
        before = self.bytes_stored
        self._confirm_pending(taken)
        built = [self._entry(slice_, pending) for slice_, pending in taken]
        runs = self._flush_runs()
        self.scope.require_open()
        entries = tuple(form for form, _ in built)
        manifest = self._store_manifest(runs, entries)
        self._publish(manifest, runs)
        self._decided = self._begun_before  # restore points end turns too, but take nothing along
        with self._lock:
            refs = {}
            for index, ((slice_, pending), (_, catalog)) in enumerate(
                zip(taken, built, strict=True)
            ):
                ref = EntryRef(manifest, index)
                slice_.committed(pending, self._repository.entries.get(ref), catalog)
                refs[slice_] = ref
            ended = {slice_ for slice_, pending in taken if pending.last}
            self._slices = [s for s in self._slices if s not in ended]
        return Commit(manifest, refs, self.bytes_stored - before)

    def _confirm_pending(self, taken: Sequence[tuple[Slice, Pending]]) -> None:
        """
        Decide again what was decided in earlier turns, if a generation came between. Fenced if it does not hold.

        What a collection took away is not to be had in this session: its table of chunks says otherwise. An entry that is gone
        on from may have been found at any time before.
        """
        for slice_, pending in taken:
            try:
                if slice_.previous is not None:
                    self._repository.entries.get(slice_.previous.ref)
            except NotFound as error:
                raise _collected() from error
            if self._begun != self._decided and not self._intake.holds(pending.references()):
                raise _collected()

    def _flush_runs(self) -> tuple[str, ...]:
        """Store what is queued, and the runs that name it. Fenced if a pack of the turn before was condemned meanwhile."""
        packs = self._intake.flush((self._data, self._metadata))
        names = {pack_name(pack.object_class, pack.pack) for pack in packs}
        for number in range(self._begun_before + 1, self._begun + 1) if names else ():
            passed = read_generation(self._repository.store, self._keys, self._uuid, number)
            if passed.stub or not names.isdisjoint({*passed.condemned, *passed.dead}):
                raise _collected()
        return tuple(self._store_run(part) for part in split_packs(packs))

    def copy_frame(self, object_class: ObjectClass, frame: DirectoryFrame, stored: bytes) -> None:
        """Queue a sealed frame of another pack for `commit_copies`."""
        self._raise_failure()
        self._intake.copy_frame(frame, stored, self._packer_of(object_class))

    def copy_chunks(
        self, object_class: ObjectClass, data: bytes, chunk_spans: "array[int]", refs: bytes
    ) -> None:
        """Queue some chunks for `commit_copies`, although they are stored elsewhere."""
        self._raise_failure()
        self._intake.copy_chunks(data, chunk_spans, refs, self._packer_of(object_class))

    def _packer_of(self, object_class: ObjectClass) -> Packer:
        return self._data if object_class == ObjectClass.DATA_PACK else self._metadata

    def commit_copies(self) -> tuple[str, ...]:
        """Commit what was queued without entries: a collector's copies. The runs that name them from now on."""
        with self._commit_lock:
            self._raise_failure()
            try:
                self._resume()
                runs = self._flush_runs()
                self._publish(None, runs)
                return runs
            except BaseException as error:
                self._failure = as_failure(error)
                raise

    def _publish(
        self, manifest: str | None, runs: tuple[str, ...], points: tuple[str, ...] = ()
    ) -> None:
        """Swap the cell: this turn is committed, the next one active. Then read what counts."""
        cell = self._cell
        made = CommitForm(cell.turn, manifest, runs, points)
        self._swap(protocol.commit(cell, made, self._watermark, go_on=True), made)
        self._begun_before, self._begun = self._begun, self._repository.refresh().generation.number
        self._intake.committed()

    def seal_point(self, draft: PointDraft) -> PointForm:
        """
        Commit the restore point of a job session; if one with its id is there already, that one counts.

        An entry that a collection dropped since it was chosen gives way to the newest complete one of its object.

        Raises: Fenced when the turn was revoked. UsageError for a bad id.
        """
        with self._commit_lock:
            self._raise_failure()
            self._resume()
            repository = self._repository
            if not all(map(self._is_known, draft.entries)):
                repository.refresh()  # another writer committed it since this turn began
            for sealed in repository.state.points:
                if point_id(sealed) == draft.id:
                    return read_point(
                        repository.store, self._keys, repository.id, self._uuid, sealed
                    )
            self.scope.require_open()
            entries = [self._live(ref) for ref in draft.entries]
            sealed, form = put_point(
                repository.store, self._keys, repository.id, self._uuid, draft, entries
            )
            try:
                runs = self._flush_runs()
                if runs or self._slices:
                    self._publish(None, runs, (sealed,))
                else:
                    self._end_turn(sealed)
            except BaseException as error:
                self._failure = as_failure(error)
                raise
            return form

    def _is_known(self, ref: EntryRef) -> bool:
        """Whether an entry is live in the state that counts for this turn."""
        try:
            self._repository.entries.get(ref)
        except BackupError:
            return False
        return True

    def _end_turn(self, point: str) -> None:
        """Swap the cell: this turn is committed, and as nothing waits for a commit no other one begins. Nothing is read."""
        cell = self._cell
        made = CommitForm(cell.turn, None, (), (point,))
        ended = protocol.commit(cell, made, self._watermark, go_on=False)
        self._swap(ended, made)
        self._repository.take_own(ended)

    def _resume(self) -> None:
        """
        Begin the next turn if the last one ended with a restore point, and read what counts.

        What was stored in between was decided under what was read before, as if it belonged to the turn that ended.
        """
        cell = self._cell
        if cell.state == "idle":
            self._swap(protocol.begin(cell, self._writer, self._watermark))
            begun = self._repository.refresh().generation.number
            self._begun_before, self._begun = self._begun, begun

    def _live(self, ref: EntryRef) -> Entry:
        """The entry, or the newest complete one of its object if a collection dropped it. NotFound."""
        entries = self._repository.entries
        try:
            return entries.get(ref)
        except NotFound:
            dropped = self._repository.load_manifest(ref.manifest).entries[
                ref.index : ref.index + 1
            ]
            if not dropped:
                raise
            key = dropped[0].object
            newest = entries.newest_complete(key.kind, key.id, dropped[0].workload)
            if newest is None:
                raise
            return newest

    def _entry(self, slice_: Slice, pending: Pending) -> tuple[EntryForm, Catalog]:
        """The entry of a slice, its catalog parts stored."""
        parts = () if slice_.previous is None else slice_.previous.form.catalog
        catalog = slice_.committed_catalog
        table = pending.table()
        if table is not None:
            catalog = catalog.counted(table) if slice_.walk else catalog.with_part(table)
            level = level_of(table.num_rows, [part.level for part in parts])
            encoded = encode_catalog_part(table)
            newest = self._store_catalog_part(encoded, level, table.num_rows)
            parts = self._merge((*parts, newest), {newest.part.chunks: encoded})
        checkpoint = None
        if pending.checkpoint is not None:
            checkpoint = part_form(self._store_metadata("checkpoint", pending.checkpoint))
        totals = catalog.totals()
        form = EntryForm(
            object=slice_.object,
            workload=slice_.workload,
            session=slice_.session,
            complete=pending.complete,
            items=totals.items,
            bytes=totals.bytes,
            catalog=parts,
            checkpoint=checkpoint,
            parents=slice_.parents,
            scope=self.scope.id,
        )
        return form, catalog

    def _store_metadata(self, role: str, data: bytes) -> Part:
        return self._intake.store_as_is(role, data, self._metadata, self.generation)

    def _store_catalog_part(self, encoded: bytes, level: int, rows: int) -> CatalogPart:
        return CatalogPart(level, rows, part_form(self._store_metadata("catalog", encoded)))

    def _merge(
        self, parts: tuple[CatalogPart, ...], fresh: dict[str, bytes]
    ) -> tuple[CatalogPart, ...]:
        """Merge the newest parts while a level is full. `fresh`: parts that cannot be read from the store yet."""
        while count := parts_to_merge([part.level for part in parts]):
            older, newest = parts[:-count], parts[-count:]
            stored = (self._catalog_bytes(part, fresh) for part in newest)
            encoded, rows = merged_part(stored, oldest=not older)
            merged = self._store_catalog_part(encoded, newest[0].level + 1, rows)
            fresh[merged.part.chunks] = encoded
            parts = (*older, merged)
        return parts

    def _catalog_bytes(self, part: CatalogPart, fresh: dict[str, bytes]) -> bytes:
        held = fresh.get(part.part.chunks)
        return self._repository.reader.read_all(part_from(part.part)) if held is None else held

    def _store_run(self, packs: Sequence[RunPack]) -> str:
        return self._repository.store_sealed(ObjectClass.RUN, encode_run(packs), run_name)

    def _store_manifest(self, runs: tuple[str, ...], entries: tuple[EntryForm, ...]) -> str:
        cell = self._cell
        form = ManifestForm(
            format=FORMAT_VERSION,
            repository=self._repository.id,
            writer=self._writer,
            turn=cell.turn,
            created_at=ambient.now(),
            parents=tuple(c.manifest for c in cell.commits if c.manifest is not None)[-1:],
            runs=runs,
            entries=entries,
            root=entries_root(entries),
            public_key=public_key_of(self._keys.signing_seed),
        )
        plain = encode_manifest(form, self._keys.signing_seed)
        return self._repository.store_sealed(ObjectClass.MANIFEST, plain, manifest_name)

    def close(self) -> None:
        """End the turn without a commit; nobody waits for an idle writer. Threads stop, the identity is free."""
        with self._commit_lock:
            self._intake.close()
            self._data.close()
            self._metadata.close()
            try:
                cell = self._own.form
                if cell is not None and cell.state == "active" and self._failure is None:
                    self._swap(protocol.rest(cell))
            finally:
                self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _collected() -> Fenced:
    return Fenced(
        "a collection took away what this turn refers to: the work goes on from the last commit",
        code="turn-revoked",
    )
