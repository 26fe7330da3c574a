"""
Faults on demand: denied mailboxes, items that always fail, cut downloads, an outage.
"""

import dataclasses
from typing import Literal

from tools.emulator.errors import GraphError

Workload = Literal["mail", "files"]


@dataclasses.dataclass(slots=True)
class ItemFault:
    """An error answer for one item; `times` None = for ever."""

    status: int
    code: str
    times: int | None = None


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

    def fail_item(self, key: str, status: int, code: str, times: int | None) -> None:
        """Answer reads of the item with an error."""
        self._items[key] = ItemFault(status, code, times)

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

    def check_item(self, *keys: str) -> None:
        """Raise the fault set for one of these ids, if any."""
        for key in keys:
            fault = self._items.get(key)
            if fault is None or fault.times == 0:
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
