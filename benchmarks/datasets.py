"""Data sets made from a seed: the same bytes on every machine."""

import base64
import random
from collections.abc import Callable
from pathlib import Path

WORDS = [
    "account",
    "agenda",
    "annual",
    "answer",
    "approve",
    "archive",
    "attach",
    "autumn",
    "balance",
    "board",
    "branch",
    "budget",
    "carrier",
    "client",
    "contract",
    "copper",
    "crane",
    "customs",
    "delivery",
    "deposit",
    "design",
    "draft",
    "engine",
    "export",
    "factory",
    "filter",
    "final",
    "forecast",
    "garden",
    "harbour",
    "height",
    "import",
    "invoice",
    "journal",
    "kernel",
    "ledger",
    "letter",
    "limit",
    "machine",
    "margin",
    "market",
    "meeting",
    "monthly",
    "network",
    "notice",
    "office",
    "order",
    "packet",
    "partner",
    "permit",
    "planned",
    "process",
    "quarter",
    "quality",
    "receipt",
    "region",
    "report",
    "review",
    "sample",
    "schedule",
    "season",
    "series",
    "service",
    "signal",
    "status",
    "summary",
    "supply",
    "target",
    "team",
    "tender",
    "training",
    "transfer",
    "update",
    "vendor",
    "version",
    "warehouse",
    "weekly",
    "winter",
    "workshop",
]


def _text(dice: random.Random, size: int) -> bytes:
    words: list[str] = []
    length = 0
    while length < size:
        word = dice.choice(WORDS)
        words.append(word if dice.random() > 0.08 else word + ".\r\n")
        length += len(words[-1]) + 1
    return " ".join(words).encode()[:size]


def mail(folder: Path, scale: float, seed: int = 1) -> None:
    """Small messages, every seventh with a base64 attachment, a fifth of these repeat an earlier one."""
    dice = random.Random(seed)
    attachments: list[bytes] = []
    for number in range(int(20_000 * scale)):
        parts = [
            f"Message-ID: <{number}@example>\r\nSubject: {dice.choice(WORDS)}\r\n\r\n".encode()
        ]
        parts.append(_text(dice, int(dice.lognormvariate(8.2, 0.9))))
        if dice.random() < 0.15:
            if attachments and dice.random() < 0.2:
                data = dice.choice(attachments)
            else:
                data = dice.randbytes(int(dice.lognormvariate(10.5, 0.8)))
                attachments.append(data)
            parts.append(base64.encodebytes(data))
        path = folder / f"{number % 200:03d}" / f"{number}.eml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(parts))


def files(folder: Path, scale: float, seed: int = 2) -> None:
    """Large, mostly incompressible files; a third are earlier ones with a few insertions."""
    dice = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    for number in range(max(3, int(60 * scale))):
        path = folder / f"{number}.bin"
        if made and dice.random() < 0.33:
            data = bytearray(dice.choice(made).read_bytes())
            for _ in range(dice.randrange(3, 10)):
                at = dice.randrange(len(data))
                data[at:at] = dice.randbytes(dice.randrange(1, 1000))
            path.write_bytes(data)
        else:
            path.write_bytes(dice.randbytes(dice.randrange(1_000_000, 20_000_000)))
        made.append(path)


DATASETS: dict[str, Callable[[Path, float], None]] = {"mail": mail, "files": files}
