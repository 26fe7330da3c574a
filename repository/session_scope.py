"""The scope of a write session, or none: which keys it writes with, and what it may go on from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.errors import UsageError
from engine.keys import KeySet
from engine.scope import Scope
from engine.seal import ObjectClass
from repository.entries import Entry
from repository.open_pack import PackSetting
from repository.packer import Packer

if TYPE_CHECKING:
    from repository.keyring import Keyring
    from repository.repository import Repository


class SessionScope:
    """`id` is empty without a scope; `epoch` is that of frames, None for the newest shared one."""

    def __init__(self, keyring: "Keyring", scope: Scope | None) -> None:
        self._keyring = keyring
        self.id = "" if scope is None else scope.id
        self.epoch = None if scope is None else scope.epoch

    def frame_epoch(self, keys: KeySet) -> int:
        """The epoch that frames are sealed in."""
        return keys.newest_epoch if self.epoch is None else self.epoch

    def packer(self, repository: "Repository", keys: KeySet, object_class: ObjectClass) -> Packer:
        """Packs of one class, as the repository wants them, whose frames are sealed in this scope."""
        config = repository.config
        setting = PackSetting(
            repository.store,
            keys,
            repository.uuid,
            object_class,
            padded=config.padding == "padme",
            parity=config.parity == "on",
            epoch=self.epoch,
        )
        return Packer(setting)

    def require_open(self) -> None:
        """ScopeClosed if it was shredded since the session began: what would be committed nobody could read."""
        if self.id:
            self._keyring.require_scope_open(self.id)

    def require_own(self, previous: Entry | None) -> None:
        """UsageError(scope-mixed) if an entry to go on from is of another scope."""
        if previous is not None and previous.form.scope != self.id:
            raise self._mixed(previous)

    def ground(self, heads: Sequence[Entry]) -> Entry | None:
        """
        Of an object's heads, newest first, the one to go on from: the newest of this scope.

        Raises: UsageError(scope-mixed): the object is kept in another scope, which it must not leave unnoticed.
        """
        for head in heads:
            if head.form.scope == self.id:
                return head
        for head in heads:
            if head.form.scope and not self._keyring.is_scope_shredded(head.form.scope):
                raise self._mixed(head)
        return None

    def _mixed(self, entry: Entry) -> UsageError:
        form = entry.form
        where = (
            f"in the scope {self._keyring.scope(form.scope).name}"
            if form.scope
            else "outside of scopes"
        )
        return UsageError(
            f"{form.object.name}/{form.workload} is kept {where}: go on there, or shred that scope first",
            code="scope-mixed",
        )
