"""Stored parts of rows, read without holding up the event loop."""

import asyncio

from engine.catalog import Row
from repository import Repository

__all__ = ["Contents"]


class Contents:
    """Reads parts; they are held whole, so whoever asks limits how many at once."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def part(self, row: Row, role: str) -> bytes | None:
        """The part of that role; None if the row has none."""
        found = next((part for part in row.parts if part.role == role), None)
        if found is None:
            return None
        return await asyncio.to_thread(self._repository.read_all, found)

    async def parts(self, row: Row) -> dict[str, bytes]:
        """All parts of a row that has small ones, by role."""
        return {
            part.role: await asyncio.to_thread(self._repository.read_all, part)
            for part in row.parts
        }
