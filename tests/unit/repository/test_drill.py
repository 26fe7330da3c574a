"""Restore drill: items are understood as what they are; bytes without sense are named."""

import io
import zipfile

import pytest

from engine.catalog import Row
from repository import Repository
from repository.drill import SAMPLE_ITEMS
from repository.session import WriteSession
from tests.fixtures.formats import attachment, mail
from tests.fixtures.repositories import object_key


def document(content: bytes = b"<xml/>") -> bytes:
    """An Office document, as far as a drill looks."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", content * 100)
    return made.getvalue()


def commit(
    repository: Repository, session: WriteSession, items: list[tuple[str, str, bytes]]
) -> None:
    """Items of (name, role, content)."""
    slice_ = session.open_slice(object_key("ann"), "mail", "s")
    rows = [
        Row(
            name.encode(), b"", name.encode(), "item", len(data), parts=(session.store(role, data),)
        )
        for name, role, data in items
    ]
    slice_.advance(rows, b"mark")
    slice_.finish()
    session.commit()


GOOD = [
    ("mail", "mime", mail(attachment(2100))),
    ("event", "json", b'{"subject": "x"}'),
    ("report.docx", "content", document()),
    ("any", "content", b"bytes"),
    ("empty", "content", b""),
]


def test_each_kind_is_parsed(repository: Repository) -> None:
    """Mail, JSON, documents and other files, each counted."""
    with repository.write_session("w") as session:
        commit(repository, session, GOOD)
    report = repository.verify("drill")
    assert report.ok
    assert report.drill is not None
    counts = {kind: done.items for kind, done in report.drill.kinds.items()}
    assert counts == {"mail": 1, "json": 1, "archive": 1, "file": 2}
    assert not report.drill.failures


@pytest.mark.parametrize(
    ("role", "data"),
    [
        ("mime", b"\x00\x01 no header"),
        ("json", b'{"subject": '),
        ("content", document()[:-30]),
        ("content", document().replace(document()[40:60], bytes(20))),
    ],
)
def test_bytes_without_sense_are_named(repository: Repository, role: str, data: bytes) -> None:
    """What was stored wrong comes back wrong: a read finds nothing, a drill does."""
    with repository.write_session("w") as session:
        commit(repository, session, [*GOOD, ("broken", role, data)])
    assert repository.verify("read").ok
    report = repository.verify("drill")
    assert not report.ok
    assert report.drill is not None
    assert len(report.drill.failures) == 1
    assert "broken" in report.drill.failures[0]


@pytest.mark.slow
def test_a_sample_is_spread(repository: Repository) -> None:
    """Of many items some from the first to the last; all of them on demand."""
    many = [(f"{n:04}", "json", b"%d" % n) for n in range(3 * SAMPLE_ITEMS)]
    with repository.write_session("w") as session:
        commit(repository, session, many)
    sampled, everything = repository.verify("drill"), repository.verify("drill", everything=True)
    assert sampled.drill is not None
    assert everything.drill is not None
    assert sampled.drill.kinds["json"].items == SAMPLE_ITEMS
    assert everything.drill.kinds["json"].items == 3 * SAMPLE_ITEMS
