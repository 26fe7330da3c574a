"""
Faults on demand: denied mailboxes, items that always fail, cut downloads, an outage.
"""

import dataclasses
from typing import Literal

from tools.emulator.errors import GraphError

Workload = Literal["mail", "files"]


@dataclasses.dataclass(slots=True)
class ItemFault:
    """An error answer for one item; `times` None = for ever; `content_only` spares its JSON."""

    status: int
    code: str
    times: int | None = None
    content_only: bool = False


@dataclasses.dataclass(slots=True)
class Cut:
    """Break the connection after this fraction of the body; `times` None = for ever."""

    fraction: float
    times: int | None = None


class Faults:
    """The faults in force. Item keys are ids of messages (either kind) or drive items, or `*`."""

    def __init__(self) -> None:
        self.outage = False
        self.entra_outage = False
        self.outage_retry_after: int | None = None
        self._every: tuple[int, int, str] | None = None
        self._calls = 0
        self._denied: set[tuple[Workload, str]] = set()
        self._items: dict[str, ItemFault] = {}
        self._cuts: dict[str, Cut] = {}

    def clear(self) -> None:
        """Lift every fault."""
        self.__init__()  # type: ignore[misc]

    def deny(self, workload: Workload, owner: str, *, denied: bool = True) -> None:
        """Refuse all calls on one user's mail or files, or stop refusing."""
        if denied:
            self._denied.add((workload, owner))
        else:
            self._denied.discard((workload, owner))

    def fail_item(
        self, key: str, status: int, code: str, times: int | None, *, content_only: bool = False
    ) -> None:
        """Answer reads of the item, or of its content only, with an error."""
        self._items[key] = ItemFault(status, code, times, content_only)

    def fail_every(self, nth: int, status: int, code: str) -> None:
        """Answer each `nth` Graph call and download with an error; 0 stops that."""
        self._every = (nth, status, code) if nth > 0 else None
        self._calls = 0

    def check_service(self) -> None:
        """Raise what an outage, or the count of calls, makes of this call."""
        if self.outage:
            headers = {}
            if self.outage_retry_after is not None:
                headers["Retry-After"] = str(self.outage_retry_after)
            raise GraphError(503, "serviceNotAvailable", "The service is not available.", headers)
        self._calls += 1
        if self._every and self._calls % self._every[0] == 0:
            raise GraphError(self._every[1], self._every[2], "The emulator was told to fail.")

    def cut(self, key: str, fraction: float, times: int | None) -> None:
        """Cut the body of reads of the item's content; Content-Length stays full."""
        if not 0 <= fraction < 1:
            raise ValueError("a fraction is from 0 up to, not including, 1")
        self._cuts[key] = Cut(fraction, times)

    def check_owner(self, workload: Workload, owner: str) -> None:
        """403 when calls on this user's mail or files are refused."""
        if (workload, owner) in self._denied:
            code = "ErrorAccessDenied" if workload == "mail" else "accessDenied"
            raise GraphError(403, code, "Access is denied. Check credentials and try again.")

    def check_item(self, *keys: str, content: bool = False) -> None:
        """Raise the fault set for one of these ids, if any; `content`: its content is read."""
        for key in keys:
            fault = self._items.get(key)
            if fault is None or fault.times == 0 or (fault.content_only and not content):
                continue
            if fault.times is not None:
                fault.times -= 1
            raise GraphError(fault.status, fault.code, "The emulator was told to fail this item.")

    def take_cut(self, *keys: str) -> float | None:
        """The fraction after which to cut the body of this read, None for a whole one."""
        for key in (*keys, "*"):
            cut = self._cuts.get(key)
            if cut is None or cut.times == 0:
                continue
            if cut.times is not None:
                cut.times -= 1
            return cut.fraction
        return None
