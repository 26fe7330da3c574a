"""
A small S3 server with one bucket in memory, so that a client's processor time and requests are measured and not a server's.

    python -m benchmarks.s3_sink --latency-ms 20 --rate-mb 60

prints its port and serves until its input ends. It knows what backup programs ask: objects whole and in ranges, conditional
writes, listings in pages of a thousand. It checks no signature and hashes nothing. `GET /-/counts` says what was asked since it
was said last. With `--latency-ms` every request waits so long; with `--rate-mb` each connection passes so many MB a second.
"""

import argparse
import itertools
import json
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "strongroom"
COUNTS = "/-/counts"
PAGE_KEYS = 1000
CHUNKED = "aws-chunked"  # a body in signed pieces
LINE_BYTES_MAX = 4096

Kind = Literal["PUT", "GET", "LIST", "HEAD", "DELETE"]


@dataclass(frozen=True, slots=True)
class Stored:
    """An object; `tag` is unique for each write. `when`: as HTTP writes it."""

    body: bytearray
    tag: str
    when: str


@dataclass(slots=True)
class Bucket:
    """All objects, and what was asked."""

    objects: dict[str, Stored] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    tags: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def count(self, kind: Kind, *, sent: int = 0, received: int = 0) -> None:
        """One request more; bytes of bodies as the client sees them."""
        with self.lock:
            self.counts[kind] += 1
            self.counts["bytes sent"] += sent
            self.counts["bytes received"] += received

    def take_counts(self) -> dict[str, int]:
        """What was asked since the last call."""
        with self.lock:
            taken, self.counts = self.counts, Counter()
        return dict(taken)

    def put(self, key: str, body: bytearray, absent: bool, tag: str | None) -> Stored | None:
        """Store if the object is as the conditions want it; None if it is not."""
        with self.lock:
            held = self.objects.get(key)
            if (absent and held) or (tag is not None and (held is None or held.tag != tag)):
                return None
            made = Stored(body, f'"{next(self.tags):032x}"', formatdate(usegmt=True))
            self.objects[key] = made
            return made

    def page(
        self, prefix: str, delimiter: str, after: str
    ) -> tuple[list[tuple[str, Stored | None]], bool]:
        """
        At most PAGE_KEYS objects behind the name `after`, in order; whether there are more.

        With a delimiter, names that have it behind the prefix are cut there and stand once, for no object.
        """
        with self.lock:
            held = sorted(item for item in self.objects.items() if item[0].startswith(prefix))
        found: dict[str, Stored | None] = {}
        for key, stored in held:
            folder, cut, _ = key[len(prefix) :].partition(delimiter or "\0")
            name = prefix + folder + delimiter if cut else key
            if name > after:
                found[name] = None if cut else stored
        return list(found.items())[:PAGE_KEYS], len(found) > PAGE_KEYS


@dataclass(frozen=True, slots=True)
class Way:
    """How far away the server is: seconds before each answer, bytes a second of one connection (0: no limit)."""

    latency_s: float = 0
    rate: float = 0

    def pass_bytes(self, count: int, began: float) -> None:
        """Wait until so many bytes would have passed since `began`."""
        if self.rate and (left := began + count / self.rate - time.monotonic()) > 0:
            time.sleep(left)


class Sink(ThreadingHTTPServer):
    """The server; a thread for each connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, way: Way) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bucket = Bucket()
        self.way = way


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = 256 * 1024
    server: Sink

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is told."""

    def _key(self) -> str:
        """The name of the object, empty for the bucket itself."""
        time.sleep(self.server.way.latency_s)
        return unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}").removeprefix("/")

    def _answer(self, status: int, body: bytes | memoryview = b"", **headers: str) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and len(body):
            began = time.monotonic()
            self.wfile.write(body)
            self.server.way.pass_bytes(len(body), began)

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code></Error>".encode())

    # -- writing ---------------------------------------------------------------------------------

    def do_PUT(self) -> None:
        """An object, with `If-None-Match: *` or `If-Match` if the client wants so; or the bucket."""
        key, began = self._key(), time.monotonic()
        body = self._body()
        self.server.way.pass_bytes(len(body), began)
        self.server.bucket.count("PUT", sent=len(body))
        absent = self.headers.get("If-None-Match") == "*"
        if not key:
            self._answer(200)
        elif made := self.server.bucket.put(key, body, absent, self.headers.get("If-Match")):
            self._answer(200, ETag=made.tag)
        else:
            self._refuse(412, "PreconditionFailed")

    def _body(self) -> bytearray:
        length = int(self.headers.get("Content-Length") or 0)
        if CHUNKED not in self.headers.get("Content-Encoding", "") and not self.headers.get(
            "x-amz-content-sha256", ""
        ).startswith("STREAMING-"):
            return self._read(length)
        body = bytearray()
        while True:  # `size in hex;signature`, the piece, an empty line; the last piece is empty, trailers may follow
            size = int(self.rfile.readline(LINE_BYTES_MAX).partition(b";")[0], 16)
            if not size:
                while self.rfile.readline(LINE_BYTES_MAX).strip():
                    pass
                return body
            body += self._read(size)
            self.rfile.readline(LINE_BYTES_MAX)

    def _read(self, length: int) -> bytearray:
        body = bytearray(length)
        view, at = memoryview(body), 0
        while at < length:
            got = self.rfile.readinto(view[at:])  # type: ignore[attr-defined]
            if not got:
                raise ConnectionError("the client went away")
            at += got
        return body

    def do_DELETE(self) -> None:
        """An object; one that is not there is no error."""
        key = self._key()
        self.server.bucket.count("DELETE")
        with self.server.bucket.lock:
            self.server.bucket.objects.pop(key, None)
        self._answer(204)

    # -- reading ---------------------------------------------------------------------------------

    def do_HEAD(self) -> None:
        """As GET, without the body."""
        key = self._key()
        self.server.bucket.count("HEAD")
        held = self.server.bucket.objects.get(key)
        if held:
            self._answer(
                200,
                Content_Length=str(len(held.body)),
                ETag=held.tag,
                Last_Modified=held.when,
                Accept_Ranges="bytes",
            )
        else:
            self._answer(404 if key else 200, Content_Length="0")

    def do_GET(self) -> None:
        """An object or a range of it, a page of a listing, or the counts."""
        if self.path == COUNTS:
            self._answer(200, json.dumps(self.server.bucket.take_counts()).encode())
            return
        key, query = self._key(), parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if not key:
            self._bucket({name: values[0] for name, values in query.items()})
            return
        held = self.server.bucket.objects.get(key)
        if held is None:
            self.server.bucket.count("GET")
            self._refuse(404, "NoSuchKey")
            return
        whole = len(held.body)
        start, end = _range(self.headers.get("Range", ""), whole)
        body = memoryview(held.body)[start:end]
        self.server.bucket.count("GET", received=len(body))
        headers = {"ETag": held.tag, "Last_Modified": held.when}
        if not len(body) and whole:
            self._refuse(416, "InvalidRange")
        elif "Range" in self.headers:
            self._answer(206, body, Content_Range=f"bytes {start}-{end - 1}/{whole}", **headers)
        else:
            self._answer(200, body, **headers)

    def _bucket(self, query: dict[str, str]) -> None:
        if "location" in query:
            self.server.bucket.count("GET")
            self._answer(200, b"<LocationConstraint>us-east-1</LocationConstraint>")
            return
        prefix = query.get("prefix", "")
        after = query.get("continuation-token") or query.get("start-after", "")
        page, more = self.server.bucket.page(prefix, query.get("delimiter", ""), after)
        name = quote if query.get("encoding-type") == "url" else escape
        entries = "".join(
            f"<Contents><Key>{name(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>{escape(held.tag)}</ETag><Size>{len(held.body)}</Size></Contents>"
            if held
            else f"<CommonPrefixes><Prefix>{name(key)}</Prefix></CommonPrefixes>"
            for key, held in page
        )
        token = (
            f"<NextContinuationToken>{escape(page[-1][0])}</NextContinuationToken>" if more else ""
        )
        body = (
            f"<ListBucketResult><Name>{BUCKET}</Name><KeyCount>{len(page)}</KeyCount><MaxKeys>{PAGE_KEYS}</MaxKeys>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}</ListBucketResult>"
        ).encode()
        self.server.bucket.count("LIST", received=len(body))
        self._answer(200, body)


def _range(text: str, whole: int) -> tuple[int, int]:
    """Start and end of `bytes=A-B`, `bytes=A-` or `bytes=-N` in an object of `whole` bytes; all of it for an empty text."""
    first, _, last = text.removeprefix("bytes=").partition("-")
    if first:
        return int(first), min(whole, int(last) + 1 if last else whole)
    return (max(0, whole - int(last)), whole) if last else (0, whole)


def main() -> int:
    """Serve until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency-ms", type=float, default=0)
    parser.add_argument("--rate-mb", type=float, default=0)
    words = parser.parse_args()
    server = Sink(Way(words.latency_ms / 1000, words.rate_mb * 1e6))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
