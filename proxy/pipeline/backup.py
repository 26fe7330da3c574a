"""
Backup of one task: one protected object and one workload into one slice.

The workload decides what to read; the slice takes rows and checkpoints; the keeper makes them durable. However a task
ends, what was added up to its last step is committed as an incomplete entry, and the next delivery goes on there.
"""

from typing import assert_never

from engine.errors import BackupError, Conflict, InternalError, UsageError
from engine.manifest import EntryRef, ObjectKey
from proxy.contract import EntryRef as WireEntry
from proxy.contract import Selection, Task
from proxy.contract import Workload as WorkloadName
from proxy.graph.client import GraphClient
from proxy.graph.errors import GraphError
from proxy.keeper import KeptRepository
from proxy.pipeline.context import TaskContext
from proxy.pipeline.reporter import BackupReporter, reporting
from proxy.pipeline.shelf import Tally, TaskShelf
from proxy.workloads.calendar import Calendar
from proxy.workloads.contacts import Contacts
from proxy.workloads.drives import Drives
from proxy.workloads.mail import Mail
from proxy.workloads.protocol import Workload
from proxy.workloads.tasks import Tasks

__all__ = ["run_backup"]

ATTEMPTS_MAX = 3  # a write session may be taken from us in the middle


async def run_backup(
    task: Task, context: TaskContext, kept: KeptRepository, client: GraphClient
) -> Tally:
    """
    Back up the object and workload of `task` and report it, the event `finished` included.

    Raises:
        StoppedEarly: the context asked for it; what is there is committed.
        BackupError: the object as a whole could not be read or stored.
    """
    backup = _Backup(task, context, kept, client)
    async with reporting(backup.reporter.tell):
        entry = await backup.run()
    tally = backup.tally
    await context.emit(
        "finished",
        result="warning" if tally.warned else "success",
        entry=WireEntry(entry.manifest, entry.index),
        complete=True,
        counters=tally.counters(),
    )
    return tally


class _Backup:
    def __init__(
        self, task: Task, context: TaskContext, kept: KeptRepository, client: GraphClient
    ) -> None:
        if task.object is None or task.workload is None:
            raise UsageError("A backup task names an object and a workload.", code="task-unfit")
        self._target = task.object
        self._name = task.workload
        self._session = task.session
        self._workload = _workload(task.workload, task.selection)
        self._context = context
        self._kept = kept
        self._client = client
        self.tally = Tally(client.meter)
        self.reporter = BackupReporter(context, self.tally)

    async def run(self) -> EntryRef:
        """The committed entry. A write session that was taken from us costs an attempt."""
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                return await self._attempt()
            except Conflict as error:
                if isinstance(error, GraphError) or attempt == ATTEMPTS_MAX:
                    raise
        raise InternalError("An attempt neither ended nor failed.")

    async def _attempt(self) -> EntryRef:
        target = self._target
        key = ObjectKey(target.kind, target.id, target.name, target.display_name)
        slice_ = await self._kept.open_slice(key, self._name, self._session, self._committed)
        shelf = TaskShelf(slice_, self.tally, self._context.stopping, self.reporter.tell)
        try:
            await self._workload.backup(self._client, target, shelf)
            return await slice_.finish()
        except BackupError:
            await slice_.park()
            raise
        except BaseException:
            slice_.abandon()
            raise

    def _committed(self, entry: EntryRef, complete: bool, bytes_stored: int) -> None:
        self.tally.bytes_stored += bytes_stored
        self.tally.total = self._kept.repository.entries.get(entry).form.items
        self.tally.committed.append((entry, complete))


def _workload(name: WorkloadName, selection: Selection) -> Workload:
    match name:
        case "mail":
            return Mail(selection)
        case "calendar":
            return Calendar(selection)
        case "contacts":
            return Contacts(selection)
        case "tasks":
            return Tasks(selection)
        case "drives":
            return Drives()
        case "tree":
            raise UsageError(
                "Directory trees are imported with `strongroom import`.", code="task-unfit"
            )
    assert_never(name)
