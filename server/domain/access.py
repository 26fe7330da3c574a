"""Who may do what: roles are sets of scopes, a token carries the scopes it was asked for."""

from typing import Literal, get_args

Scope = Literal[
    "organizations:read",
    "organizations:write",
    "repositories:read",
    "repositories:write",
    "repositories:verify",
    "jobs:read",
    "jobs:write",
    "jobs:run",
    "sessions:read",
    "sessions:stop",
    "points:read",
    "points:download",
    "pools:read",
    "pools:write",
    "users:read",
    "users:write",
    "audit:read",
]
Role = Literal["administrator", "operator", "viewer", "restore-operator"]

SCOPES: dict[Scope, str] = {
    "organizations:read": "See organizations and their protected objects",
    "organizations:write": "Add and remove organizations",
    "repositories:read": "See repositories",
    "repositories:write": "Add and remove repositories",
    "repositories:verify": "Start the verification of a repository",
    "jobs:read": "See jobs",
    "jobs:write": "Make, change and remove jobs",
    "jobs:run": "Start jobs",
    "sessions:read": "See sessions, their tasks, outcomes and events",
    "sessions:stop": "Stop sessions",
    "points:read": "List and browse restore points",
    "points:download": "Download what restore points hold",
    "pools:read": "See pools and proxies",
    "pools:write": "Make pools, let proxies join and remove them",
    "users:read": "See users",
    "users:write": "Add and remove users",
    "audit:read": "Read the audit log",
}

_SEE: frozenset[Scope] = frozenset(
    {"organizations:read", "repositories:read", "jobs:read", "sessions:read", "pools:read"}
)
ROLES: dict[Role, frozenset[Scope]] = {
    "administrator": frozenset(get_args(Scope)),
    "operator": _SEE
    | {"jobs:write", "jobs:run", "sessions:stop", "repositories:verify", "points:read"},
    "viewer": _SEE,
    "restore-operator": frozenset(
        {"organizations:read", "repositories:read", "points:read", "points:download"}
    ),
}


def scopes_of(roles: list[str]) -> frozenset[str]:
    """Everything the roles allow; words that are no role allow nothing."""
    allowed: set[str] = set()
    for role, scopes in ROLES.items():
        if role in roles:
            allowed |= scopes
    return frozenset(allowed)


def granted(roles: list[str], asked: list[str]) -> list[str]:
    """Scopes a token gets: those asked for that the roles allow; all of them if none is asked."""
    allowed = scopes_of(roles)
    return sorted(allowed.intersection(asked) if asked else allowed)
