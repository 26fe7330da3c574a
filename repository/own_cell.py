"""
A writer's own cell: read, and swapped for the next content (docs/format.md, "Commit").

A swap whose answer was lost is settled by the cell itself; whether it arrived is never assumed.
"""

from engine import commit as protocol
from engine.commit import CellForm, CommitForm
from engine.errors import BackupError, Conflict, Fenced, NotFound, Unavailable
from engine.ids import WriterId
from engine.keys import SALT_BYTES, KeySet
from engine.seal import ObjectClass, open_object, seal_object
from repository import ambient
from repository.blobstore.protocol import BlobStore
from repository.cellcheck import lost_cell
from repository.layout import cell_name

COMMIT_ATTEMPTS_MAX = 5


class OwnCell:
    """The cell of one writer. `form`: its content as of the last read or swap; None before the first turn."""

    def __init__(self, store: BlobStore, keys: KeySet, repository: bytes, writer: WriterId) -> None:
        self._store = store
        self._keys = keys
        self._repository = repository
        self._writer = writer
        self._name = cell_name(writer)
        self._tag: str | None = None
        self.form: CellForm | None = None

    def read(self) -> CellForm | None:
        """What is stored now; None if there is no cell."""
        try:
            stored, self._tag = self._store.get_tagged(self._name)
        except NotFound:
            self.form = None
        else:
            self.form = self._opened(stored)
        return self.form

    def swap(self, cell: CellForm, committed: CommitForm | None = None) -> BackupError | None:
        """
        Put `cell` in place of the one we know.

        The error that ends the session where its commit counts and somebody took the cell over all the same.

        Raises: Fenced, or Unavailable if it is not known to have arrived.
        """
        salt = ambient.random_bytes(SALT_BYTES)
        stored = seal_object(
            self._keys,
            ObjectClass.CELL,
            self._repository,
            salt,
            protocol.encode(cell),
            self._name,
        )
        ended: BackupError | None = None
        for attempt in range(1, COMMIT_ATTEMPTS_MAX + 1):
            try:
                self._tag = self._store.replace(self._name, stored, self._tag)
                break
            except (Conflict, Unavailable) as error:
                arrived, ended = self._arrived(cell, stored, committed, error)
                if arrived:
                    break
                if attempt == COMMIT_ATTEMPTS_MAX or getattr(error, "code", "") == "store-full":
                    raise
        self.form = cell
        return ended

    def _arrived(
        self,
        cell: CellForm,
        stored: bytes,
        committed: CommitForm | None,
        error: Conflict | Unavailable,
    ) -> tuple[bool, BackupError | None]:
        """
        Settle a lost answer by the cell itself: whether the swap was done; if not it may be sent again.

        Raises: Fenced if the cell went on without it; Corruption(cell-missing) if it is gone; what reading it fails with.
        """
        try:
            found, tag = self._store.get_tagged(self._name)
        except NotFound:
            if self._tag is None and isinstance(error, Unavailable):
                return False, None
            if self._tag is None:
                raise error from None
            raise lost_cell(self._writer, cell.turn) from error
        if found == stored:
            self._tag = tag
            return True, None
        if tag == self._tag and isinstance(error, Unavailable):
            return False, None
        fenced = Fenced("the turn was revoked or taken over", code="turn-revoked")
        if committed and protocol.has_committed(self._opened(found), committed):
            return True, fenced  # the commit counts; whoever took the cell over ended this session
        raise fenced from error

    def _opened(self, stored: bytes) -> CellForm:
        plain = open_object(self._keys, ObjectClass.CELL, self._repository, stored, self._name)
        return protocol.decode_cell(plain, self._writer)
