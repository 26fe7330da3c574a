"""Mail is stored split at its attachments: what is the same is stored once, and comes back to the byte."""

import base64
import random
from array import array

import pytest

from engine.catalog import Row
from engine.parts import Part
from engine.recipe import decode_recipe
from repository import Repository
from repository.blobstore.memory import MemoryStore
from repository.session import WriteSession
from tests.fixtures.formats import attachment, mail
from tests.fixtures.repositories import (
    TREE,
    OpenRepository,
    commit_files,
    contents,
    head,
    object_key,
)

PHOTO = attachment(400_000, 1)
SLIDES = attachment(150_000, 2)


def ids(part: Part) -> list[bytes]:
    return [chunk for chunk, _ in part.references()]


def pack_bytes(store: MemoryStore) -> int:
    return sum(blob.size for blob in store.list("pack/d/"))


def written(session: WriteSession, content: bytes, seed: int, piece_bytes_max: int) -> Part:
    """The part that a PartWriter makes of odd pieces."""
    rng = random.Random(seed)
    at = 0
    with session.open_part("mime") as writer:
        while at < len(content):
            size = rng.randrange(piece_bytes_max)
            writer.write(content[at : at + size])
            at += size
    return writer.part


def committed(session: WriteSession, parts: dict[str, Part]) -> None:
    slice_ = session.open_slice(TREE, "files", "s")
    slice_.advance(
        [
            Row(name.encode(), b"", name.encode(), "message", part.size, parts=(part,))
            for name, part in parts.items()
        ]
    )
    slice_.finish()
    assert session.commit() is not None


def test_mail_and_drive_share_an_attachment(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository
) -> None:
    """Two mails with one attachment, in other lines and newlines, and the file itself: one set of chunks."""
    first = mail(PHOTO, SLIDES)
    second = mail(SLIDES, PHOTO, line=64, newline=b"\n")
    with repository.write_session("w") as session:
        whole = session.store("content", PHOTO)
        one, two = session.store("mime", first), session.store("mime", second)
        shared = ids(whole)
        assert len(shared) > 3
        assert not whole.recipe
        assert set(shared) <= set(ids(one))
        assert set(shared) <= set(ids(two))
        assert set(ids(session.store("content", SLIDES))) <= set(ids(one)) & set(ids(two))
        assert [body.decoded_bytes for body in decode_recipe(one.recipe)] == [400_000, 150_000]
        assert (one.size, two.size) == (len(first), len(second))
        committed(session, {"photo.jpg": whole, "one": one, "two": two})
    assert pack_bytes(store) < 1.12 * (len(PHOTO) + len(SLIDES)) + 20_000
    other = open_repo(store)
    entry = head(other, TREE)
    assert entry is not None
    assert contents(other, entry) == {"photo.jpg": PHOTO, "one": first, "two": second}
    assert other.verify("read").ok


def test_a_file_after_the_mail_adds_no_data(store: MemoryStore, repository: Repository) -> None:
    """Across turns and objects: a drive that gets the attachment later stores nothing new."""
    with repository.write_session("w") as session:
        commit_files(repository, session, {"m": mail(PHOTO)}, object_key("mailbox"))
        before = pack_bytes(store)
        commit_files(repository, session, {"photo.jpg": PHOTO}, object_key("drive"))
        commit_files(repository, session, {"n": mail(PHOTO)}, object_key("another"))
    assert pack_bytes(store) == before


@pytest.mark.slow
@pytest.mark.parametrize("line", [76, 64, 996])
def test_written_in_pieces_equals_stored_at_once(repository: Repository, line: int) -> None:
    """A PartWriter gives the chunks and recipe of `store`, also of a mail larger than its buffer."""
    for content in (
        mail(SLIDES, line=line),
        mail(attachment(3_000_000, 3), PHOTO, line=line),
        mail(attachment(6_100_000, 4), line=line),
    ):
        with repository.write_session("w") as session:
            whole = session.store("mime", content)
            assert whole.recipe
            for seed, largest in ((1, 1_000_000), (2, 70_001), (3, len(content) + 1)):
                assert written(session, content, seed, largest) == whole


def test_many_at_once_equal_one_by_one(repository: Repository) -> None:
    """A batch of mails, texts and files gives for each what `store` gives."""
    bodies = [mail(SLIDES), b"", b"just text", PHOTO, mail(PHOTO, SLIDES, line=60), b"From: x\n\n"]
    spans, at = array("Q"), 0
    for body in bodies:
        spans.extend((at, at + len(body)))
        at += len(body)
    with repository.write_session("w") as session:
        made = session.store_many(b"".join(bodies), spans)
        for number, body in enumerate(bodies):
            part = session.store("mime", body)
            assert (part.size, part.chunks, part.recipe) == (
                made.sizes[number],
                made.chunks[number],
                made.recipes[number],
            )


def test_reading_gives_the_exact_bytes(repository: Repository) -> None:
    """Piece by piece and at once; with odd bodies, text around them, and what only looks like base64."""
    wrong = bytearray(mail(SLIDES))
    wrong[len(wrong) // 2] = ord("!")
    bodies = {
        "plain": b"From: a@b.example\r\n\r\nno attachment\r\n",
        "one": mail(PHOTO),
        "three": mail(attachment(2048), attachment(2049), attachment(2050), line=4, newline=b"\n"),
        "nested": mail(mail(SLIDES), line=72),
        "cut": mail(PHOTO)[:-70_001],
        "broken": bytes(wrong),
        "one line": b"From: x\n\n" + base64.b64encode(PHOTO),
        "ends in text": mail(SLIDES) + b"text " * 30_000,
    }
    with repository.write_session("w") as session:
        entry = commit_files(repository, session, bodies)
    for row in repository.catalog(entry).rows():
        (part,) = row.parts
        pieces = list(repository.read(part))
        assert b"".join(pieces) == repository.read_all(part) == bodies[row.id.decode()]
        assert max(map(len, pieces)) <= 512 * 1024
    assert repository.verify("read").ok


def test_a_mail_above_the_limit_is_stored_as_it_is(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too large to hold: cut like a file while it is written, and comes back to the byte."""
    monkeypatch.setattr("repository.part_writer.PART_BUFFER_BYTES", 256 * 1024)
    monkeypatch.setattr("repository.part_writer.MAIL_BUFFER_BYTES_MAX", 1024 * 1024)
    small, large = mail(attachment(500_000, 6)), mail(attachment(2_000_000, 5))
    with repository.write_session("w") as session:
        below = written(session, small, 1, 30_000)
        above = written(session, large, 2, 30_000)
        committed(session, {"below": below, "above": above})
    assert below.recipe
    assert not above.recipe
    assert (below.size, above.size) == (len(small), len(large))
    assert repository.read_all(below) == small
    assert repository.read_all(above) == large
    assert repository.verify("read").ok


def test_checkpoints_and_catalogs_are_never_split(repository: Repository) -> None:
    """Entries name them without a recipe: a checkpoint that looks like mail comes back all the same."""
    checkpoint = mail(attachment(9000))
    with repository.write_session("w") as session:
        entry = commit_files(repository, session, {"a": b"A"}, checkpoint=checkpoint)
    assert repository.checkpoint(entry) == checkpoint
