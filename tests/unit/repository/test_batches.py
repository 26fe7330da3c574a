"""Small files in batches: which, how many, and that a row of a batch is what the node's own row would be."""

import os
from array import array
from pathlib import Path

import pytest

from cext import filebatch
from engine.catalog import decode_parts, rows_of
from repository.intake import StoredParts
from repository.tree import ROOT, batches
from repository.tree.batches import (
    BATCH_BYTES_TARGET,
    BATCH_FILES_MAX,
    SMALL_BYTES_MAX,
    Batch,
    Batcher,
    BatchReader,
    Listed,
    ReadBatch,
    listed,
    small_ones,
)
from repository.tree.nodes import Node, node_row


def test_only_small_plain_files_with_one_name_and_no_holes(tmp_path: Path) -> None:
    """Folders, links, large, sparse and hard-linked files go other ways, and so does what could not be looked at."""
    (tmp_path / "a").write_bytes(b"small")
    (tmp_path / "b").mkdir()
    (tmp_path / "c").symlink_to("a")
    (tmp_path / "d").write_bytes(bytes(range(256)) * (SMALL_BYTES_MAX // 256) + b"x")
    with (tmp_path / "e").open("wb") as file:
        file.truncate(SMALL_BYTES_MAX)
    (tmp_path / "f").write_bytes(b"two names")
    os.link(tmp_path / "f", tmp_path / "g")
    os.mkfifo(tmp_path / "h")
    (tmp_path / "i").write_bytes(b"")
    (tmp_path / "j").write_bytes(bytes(range(256)) * (SMALL_BYTES_MAX // 256))
    (tmp_path / "k").write_bytes(b"out of range")
    names, ends, stats = filebatch.scan(os.fsencode(tmp_path))
    named = [names[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert [named[n] for n in small_ones(stats)] == [b"a", b"i", b"j", b"k"]
    at = named.index(b"k") * filebatch.STAT_FIELDS
    stats[at + filebatch.ERRNO] = 13
    assert [named[n] for n in small_ones(stats)] == [b"a", b"i", b"j"]


@pytest.mark.parametrize("folder", [b"", b"below"])
def test_a_folder_is_looked_at_piece_by_piece(
    folder: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the number of its nodes, no more than so many are held as columns; none is lost."""
    monkeypatch.setattr(batches, "LISTED_MAX", 3)
    for number in range(8):
        (tmp_path / ("x" * (number + 1))).write_bytes(b"y" * number)
    pieces = list(listed(folder, *filebatch.scan(os.fsencode(tmp_path))))
    assert [len(piece.paths) for piece in pieces] == [3, 3, 2]
    names = [b"x" * (number + 1) for number in range(8)]
    prefix = b"below/" if folder else b""
    assert [name for piece in pieces for name in piece.names] == names
    assert [path for piece in pieces for path in piece.paths] == [prefix + name for name in names]
    assert {piece.folder for piece in pieces} == {folder or ROOT}
    sizes = [piece.statuses[filebatch.SIZE :: filebatch.STAT_FIELDS].tolist() for piece in pieces]
    assert sizes == [[0, 1, 2], [3, 4, 5], [6, 7]]


def _files(sizes: list[int], folder: bytes = b"folder") -> Listed:
    names = [b"%06d" % n for n in range(len(sizes))]
    statuses = array("q", bytes(8 * filebatch.STAT_FIELDS * len(sizes)))
    statuses[filebatch.SIZE :: filebatch.STAT_FIELDS] = array("q", sizes)
    return Listed(folder, [folder + b"/" + name for name in names], names, statuses)


@pytest.mark.parametrize(
    "sizes",
    [
        [0] * (2 * BATCH_FILES_MAX + 1),
        [SMALL_BYTES_MAX] * 9,
        [BATCH_BYTES_TARGET // 4, SMALL_BYTES_MAX - 1, 1, 0] * 5,
        [10_000] * 3000,
    ],
)
def test_batches_hold_all_files_in_order_and_no_more_than_their_buffer(sizes: list[int]) -> None:
    """A batch ends with the file that fills it, over the borders of folders; none is lost or comes twice."""
    batcher, made = Batcher(), []
    for folder in (b"one", b"two"):
        made += list(batcher.add(_files(sizes, folder)))
    assert all(batch.full for batch in made)
    made.append(batcher.rest())
    assert not made[-1].full
    for batch in made:
        assert sum(batch.column(filebatch.SIZE)) == batch.size
        assert len(batch) <= BATCH_FILES_MAX
        last = batch.column(filebatch.SIZE)[-1] if len(batch) else 0
        assert batch.size - last < BATCH_BYTES_TARGET
    wanted = [p for folder in (b"one", b"two") for p in _files(sizes, folder).paths]
    assert [path for batch in made for path in batch.paths] == wanted
    assert [f for batch in made for f in batch.folders] == [p.split(b"/")[0] for p in wanted]
    assert [s for batch in made for s in batch.column(filebatch.SIZE)] == sizes * 2


def _batch(folder: Path) -> Batch:
    names, ends, stats = filebatch.scan(os.fsencode(folder))
    named = [names[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    batcher = Batcher()
    assert list(batcher.add(Listed(ROOT, named, named, stats))) == []
    return batcher.rest()


def _stored(read: ReadBatch) -> StoredParts:
    sizes = [e - s for s, e in zip(read.spans[::2], read.spans[1::2], strict=True)]
    chunks = [b"r" * 32 + size.to_bytes(4, "little") if size else b"" for size in sizes]
    return StoredParts(sizes, chunks, [b""] * len(sizes))


def test_a_row_of_a_batch_is_the_row_of_the_node(tmp_path: Path) -> None:
    """Versions, times, owners, modes and extended attributes are those that `node_row` gives file by file."""
    for number in range(5):
        path = tmp_path / f"file {number}"
        path.write_bytes(b"x" * number)
        path.chmod(0o600 + number % 2 * 0o44)
        os.utime(path, ns=(0, 1_700_000_000_123_456_789 - number * 10**18))
    read = BatchReader(os.fsencode(tmp_path)).read(_batch(tmp_path))
    read.xattrs[3] = {b"user.note": b"kept"}
    table = read.table(_stored(read))
    parts = [decode_parts(packed) for packed in table.column("parts").to_pylist()]
    for number, row in enumerate(rows_of(table)):
        node = Node(row.id, (tmp_path / f"file {number}").lstat())
        assert row == node_row(node, parts[number], xattrs=read.xattrs.get(number))


def test_what_fails_or_changes_is_sorted_out(tmp_path: Path) -> None:
    """A file that is gone costs itself alone; one that changed keeps what was read and no version, so it is read again."""
    for name in "abcd":
        (tmp_path / name).write_bytes(name.encode() * 10)
    batch = _batch(tmp_path)
    (tmp_path / "b").unlink()
    with (tmp_path / "c").open("ab") as file:
        file.write(b"more")
    (tmp_path / "d").write_bytes(b"D" * 10)
    os.utime(tmp_path / "d", ns=(0, 5))
    read = BatchReader(os.fsencode(tmp_path)).read(batch)
    assert [path for path, _ in read.failed] == [b"b"]
    assert read.changed == [b"c", b"d"]
    assert read.batch.names == [b"a", b"c", b"d"]
    assert bytes(read.buffer[: read.spans[-1]]) == b"a" * 10 + b"c" * 10 + b"m" + b"D" * 10
    versions = [row.version for row in rows_of(read.table(_stored(read)))]
    assert versions[0]
    assert not versions[1]
    assert read.taken == 4


def test_one_batch_after_the_other_needs_one_buffer(tmp_path: Path) -> None:
    """The buffer that was given back is the next one: no more are touched than are in use at once."""
    (tmp_path / "a").write_bytes(b"x")
    reader, buffers = BatchReader(os.fsencode(tmp_path)), []
    for _ in range(batches.BATCHES_IN_FLIGHT_MAX + 1):
        read = reader.read(_batch(tmp_path))
        reader.give_back(read)
        buffers.append(read.buffer)
    assert all(buffer is buffers[0] for buffer in buffers)
