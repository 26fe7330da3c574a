"""Messages made from a seed, as a mailbox holds them: each one can be made without making the others."""

import base64
import bisect
import html
import itertools
import math
import os
import random
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HTML_SHARE, QUOTE_SHARE, ATTACHMENT_SHARE, REPEAT_SHARE = 0.35, 0.30, 0.15, 0.20
EXTERNAL_SHARE = 0.5  # these carry signatures and the headers of several servers
PROSE_SHARE = 0.4  # generated sentences; the rest are lines of real files
TABLE_SHARE = 0.06  # attachments that are text; the others are containers of deflated data
BODY_BYTES_MEDIAN, BODY_SPREAD, BODY_BYTES_MAX = 1_150, 0.95, 24_000
ATTACHMENT_BYTES_MEDIAN, ATTACHMENT_SPREAD = 43_000, 0.6
ATTACHMENT_BYTES_MIN, ATTACHMENT_BYTES_MAX = 3_000, 180_000
VOCABULARY, PEOPLE = 6_000, 1_500
FOLDERS = ("test", "tests", "site-packages", "idlelib", "__pycache__")  # not read for lines
TYPES = (
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("pdf", "application/pdf"),
    ("jpg", "image/jpeg"),
)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Lines of 30 to 100 characters, and words with the sums of their frequencies."""

    lines: Sequence[str]
    words: Sequence[str]
    weights: Sequence[float]

    def text(self, dice: random.Random, size: int) -> list[str]:
        """About `size` characters as lines: runs of real lines, and generated sentences."""
        made: list[str] = []
        length = 0
        while length < size:
            if dice.random() < PROSE_SHARE:
                paragraph = self._sentences(dice)
            else:
                start = dice.randrange(len(self.lines))
                paragraph = list(self.lines[start : start + dice.randrange(3, 12)])
            made += [*paragraph, ""]
            length += sum(map(len, paragraph)) + 2 * len(paragraph)
        return made

    def _sentences(self, dice: random.Random) -> list[str]:
        words = self.choose(dice, dice.randrange(20, 70))
        end = 0
        while end < len(words):
            words[end] = words[end].capitalize()
            end += dice.randrange(6, 17)
            words[min(end, len(words)) - 1] += "."
        return [" ".join(words[i : i + 12]) for i in range(0, len(words), 12)]

    def choose(self, dice: random.Random, count: int) -> list[str]:
        """Words by their frequency."""
        total = self.weights[-1]
        return [
            self.words[bisect.bisect(self.weights, dice.random() * total)] for _ in range(count)
        ]


@cache
def corpus() -> Corpus:
    """What every machine with Python has: the sources of its standard library, in order of path."""
    lines: dict[str, None] = {}
    counted: Counter[str] = Counter()
    for folder, below, names in os.walk(sysconfig.get_path("stdlib")):
        below[:] = sorted(name for name in below if name not in FOLDERS)
        for name in sorted(names):
            if name.endswith(".py"):
                text = (Path(folder) / name).read_text(errors="replace")
                fit = (line.strip() for line in text.splitlines() if line.isascii())
                lines.update(dict.fromkeys(line for line in fit if 30 <= len(line) <= 100))
                counted.update(re.findall(r"\b[a-z]{2,12}\b", text))
    words = sorted(counted, key=lambda word: (-counted[word], word))[:VOCABULARY]
    sums = itertools.accumulate(math.sqrt(counted[word]) for word in words)
    return Corpus(list(lines), words, list(sums))


@dataclass(frozen=True, slots=True)
class Plan:
    """What joins messages: by number, whose attachment it carries and whom it quotes, or -1."""

    attachment: Sequence[int]
    quoted: Sequence[int]


@cache
def plan(seed: int, count: int) -> Plan:
    """The plan of the first `count` messages; a longer plan begins with a shorter one."""
    dice = random.Random(f"{seed} plan")
    first_seen: list[int] = []
    attachment, quoted = [], []
    for number in range(count):
        carries, repeats, quotes, earlier, which = (dice.random() for _ in range(5))
        quoted.append(int(earlier * number) if number and quotes < QUOTE_SHARE else -1)
        if carries >= ATTACHMENT_SHARE:
            attachment.append(-1)
        elif first_seen and repeats < REPEAT_SHARE:
            attachment.append(first_seen[int(which * len(first_seen))])
        else:
            first_seen.append(number)
            attachment.append(number)
    return Plan(attachment, quoted)


def message(seed: int, number: int, of: Plan) -> bytes:
    """One RFC 822 message with CRLF; the same for the same seed and number."""
    dice = random.Random(f"{seed} message {number}")
    text = _body(seed, number)
    if of.quoted[number] >= 0:
        text += ["", "On an earlier day it was written:"]
        text += ["> " + line for line in _body(seed, of.quoted[number])]
    plain = ("text/plain; charset=utf-8", "\r\n".join(text).encode() + b"\r\n")
    kind, body = plain
    if dice.random() < HTML_SHARE:
        twin = ("text/html; charset=utf-8", _html(text))
        kind, body = _multipart(dice, "alternative", [plain, twin])
    if of.attachment[number] >= 0:
        kind, body = _multipart(
            dice, "mixed", [(kind, body), _attached(seed, of.attachment[number])]
        )
    head = _headers(dice, number, kind)
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def messages(seed: int, numbers: range, count: int) -> Iterator[tuple[int, bytes]]:
    """Messages of a plan for `count`."""
    joined = plan(seed, count)
    for number in numbers:
        yield number, message(seed, number, joined)


def _body(seed: int, number: int) -> list[str]:
    dice = random.Random(f"{seed} body {number}")
    size = _size(dice, BODY_BYTES_MEDIAN, BODY_SPREAD, 250, BODY_BYTES_MAX)
    return corpus().text(dice, size)


def _size(dice: random.Random, median: int, spread: float, least: int, most: int) -> int:
    return min(most, max(least, int(dice.lognormvariate(math.log(median), spread))))


def _html(text: Sequence[str]) -> bytes:
    style = "font-family:Calibri,sans-serif;margin:0"
    lines = [f'<p style="{style}">{html.escape(line) or "&nbsp;"}</p>' for line in text]
    head = '<html><head><meta http-equiv="Content-Type" content="text/html; charset=utf-8">'
    return "\r\n".join([f"{head}</head><body>", *lines, "</body></html>", ""]).encode()


def _multipart(
    dice: random.Random, kind: str, parts: Sequence[tuple[str, bytes]]
) -> tuple[str, bytes]:
    border = f"_{dice.getrandbits(128):032x}_"
    joined = [f"--{border}\r\nContent-Type: {head}\r\n\r\n".encode() + body for head, body in parts]
    content = b"\r\n".join([*joined, f"--{border}--\r\n".encode()])
    return f'multipart/{kind}; boundary="{border}"', content


def _attached(seed: int, number: int) -> tuple[str, bytes]:
    """The attachment that message `number` brought first, with the heads of its part."""
    dice = random.Random(f"{seed} attachment {number}")
    size = _size(
        dice,
        ATTACHMENT_BYTES_MEDIAN,
        ATTACHMENT_SPREAD,
        ATTACHMENT_BYTES_MIN,
        ATTACHMENT_BYTES_MAX,
    )
    name = "-".join(corpus().choose(dice, 3))
    if dice.random() < TABLE_SHARE:
        ending, kind, content = "csv", "text/csv", _rows(dice, size)
    else:
        ending, kind = dice.choice(TYPES)
        content = b"PK\x03\x04\x14\x00\x06\x00\x08\x00" + dice.randbytes(size)
    head = (
        f'{kind}; name="{name}.{ending}"\r\nContent-Transfer-Encoding: base64\r\n'
        f'Content-Disposition: attachment; filename="{name}.{ending}"; size={len(content)}'
    )
    return head, base64.encodebytes(content).replace(b"\n", b"\r\n")


def _rows(dice: random.Random, size: int) -> bytes:
    rows: list[str] = []
    length = 0
    while length < size:
        words = ";".join(corpus().choose(dice, 2))
        rows.append(f"{len(rows)};{dice.randrange(10**6)};{words};{dice.random() * 1000:.2f}\r\n")
        length += len(rows[-1])
    return "".join(rows).encode()


def _headers(dice: random.Random, number: int, kind: str) -> list[str]:
    day = f"{number % 28 + 1:02d} Jan 2026 {number % 24:02d}:{number % 60:02d}:{number % 59:02d} +0000"
    external = dice.random() < EXTERNAL_SHARE
    sender = _person(dice, "partner.example" if external else "contoso.example")
    subject = " ".join(corpus().choose(dice, dice.randrange(3, 9)))
    head = [_received(dice, day) for _ in range(3 if external else 1)]
    if external:
        head += _signatures(dice)
    return [
        *head,
        f"From: {sender}",
        f"To: {_person(dice, 'contoso.example')}",
        f"Subject: {subject}",
        f"Date: {day}",
        f"Message-ID: <{dice.getrandbits(120):030X}@mail.contoso.example>",
        "X-MS-Exchange-Organization-SCL: 1",
        f"X-MS-Exchange-Organization-Network-Message-Id: {dice.getrandbits(128):032x}",
        "X-MS-Exchange-Organization-AuthAs: " + ("Anonymous" if external else "Internal"),
        "X-MS-Has-Attach:",
        f"X-MS-TrafficTypeDiagnostic: DB{dice.randrange(99)}PR04MB{dice.randrange(9999)}:EE_",
        "MIME-Version: 1.0",
        f"Content-Type: {kind}",
    ]


def _person(dice: random.Random, domain: str) -> str:
    who = dice.randrange(PEOPLE)
    words = corpus().words
    first, last = words[who * 7 % len(words)], words[who * 13 % len(words)]
    return f'"{last.title()}, {first.title()}" <{first}.{last}@{domain}>'


def _received(dice: random.Random, day: str) -> str:
    host = f"DB{dice.randrange(99)}PR04MB{dice.randrange(9999)}.eurprd04.prod.outlook.example"
    address = f"2603:10a6:{dice.randrange(4096):x}:{dice.randrange(4096):x}::{dice.randrange(99)}"
    return (
        f"Received: from {host} ({address})\r\n by {host[::-1][-9:]} with HTTPS;"
        f" Mon, {day}\r\n id {dice.getrandbits(64):016X}"
    )


def _folded(data: bytes) -> str:
    text = base64.b64encode(data).decode()
    return "\r\n ".join(text[i : i + 72] for i in range(0, len(text), 72))


def _signatures(dice: random.Random) -> list[str]:
    signed = "h=From:Date:Subject:Message-ID:Content-Type:MIME-Version"

    def signature(head: str) -> str:
        body_hash, value = _folded(dice.randbytes(32)), _folded(dice.randbytes(256))
        how = f"a=rsa-sha256; c=relaxed/relaxed; {signed}"
        return f"{head} {how};\r\n bh={body_hash}\r\n b={value}"

    seal = _folded(dice.randbytes(256))
    return [
        f"ARC-Seal: i=1; a=rsa-sha256; s=arc-20240116; cv=none;\r\n b={seal}",
        signature("ARC-Message-Signature: i=1;"),
        signature("DKIM-Signature: v=1; d=partner.example;"),
        "Authentication-Results: spf=pass smtp.mailfrom=partner.example; dkim=pass; dmarc=pass",
        f"X-Microsoft-Antispam-Message-Info:\r\n {_folded(dice.randbytes(600))}",
    ]
