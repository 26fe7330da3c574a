"""
One call of Graph: what it is called, who answers it, and what it takes to be allowed.

Each `*_routes` module ends with its table `ROUTES`; `routing` joins them.
"""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Literal

from tools.emulator.call import Call
from tools.emulator.reply import Reply

Service = Literal["mail", "files", "identity", "batch"]
Method = Literal["GET", "POST", "PATCH", "PUT", "DELETE"]
# a POST that may be sent again: it finds what it did, or does no harm
_GUARDED = frozenset(
    {
        "move",
        "permanentDelete",
        "createUploadSession",
        "createImportSession",
        "mailFolders",
        "masterCategories",
    }
)
Handler = Callable[[Call], Awaitable[Reply]]


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """
    One call.

    Args:
        template: path behind the version prefix, `{name}` for what varies.
        handler: who answers.
        service: which service meters it; `mail` is all of Exchange.
        roles: application roles of which one is needed.
        units: resource units it costs, where the service counts them.
        method: HTTP method.
        reads: a POST that changes nothing, which a backup may send too.
    """

    template: str
    handler: Handler
    service: Service
    roles: tuple[str, ...]
    units: int = 1
    method: Method = "GET"
    reads: bool = False

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.template.strip("/").split("/"))

    @property
    def name(self) -> str:
        """What the ledger calls it: the template, with the method when that is not GET."""
        return self.template if self.method == "GET" else f"{self.method} {self.template}"

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of call that it is for fault scripts."""
        kinds = {"write" if self.writes else "read"}
        last = self.segments[-1]
        if last == "$batch":
            kinds = {"batch"}
        elif last == "exportItems":
            kinds.add("export")
        return frozenset(kinds)

    @property
    def doubles(self) -> bool:
        """True when the same call again makes a second thing: a create that nothing guards."""
        guarded = self.segments[-1] in _GUARDED or self.template.endswith(
            "mailFolders/{folder}/childFolders"
        )
        return self.method == "POST" and self.writes and not guarded

    @property
    def writes(self) -> bool:
        """True when the call changes the tenant."""
        return self.method != "GET" and not self.reads
