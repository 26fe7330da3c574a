"""Passwords, as Argon2id in the PHC text form; a check costs the same for unknown users."""

import asyncio
import secrets
from functools import cache

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

SALT_BYTES = 16
HASH_BYTES = 32
LANES = 1
PASSES = 2
MEMORY_KIB = 19 * 1024
CHECKS_AT_ONCE_MAX = 2  # memory and processors a flood of sign-ins may take


def hash_password(password: str) -> str:
    """The text to store. Slow on purpose."""
    maker = Argon2id(
        salt=secrets.token_bytes(SALT_BYTES),
        length=HASH_BYTES,
        iterations=PASSES,
        lanes=LANES,
        memory_cost=MEMORY_KIB,
    )
    return maker.derive_phc_encoded(password.encode())


def _matches(password: str, stored: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password.encode(), stored)
    except InvalidKey:
        return False
    return True


@cache
def _hash_of_nobody() -> str:
    return hash_password(secrets.token_urlsafe())


class Passwords:
    """Checks and makes password hashes in threads, a few at a time."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(CHECKS_AT_ONCE_MAX)

    async def check(self, password: str, stored: str | None) -> bool:
        """Whether the password is right; None (no such user) takes as long and is never right."""
        async with self._turns:
            nobody = await asyncio.to_thread(_hash_of_nobody)
            right = await asyncio.to_thread(_matches, password, stored or nobody)
        return right and stored is not None

    async def hash(self, password: str) -> str:
        """The text to store."""
        async with self._turns:
            return await asyncio.to_thread(hash_password, password)
