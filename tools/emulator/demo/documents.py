"""
The documents of the demo company: bytes of plausible office files, each a function of its key.

Equal keys give equal bytes, so that a file in several drives and attached to mails is the same.
"""

import dataclasses
import functools
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from xml.sax.saxutils import escape

from tools.emulator.blob import Blob, BytesBlob, ContentCache, MadeBlob
from tools.emulator.demo import words

_ZIP_DATE = (2024, 1, 1, 0, 0, 0)
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_MIB = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """What a document is made from. `kind` is its suffix, `version` counts its edits."""

    seed: int
    key: str
    kind: str
    project: str
    version: int = 1
    big: bool = False

    def make(self) -> bytes:
        """The bytes."""
        rng = random.Random(f"{self.seed}:document:{self.key}")
        return _MAKERS[self.kind](rng, self)


class Library:
    """The documents in use, each made at most once at a time and hashed once."""

    def __init__(self, cache: ContentCache) -> None:
        self._cache = cache
        self._blobs: dict[Document, Blob] = {}

    def blob(self, document: Document) -> Blob:
        """The content of a document."""
        found = self._blobs.get(document)
        if found is None:
            made = MadeBlob(document.make, self._cache)
            found = self._blobs[document] = made if document.kind != "none" else BytesBlob(b"")
        return found


def _size(rng: random.Random, typical: int, highest: int) -> int:
    return min(highest, int(rng.lognormvariate(0, 0.8) * typical))


def _edits(document: Document) -> list[str]:
    """A line for each later version, so that versions differ in a few places only."""
    return [f"Revision {n} of {document.key}" for n in range(2, document.version + 1)]


def _text(rng: random.Random, document: Document) -> bytes:
    size = 3 * _MIB if document.big else _size(rng, 5_000, 60_000)
    body = words.paragraphs(rng, document.project, size) + _edits(document)
    return "\n\n".join(body).encode()


def _csv(rng: random.Random, document: Document) -> bytes:
    rows = 60_000 if document.big else _size(rng, 500, 5_000)
    lines = ["time;sensor;value;state"]
    for index in range(rows):
        value = rng.gauss(20, 3)
        lines.append(f"{index * 15};S{index % 12:02d};{value:.4f};{'ok' if value < 26 else 'high'}")
    return "\r\n".join(lines + _edits(document)).encode() + b"\r\n"


def _archive(members: dict[str, str | bytes]) -> bytes:
    """A ZIP file whose bytes depend on its members only."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, _ZIP_DATE)
            stored = name.endswith((".png", ".bin"))
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            archive.writestr(info, content, compresslevel=1)
    return out.getvalue()


def _package(part: str, kind: str, body: str, extra: dict[str, str | bytes]) -> bytes:
    """An Office Open XML package with one main part."""
    types = (
        f'{_XML}<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.'
        'relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>'
        '<Default Extension="png" ContentType="image/png"/>'
        f'<Override PartName="/{part}" ContentType="{kind}"/></Types>'
    )
    relations = (
        f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="{part}"/></Relationships>'
    )
    return _archive({"[Content_Types].xml": types, "_rels/.rels": relations, part: body, **extra})


def _docx(rng: random.Random, document: Document) -> bytes:
    body = words.paragraphs(rng, document.project, _size(rng, 15_000, 120_000)) + _edits(document)
    runs = "".join(f"<w:p><w:r><w:t>{escape(text)}</w:t></w:r></w:p>" for text in body)
    xml = f'{_XML}<w:document xmlns:w="{_WORD}"><w:body>{runs}</w:body></w:document>'
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    extra: dict[str, str | bytes] = {}
    if document.big or rng.random() < 0.3:
        side = 900 if document.big else rng.randint(60, 200)
        extra["word/media/image1.png"] = _picture(rng, side, side)
    return _package("word/document.xml", kind, xml, extra)


def _xlsx(rng: random.Random, document: Document) -> bytes:
    rows = []
    count = 20_000 if document.big else _size(rng, 250, 3_000)
    for number in range(1, count + 1):
        cells = "".join(
            f'<c r="{column}{number}"><v>{rng.randrange(100_000) / 100}</v></c>'
            for column in "ABCD"
        )
        rows.append(f'<row r="{number}">{cells}</row>')
    notes = "".join(f"<!-- {escape(line)} -->" for line in _edits(document))
    data = "".join(rows)
    xml = f'{_XML}<worksheet xmlns="{_SHEET}"><sheetData>{data}</sheetData>{notes}</worksheet>'
    book = (
        f'{_XML}<workbook xmlns="{_SHEET}" xmlns:r="{_OFFICE}"><sheets>'
        '<sheet name="Figures" sheetId="1" r:id="rId1"/></sheets></workbook>'
    )
    links = (
        f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/>'
        "</Relationships>"
    )
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
    extra: dict[str, str | bytes] = {
        "xl/_rels/workbook.xml.rels": links,
        "xl/worksheets/sheet1.xml": xml,
    }
    return _package("xl/workbook.xml", kind, book, extra)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _picture(rng: random.Random, width: int, height: int) -> bytes:
    """A PNG: a colour gradient with noise in it."""
    base = bytes((x * 255 // width) for x in range(width) for _ in range(3))
    rows = []
    for y in range(height):
        noise = rng.randbytes(width)
        shade = y * 255 // height
        row = bytearray(base)
        row[1::3] = bytes([shade]) * width
        row[2::3] = noise
        rows.append(b"\0" + bytes(row))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(rows), 1)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", head)
        + _chunk(b"IDAT", pixels)
        + _chunk(b"IEND", b"")
    )


def _png(rng: random.Random, document: Document) -> bytes:
    side = 1_700 if document.big else _size(rng, 180, 420)
    return _picture(rng, side, max(1, side * 3 // 4))


def _pdf(rng: random.Random, document: Document) -> bytes:
    """A PDF in outline: pages of text and one stream of scanned noise."""
    pages = words.paragraphs(rng, document.project, _size(rng, 6_000, 40_000)) + _edits(document)
    out = [b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"]
    scan = rng.randbytes(3_300_000 if document.big else _size(rng, 25_000, 300_000))
    streams = [zlib.compress(text.encode(), 1) for text in pages] + [scan]
    for number, stream in enumerate(streams, 1):
        out.append(b"%d 0 obj\n<< /Length %d >>\nstream\n" % (number, len(stream)))
        out.append(stream)
        out.append(b"\nendstream\nendobj\n")
    out.append(b"trailer\n<< /Root 1 0 R >>\n%%EOF\n")
    return b"".join(out)


def _zip(rng: random.Random, document: Document) -> bytes:
    size = 3_500_000 if document.big else _size(rng, 40_000, 400_000)
    notes = "\n".join(words.paragraphs(rng, document.project, 2_000) + _edits(document))
    return _archive({"readme.txt": notes, "capture.bin": rng.randbytes(size)})


_MAKERS: dict[str, Callable[[random.Random, Document], bytes]] = {
    "txt": _text,
    "csv": _csv,
    "docx": _docx,
    "xlsx": _xlsx,
    "png": _png,
    "pdf": _pdf,
    "zip": _zip,
}
MEDIA_TYPES = {
    "txt": "text/plain",
    "csv": "text/csv",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "png": "image/png",
    "pdf": "application/pdf",
    "zip": "application/zip",
}


@functools.cache
def project_documents(seed: int, project: str) -> tuple[tuple[str, Document], ...]:
    """Names and documents that everyone on a project shares."""
    names = (
        ("Specification {}.docx", False), ("Risk list {}.xlsx", False), ("{} schedule.xlsx", False),
        ("Test protocol {}.pdf", False), ("{} climate chamber.csv", False),
        ("{} housing.png", False), ("Minutes {} kick-off.docx", False),
        ("{} bill of materials.xlsx", False),
        ("Übersicht {}.txt", False), ("{} assembly film.zip", True), ("{} test stand.pdf", True),
    )  # fmt: skip
    found = []
    for template, big in names:
        name = template.format(project)
        key = f"{project}/{name}"
        found.append((name, Document(seed, key, name.rpartition(".")[2], project, big=big)))
    return tuple(found)
