"""Microsoft 365 without a server: `backup`, and `export` of tenant restore points."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.manifest import PointForm
    from repository import Repository


def backup() -> int:
    """One backup session without a server."""
    return 1


def export_tenant(
    repository: "Repository",
    point: "PointForm",
    destination: Path,
    path: str,
    form: str,
    *,
    json: bool,
) -> int:
    """Placeholder."""
    return 1
