"""
Durability: everything that reaches storage.

blob store     medium that keeps named objects (local disk, S3, Azure)
write session  the lease of one writer: a compare-and-swap cell with a growing turn number; always both words
turn           the work between two commits of one write session
slice          what one task adds to its protected object in one turn; becomes an entry of the manifest
restore point  state of protected objects at a time, as users see it
"""

from repository.points import PointDraft, new_point_id
from repository.repository import Repository, create_repository, open_repository
from repository.settings import Places, default_places

__all__ = [
    "Places",
    "PointDraft",
    "Repository",
    "create_repository",
    "default_places",
    "new_point_id",
    "open_repository",
]
