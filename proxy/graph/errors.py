"""
What Microsoft 365 answered, in the words of the tree in `engine.errors`.

`GraphError` marks everything that came from the service, so that a workload can turn the failure of one item into an
outcome without ever swallowing an error of the repository. Codes are listed in docs/errors.md and only ever added.
"""

from engine.errors import (
    BackupError,
    Conflict,
    Denied,
    InternalError,
    NotFound,
    Throttled,
    Unavailable,
    Unsupported,
)

__all__ = [
    "GraphAnswerLost",
    "GraphChanged",
    "GraphDenied",
    "GraphError",
    "GraphExists",
    "GraphItemFault",
    "GraphNotFound",
    "GraphRefused",
    "GraphResync",
    "GraphServiceMissing",
    "GraphThrottled",
    "GraphUnavailable",
    "GraphUnsupported",
]


class GraphError(BackupError):
    """Microsoft 365 said no, or nothing."""


class GraphUnavailable(GraphError, Unavailable):
    """No usable answer in the time allowed."""


class GraphAnswerLost(GraphError, Unavailable):
    """A write that must not be sent twice may have been executed: look before going on."""

    duty = "look whether it was done, then go on"


class GraphThrottled(GraphError, Throttled):
    """Still told to slow down when the time allowed was over."""


class GraphNotFound(GraphError, NotFound):
    """The item, folder or drive is gone."""


class GraphServiceMissing(GraphNotFound):
    """The user has no such service: no mailbox, no drive."""


class GraphDenied(GraphError, Denied):
    """Consent, rights or credentials are missing."""


class GraphResync(GraphError, Conflict):
    """The change token is dead: enumerate the collection afresh."""


class GraphExists(GraphError, Conflict):
    """Something with this name or identity is there already."""


class GraphChanged(GraphError, Conflict):
    """The item is not in the state that the write was meant for."""


class GraphUnsupported(GraphError, Unsupported):
    """The service does not offer this call here."""


class GraphItemFault(GraphError):
    """The service holds the item but cannot give it; trying again does not help."""

    duty = "skip the item and name it"


class GraphRefused(GraphError, InternalError):
    """The service found our request wrong."""
