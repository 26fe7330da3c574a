"""
Keeps repositories open for all tasks of one process, each with one write session.

Tasks add to slices; this module decides when they become durable: every COMMIT_S, every COMMIT_BYTES, and when a task
finishes (several that finish together share one commit). The repository is synchronous, so its calls run in threads
of their own; the event loop never waits for storage.

A write session that lost its turn or met a failure is broken for good: every slice in it says so at its next call,
and the next slice begins a new session from what was committed.
"""

import asyncio
import contextlib
import hmac
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from types import TracebackType
from typing import Any, Self, TypeVar

from engine.errors import BackupError, Denied, Fenced, InternalError
from engine.manifest import ObjectKey, PointForm
from proxy.pipeline.kept_slice import KeptSlice, OnCommit
from repository import Places, PointDraft, Repository, open_repository
from repository.session import Commit, WriteSession
from repository.slices import Slice

__all__ = ["KeeperLimits", "KeptRepository", "RepositoryKeeper"]

T = TypeVar("T")
SEAL_ATTEMPTS_MAX = 3


@dataclass(frozen=True, slots=True)
class KeeperLimits:
    """
    When to commit and how many threads to use. Seconds and bytes.

    `gather_s` is how long a commit for a finished task waits for others that finish; `idle_s` how long a session
    without slices stays open.
    """

    commit_s: float = 300.0
    commit_bytes: int = 4 * 1024**3
    gather_s: float = 0.2
    idle_s: float = 20.0
    store_threads: int = 4


class KeptRepository:
    """One open repository and its write session. Made by `RepositoryKeeper`."""

    def __init__(
        self,
        repository: Repository,
        identity: str | None,
        limits: KeeperLimits,
        *,
        owned: bool,
        scope: str | None = None,
    ) -> None:
        self.repository = repository
        self._scope = scope
        self._owned = owned
        self._identity = identity
        self._limits = limits
        self._stores = ThreadPoolExecutor(limits.store_threads, thread_name_prefix="store")
        self._turns = ThreadPoolExecutor(1, thread_name_prefix="turn")
        self._session: WriteSession | None = None
        self._slices: set[KeptSlice] = set()
        self._turn = asyncio.Lock()  # begin, commit and end of the session
        self._asked = self._done = 0  # commits asked for; the newest one that was carried out
        self._failure: tuple[int, BackupError] | None = None  # newest commit that failed
        self._more = asyncio.Event()
        self._committed_at = time.monotonic()
        self._committed_bytes = 0
        self._idle_timer: asyncio.TimerHandle | None = None

    # -- calls into the repository ---------------------------------------------------------------

    async def run(self, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """A repository call in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._stores, partial(call, *arguments, **named))

    async def _run_turn(self, call: Callable[..., T], *arguments: Any) -> T:
        """A call that begins, commits or ends a turn: a cancelled task waits for its end."""
        loop = asyncio.get_running_loop()
        return await _settled(loop.run_in_executor(self._turns, partial(call, *arguments)))

    # -- slices ----------------------------------------------------------------------------------

    async def open_slice(
        self, key: ObjectKey, workload: str, session: str, on_commit: OnCommit
    ) -> KeptSlice:
        """
        Begin or go on with an object's workload from its newest entry, complete or not.

        Two jobs may cover the same object: the second waits for the first, and then finds nothing left to read.

        `on_commit` is told on the event loop of every commit that held the slice.
        """
        while True:
            async with self._turn:
                other = self._holder(key, workload)
                if other is None:
                    writer = await self._writer()
                    # In the turn: a commit between reading the heads and opening would be missed.
                    opened = await self.run(self._open, writer, key, workload, session)
                    kept = KeptSlice(self, writer, opened, on_commit)
                    self._slices.add(kept)
                    return kept
            await other.dropped.wait()

    def _holder(self, key: ObjectKey, workload: str) -> KeptSlice | None:
        wanted = (key.kind, key.id, workload)
        for kept in self._slices:
            found = kept.slice.object
            if (found.kind, found.id, kept.slice.workload) == wanted:
                return kept
        return None

    async def _writer(self) -> WriteSession:
        """The write session, begun if there is none. In the turn."""
        if self._session is None:
            self._session = await self._run_turn(
                self.repository.write_session, self._identity, self._scope
            )
            self._committed_at = time.monotonic()
            self._committed_bytes = 0
        return self._session

    async def seal_point(self, draft: PointDraft) -> PointForm:
        """Commit a restore point, see `WriteSession.seal_point`. A session that was taken from us costs an attempt."""
        async with self._turn:
            for attempt in range(1, SEAL_ATTEMPTS_MAX + 1):
                writer = await self._writer()
                try:
                    point = await self._run_turn(writer.seal_point, draft)
                except Fenced as error:
                    await self._break(error)
                    if attempt == SEAL_ATTEMPTS_MAX:
                        raise
                else:
                    self._end_when_idle()
                    return point
            raise InternalError("a restore point was tried without an end")

    def _open(self, writer: WriteSession, key: ObjectKey, workload: str, session: str) -> Slice:
        self.repository.refresh()  # another proxy may have worked on this object a moment ago
        heads = self.repository.entries.heads(key.kind, key.id, workload)
        return writer.open_slice(
            key,
            workload,
            session,
            previous=writer.scope.ground(heads),
            parents=tuple(head.ref for head in heads),
        )

    def drop(self, kept: KeptSlice) -> None:
        """The task of a slice has ended."""
        self._slices.discard(kept)
        kept.dropped.set()
        if not kept.finished:
            kept.writer.drop_slice(kept.slice)
        self._more.set()
        self._end_when_idle()

    def _end_when_idle(self) -> None:
        if not self._slices:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(self._limits.idle_s, self._end_idle_session)

    def _end_idle_session(self) -> None:
        """Nobody waits for an idle writer. The thread of turns does it before it begins another."""
        if self._session is not None and not self._slices and not self._turn.locked():
            session, self._session = self._session, None
            self._turns.submit(_end, session)

    # -- commits ---------------------------------------------------------------------------------

    async def look(self) -> None:
        """Something was added: commit if it is time."""
        if self._session is None:
            return
        fresh = self._session.bytes_stored - self._committed_bytes
        late = time.monotonic() - self._committed_at >= self._limits.commit_s
        if late or fresh >= self._limits.commit_bytes:
            self._committed_at = time.monotonic()  # one of the tasks asks, not all of them
            await self.commit()

    async def commit(self) -> None:
        """
        Wait until everything added so far is durable. Those who ask at the same time share one commit.

        Raises:
            BackupError: the commit failed; nothing that was added since the last one is kept.
        """
        self._asked += 1
        number = self._asked
        self._more.set()
        async with self._turn:
            if self._done < number:
                await self._gather()
                covered = self._asked
                try:
                    await self._commit()
                except BackupError as error:
                    self._failure = (covered, error)
                self._done = covered
        if self._failure is not None and self._failure[0] >= number:
            raise self._failure[1]

    async def _gather(self) -> None:
        """Give other tasks that are about to finish the chance to share the commit."""
        until = time.monotonic() + self._limits.gather_s
        while self._asked - self._done < len(self._slices) and time.monotonic() < until:
            self._more.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(until - time.monotonic()):
                    await self._more.wait()

    async def _commit(self) -> None:
        session = self._session
        if session is None:
            return
        loop = asyncio.get_running_loop()
        committing = loop.run_in_executor(self._turns, session.commit)
        try:
            await _settled(committing)
        except BackupError as error:
            await self._break(error)
            raise
        finally:
            # Also when the task that asked was cancelled: the others' slices are in the commit.
            if committing.done() and committing.exception() is None:
                self._note(session, committing.result())

    def _note(self, session: WriteSession, commit: Commit | None) -> None:
        self._committed_at = time.monotonic()
        self._committed_bytes = session.bytes_stored
        if commit is None:
            return
        held = [kept for kept in self._slices if kept.slice in commit.entries]
        plain = sum(kept.plain_bytes for kept in held)
        for kept in held:
            # Packs are shared: a slice's part of the stored bytes is that of its plain bytes.
            share = kept.plain_bytes / plain if plain else 0.0
            kept.committed(commit.entries[kept.slice], round(commit.bytes_stored * share))

    async def _break(self, error: BackupError) -> None:
        """The session is lost: whoever writes to it learns why, the next slice begins another."""
        session, self._session = self._session, None
        for kept in self._slices:
            kept.broken = error
        self._slices.clear()
        if session is not None:
            await self._run_turn(_end, session)

    async def report_failure(self, error: BackupError, writer: WriteSession) -> None:
        """A call of a slice failed: if the whole session is broken, let go of it."""
        async with self._turn:
            if writer is self._session:
                await self._break(error)

    async def close(self) -> None:
        """Commit what is there, end the turn, close the repository."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        async with self._turn:
            with contextlib.suppress(BackupError):  # every task was told; what is committed stays
                await self._commit()
            session, self._session = self._session, None
            if session is not None:
                await self._run_turn(_end, session)
        self._stores.shutdown(wait=True)
        self._turns.shutdown(wait=True)
        if self._owned:
            self.repository.close()


def _end(session: WriteSession) -> None:
    with contextlib.suppress(BackupError):
        session.close()


async def _settled(future: "asyncio.Future[T]") -> T:
    """The result of `future`, which must not be left alone: cancelled meanwhile, wait for it first."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return future.result()


class RepositoryKeeper:
    """
    All repositories of one process. Use as a context, or `close` it; in one event loop.

    `identity` is the permanent name of this writer (the proxy's id); None: one of the machine's free ones.
    """

    def __init__(
        self,
        identity: str | None,
        places: Places | None = None,
        limits: KeeperLimits | None = None,
    ) -> None:
        self._identity = identity
        self._places = places
        self._limits = limits or KeeperLimits()
        self._open_lock = threading.Lock()
        self._repositories: dict[str, tuple[bytes, Repository]] = {}
        self._kept: dict[str, KeptRepository] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def repository(self, url: str, passphrase: str) -> Repository:
        """
        The open repository at `url`; from any thread.

        Raises:
            Denied: another passphrase than the one it was opened with.
            BackupError: as `open_repository`.
        """
        digest = blake2b(passphrase.encode(), digest_size=32).digest()
        with self._open_lock:
            if url not in self._repositories:
                opened = open_repository(url, passphrase, self._places)
                self._repositories[url] = (digest, opened)
            known, repository = self._repositories[url]
        if not hmac.compare_digest(known, digest):
            raise Denied("The passphrase of the repository is wrong.", code="passphrase-wrong")
        return repository

    async def open(self, url: str, passphrase: str) -> KeptRepository:
        """The repository at `url`, ready for writing."""
        repository = await asyncio.to_thread(self.repository, url, passphrase)
        return self._keep(url, repository, owned=True)

    def adopt(self, repository: Repository, scope: str | None = None) -> KeptRepository:
        """Keep a repository that somebody else opened and will close; all is written in this scope, if one is named."""
        return self._keep(repository.id, repository, owned=False, scope=scope)

    def _keep(
        self, key: str, repository: Repository, *, owned: bool, scope: str | None = None
    ) -> KeptRepository:
        if key not in self._kept:
            kept = KeptRepository(
                repository, self._identity, self._limits, owned=owned, scope=scope
            )
            self._kept[key] = kept
        return self._kept[key]

    async def close(self) -> None:
        """Commit everything and close all repositories."""
        for kept in self._kept.values():
            await kept.close()
        others = [repo for url, (_, repo) in self._repositories.items() if url not in self._kept]
        for repository in others:
            await asyncio.to_thread(repository.close)
        self._kept.clear()
        self._repositories.clear()
