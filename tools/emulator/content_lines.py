"""
The lines that iCalendar and vCard files are made of: name, parameters, value; and their nesting.

Lenient: what cannot be read is left out, since a folder of real files holds broken ones too.
Sources: RFC 5545 section 3.1, RFC 6350 section 3.3, vCard 2.1 for quoted-printable.
"""

import dataclasses
import quopri
import re
from collections.abc import Iterator

_NAME = re.compile(r"^(?:[\w-]+\.)?([\w-]+)((?:;[^:\"]*(?:\"[^\"]*\"[^:\"]*)*)?):(.*)$", re.S)
_PARAMETER = re.compile(r";([\w-]+)(?:=((?:\"[^\"]*\"|[^;\"])*))?")
_UNFOLD = re.compile(r"\r?\n[ \t]")
_ESCAPE = re.compile(r"\\(.)", re.S)
DEPTH_MAX = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One property; names and parameter names in capitals, the value as it stands."""

    name: str
    parameters: dict[str, str]
    value: str

    @property
    def text(self) -> str:
        """The value with its escapes undone."""
        return unescape(self.value)

    def fields(self) -> list[str]:
        """The parts of a value such as `N` or `ADR`, divided by semicolons."""
        return [unescape(part) for part in re.split(r"(?<!\\);", self.value)]

    def list(self) -> list[str]:
        """The parts of a value such as `CATEGORIES`, divided by commas."""
        return [unescape(part).strip() for part in re.split(r"(?<!\\),", self.value) if part]


@dataclasses.dataclass(slots=True)
class Block:
    """What stands between BEGIN and END."""

    name: str
    lines: list[Line] = dataclasses.field(default_factory=list)
    inner: list["Block"] = dataclasses.field(default_factory=list)

    def first(self, name: str) -> Line | None:
        """The first line of that name."""
        return next((line for line in self.lines if line.name == name), None)

    def all(self, name: str) -> list[Line]:
        """Every line of that name."""
        return [line for line in self.lines if line.name == name]

    def text(self, name: str) -> str:
        """The text of the first line of that name, empty without one."""
        line = self.first(name)
        return line.text if line else ""


def unescape(value: str) -> str:
    """Undo backslash escapes."""
    return _ESCAPE.sub(lambda match: "\n" if match[1] in "nN" else match[1], value)


def blocks(raw: bytes) -> list[Block]:
    """The outermost blocks of a file; an unfinished one is taken as it is."""
    root = Block("")
    stack = [root]
    for line in _lines(_decoded(raw)):
        if line.name == "BEGIN" and len(stack) < DEPTH_MAX:
            made = Block(line.value.strip().upper())
            stack[-1].inner.append(made)
            stack.append(made)
        elif line.name == "END":
            if len(stack) > 1:
                stack.pop()
        else:
            stack[-1].lines.append(line)
    return root.inner


def _decoded(raw: bytes) -> str:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def _lines(text: str) -> Iterator[Line]:
    pending = ""
    for raw in re.split(r"\r\n|\n|\r", _UNFOLD.sub("", text)):
        if pending:
            raw, pending = pending + raw, ""
        match = _NAME.match(raw)
        if match is None:
            continue
        if "QUOTED-PRINTABLE" in match[2].upper() and raw.endswith("="):
            pending = raw[:-1]  # a soft line break of vCard 2.1
            continue
        yield _line(match[1], match[2], match[3])


def _line(name: str, parameters: str, value: str) -> Line:
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(parameters):
        key, given = match[1].upper(), match[2]
        if given is None:  # vCard 2.1 writes `TEL;HOME` for `TEL;TYPE=HOME`
            key, given = "TYPE", match[1]
        given = given.replace('"', "")
        found[key] = f"{found[key]},{given}" if key in found else given
    if "QUOTED-PRINTABLE" in (found.get("ENCODING", "") + found.get("TYPE", "")).upper():
        charset = found.get("CHARSET", "utf-8")
        try:
            value = quopri.decodestring(value.encode("latin-1", "replace")).decode(
                charset, "replace"
            )
        except LookupError:
            value = quopri.decodestring(value.encode("latin-1", "replace")).decode("latin-1")
        value = value.replace("\r\n", "\\n")
    return Line(name.upper(), found, value)
