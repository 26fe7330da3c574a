"""
Blob store behind HTTP: what S3 and Azure have in common.

A write is one request with a condition (never multipart: no object comes near the 5 GB that one request may carry), so it is
all or nothing and never over another. Its outcome is unknown when the answer is lost, and a repetition, by us or by anything
on the way, is refused because the first one counted. So a refusal, like silence, is settled by reading: what is there is
compared with what was sent. Equal bytes are ours, because no content occurs twice (docs/format.md, "Objects").

Requests are repeated here, and the pages of a listing by obstore: one page of thousands must not cost the others.
"""

import contextlib
import itertools
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

import obstore
from obstore.exceptions import BaseError

from engine.errors import Conflict, NotFound, Unavailable
from repository import ambient
from repository.blobstore.names import checked_name, is_name
from repository.blobstore.protocol import BlobInfo
from repository.blobstore.refusals import Answer, Service, translated

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, PutMode
    from obstore.store import ClientConfig, ObjectStore, RetryConfig
    from typing_extensions import Buffer

T = TypeVar("T")

SMALL_BYTES_MAX = 1024 * 1024  # what is sent within `answer_s`
LISTED_AT_ONCE = 1000
CALLS_AT_ONCE = 8
LISTING_REPETITIONS = 3  # of the whole
FIRST_CONTACT_REPETITIONS = 3
COMPARED_BYTES = 4 * 1024 * 1024
FOREIGN = (BaseError, OSError)  # what obstore raises


@dataclass(frozen=True, slots=True)
class Patience:
    """
    How long a store is waited for.

    Attributes:
        repetitions_max: of one request. pause_s, pause_s_max: before the first one, doubled for each next; with jitter.
        connect_s: for a connection. answer_s: for a small request, or the next piece of an answer.
        transfer_s: for a whole object of any size.
    """

    repetitions_max: int = 10
    pause_s: float = 0.2
    pause_s_max: float = 15
    connect_s: float = 10
    answer_s: float = 60
    transfer_s: float = 600

    def pauses(self) -> Iterator[float]:
        """Seconds to wait before each repetition, before jitter."""
        for number in range(self.repetitions_max):
            yield min(self.pause_s * 2**number, self.pause_s_max)

    def retry_config(self) -> "RetryConfig":
        """For obstore, which repeats the pages of a listing."""
        return {
            "max_retries": self.repetitions_max,
            "retry_timeout": timedelta(minutes=5),
            "backoff": {
                "init_backoff": timedelta(seconds=self.pause_s),
                "max_backoff": timedelta(seconds=self.pause_s_max),
                "base": 2,
            },
        }

    def client_options(self, *, large: bool, allow_http: bool) -> "ClientConfig":
        """For obstore. `large`: an upload may take `transfer_s` before anything is answered."""
        whole = timedelta(seconds=self.transfer_s)
        return {
            "allow_http": allow_http,
            "connect_timeout": timedelta(seconds=self.connect_s),
            "read_timeout": whole if large else timedelta(seconds=self.answer_s),
            "timeout": whole,
            "user_agent": "strongroom",
        }


NEVER_REPEAT: "RetryConfig" = {"max_retries": 0}


@dataclass(frozen=True, slots=True)
class Clients:
    """Connections to one bucket: for what is small or read, for large writes, for listings that failed once."""

    asking: "ObjectStore"
    sending: "ObjectStore"
    listing: "ObjectStore"

    @classmethod
    def made_by(
        cls,
        make: "Callable[[ClientConfig, RetryConfig], ObjectStore]",
        patience: Patience,
        *,
        allow_http: bool,
    ) -> "Clients":
        """Three alike, which differ in what they wait for and repeat."""
        small = patience.client_options(large=False, allow_http=allow_http)
        large = patience.client_options(large=True, allow_http=allow_http)
        return cls(
            make(small, NEVER_REPEAT),
            make(large, NEVER_REPEAT),
            make(small, patience.retry_config()),
        )


class RemoteStore:
    """Objects below a prefix of a bucket. Thread-safe."""

    def __init__(
        self,
        clients: Clients,
        service: Service,
        address: str,
        *,
        suffix_ranges: bool,
        patience: Patience,
    ) -> None:
        self._clients = clients
        self._service = service
        self._address = address
        self._suffix_ranges = suffix_ranges
        self._seen: set[str] = set()  # by `has`
        self._patience = patience

    # -- reading ---------------------------------------------------------------------------------

    def get(self, name: str) -> bytes:
        """See BlobStore."""
        return self._read(name, lambda path: obstore.get(self._clients.asking, path).bytes())

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """See BlobStore."""
        if length == 0 or (offset < 0 and not self._suffix_ranges):
            size = self.size(name)
            offset = max(0, size + offset) if offset < 0 else offset
            if length == 0 or offset >= size:
                return b""

        def read(path: str) -> "Buffer":
            asked: GetOptions = (
                {"range": (offset, offset + length)}
                if offset >= 0
                else {"range": {"suffix": -offset}}
            )
            try:
                found = obstore.get(self._clients.asking, path, options=asked)
                return found.bytes()
            except FOREIGN as error:
                answer = Answer.of(error)
                if answer.past_the_end:
                    return b""
                if answer.range_ignored:
                    whole = bytes(obstore.get(self._clients.asking, path).bytes())
                    return whole[offset if offset >= 0 else max(0, len(whole) + offset) :]
                raise

        return self._read(name, read)[:length]

    def get_tagged(self, name: str) -> tuple[bytes, str]:
        """See BlobStore."""
        tags: list[str] = []

        def read(path: str) -> "Buffer":
            found = obstore.get(self._clients.asking, path)
            tags.append(_tag(found.meta))
            return found.bytes()

        return self._read(name, read), tags[-1]

    def size(self, name: str) -> int:
        """See BlobStore."""
        path = checked_name(name)
        return self._repeated(name, lambda: obstore.head(self._clients.asking, path)["size"])

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See BlobStore."""
        # services give names in different orders, so they are sorted here; a listing that broke off begins again; what no put
        # could have made (a console's folder, another program's file) is none of ours
        folder = prefix.rpartition("/")[0]
        if folder:
            checked_name(folder)

        # most listings are one page: they use the connection that is there; pages of a long one are repeated one by one
        clients = itertools.chain((self._clients.asking,), itertools.repeat(self._clients.listing))

        def walk() -> list[BlobInfo]:
            pages = obstore.list(next(clients), folder or None, chunk_size=LISTED_AT_ONCE)
            found = ((m["path"], m["size"]) for page in pages for m in page)
            return sorted(
                (BlobInfo(n, size) for n, size in found if n.startswith(prefix) and is_name(n)),
                key=lambda blob: blob.name,
            )

        yield from self._repeated(prefix or "the store", walk, LISTING_REPETITIONS)

    def _read(self, name: str, read: "Callable[[str], Buffer]") -> bytes:
        path = checked_name(name)
        return bytes(self._repeated(name, lambda: read(path)))

    # -- writing ---------------------------------------------------------------------------------

    def put_new(self, name: str, data: bytes) -> None:
        """See BlobStore. Equal bytes that are there already count as put."""
        self.create(name, data)

    def replace(self, name: str, data: bytes, expected: str | None) -> str:
        """See BlobStore. Equal bytes that are there already count as written."""
        mode: PutMode = "create" if expected is None else {"e_tag": expected}
        try:
            return self._write(name, data, mode)
        except Conflict as error:
            raise Conflict(f"{name} was changed by another writer", code="blob-changed") from error

    def create(self, name: str, body: "Buffer") -> None:
        """`put_new` of anything that lies in memory or is mapped into it."""
        try:
            self._write(name, body, "create")
        except Conflict as error:
            raise Conflict(f"{name} exists", code="blob-exists") from error

    def _write(self, name: str, body: "Buffer", mode: "PutMode") -> str:
        """Send `body` until it is known what came of it; its tag. Conflict if the object is not as `mode` wants it."""
        path, view = checked_name(name), memoryview(body)
        client = self._client_for(name, mode, small=len(view) <= SMALL_BYTES_MAX)
        expected = mode["e_tag"] if isinstance(mode, dict) else None

        def send() -> str:
            return _tag(obstore.put(client, path, view, mode=mode, use_multipart=False))

        pauses = self._patience.pauses()
        while True:
            try:
                return self._translating(name, send)
            except (Conflict, Unavailable) as error:
                tag, equal = self._compared(name, view)
                if tag is not None and equal:
                    return tag
                if tag != expected:
                    raise Conflict(f"{name} is not as expected", code="blob-changed") from error
                # it was not done, whatever was answered: what is there is still what we wanted to see there
                pause = next(pauses, None)
                if error.code == "store-full":
                    raise
                if pause is None:
                    raise self._undecided(name) from error
                ambient.pause(pause)

    def _client_for(self, name: str, mode: "PutMode", *, small: bool) -> "ObjectStore":
        """What a write goes through."""
        return self._clients.asking if small else self._clients.sending

    def _undecided(self, name: str) -> Unavailable:
        return Unavailable(
            f"{self._address} settled nothing about {name} in many attempts: check the service, then run again",
            code="store-unavailable",
        )

    def _compared(self, name: str, sent: memoryview) -> tuple[str | None, bool]:
        """The tag of the object (None: it is absent) and whether it holds these bytes."""

        def compare() -> tuple[str | None, bool]:
            found = obstore.get(self._clients.asking, name)
            return _tag(found.meta), _equal(found, sent)

        try:
            return self._repeated(name, compare)
        except NotFound:
            return None, False

    def delete(self, name: str) -> None:
        """See BlobStore."""
        path = checked_name(name)
        try:
            self._repeated(name, lambda: obstore.delete(self._clients.asking, path))
        except NotFound:
            return

    def spool(self) -> "RemoteSpool":
        """See BlobStore."""
        return RemoteSpool(self)

    # -- all -------------------------------------------------------------------------------------

    def _translating(self, what: str, act: Callable[[], T]) -> T:
        try:
            return act()
        except FOREIGN as error:
            # without its cause, whose text holds what the service answered
            raise translated(Answer.of(error), self._service, self._address, what) from None

    def _repeated(self, what: str, act: Callable[[], T], repetitions_max: int | None = None) -> T:
        """For what may be done twice: again and again while the store is unavailable."""
        pauses = itertools.islice(self._patience.pauses(), repetitions_max)
        while True:
            try:
                return self._translating(what, act)
            except (Unavailable, Conflict) as error:
                pause = next(pauses, None)
                if pause is None and isinstance(
                    error, Conflict
                ):  # without a condition it means busy
                    raise self._undecided(what) from error
                if pause is None:
                    raise
            ambient.pause(pause)

    def has(self, name: str) -> bool:
        """
        Whether a small object that is never deleted is there.

        It fails soon, not after long patience: the address may be wrong.
        """

        def look() -> None:
            # not HEAD: only an answer with a body tells a missing bucket from a missing object
            obstore.get(self._clients.asking, name).bytes()

        if name in self._seen:
            return True
        try:
            self._repeated(name, look, FIRST_CONTACT_REPETITIONS)
        except NotFound:
            return False
        self._seen.add(name)
        return True

    def local_folder(self) -> Path | None:
        """See BlobStore."""
        return None

    def calls_at_once(self) -> int:
        """See BlobStore."""
        return CALLS_AT_ONCE

    def describe(self) -> str:
        """See BlobStore."""
        return self._address


def _tag(result: Mapping[str, object]) -> str:
    """The entity tag of an answer; stores without one cannot swap."""
    return str(result["e_tag"])


def _equal(found: "GetResult", sent: memoryview) -> bool:
    if found.meta["size"] != len(sent):
        return False
    at = 0
    for piece in found.stream(min_chunk_size=COMPARED_BYTES):
        if sent[at : at + len(piece)] != piece:
            return False
        at += len(piece)
    return at == len(sent)


class RemoteSpool:
    """A nameless temporary file of this machine, sent when it is put. See Spool."""

    def __init__(self, store: RemoteStore) -> None:
        self._store = store
        with _on_this_machine():
            self._file = tempfile.TemporaryFile(buffering=0, dir=ambient.temporary_folder())  # noqa: SIM115 - __exit__ closes it

    def write(self, data: bytes) -> None:
        """See Spool."""
        with _on_this_machine():
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]

    def put(self, name: str) -> None:
        """See Spool."""
        if os.fstat(self._file.fileno()).st_size == 0:
            self._store.create(name, b"")
            return
        # mapped, not read: the system may drop its pages whenever it needs the memory; unmapped when nothing sends it any more
        with _on_this_machine():
            mapped = mmap.mmap(self._file.fileno(), 0, prot=mmap.PROT_READ)
        self._store.create(name, mapped)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


@contextlib.contextmanager
def _on_this_machine() -> Iterator[None]:
    """Errors of the temporary file as ours."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "input/output error"
        raise Unavailable(
            f"temporary files cannot be written ({reason}): free some space, or set TMPDIR",
            code="spool-unavailable",
        ) from error
