"""The state feed of a drive, with everything that it may say, against a scripted service."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import pytest

from engine.catalog import Row
from engine.parts import Part
from proxy.contract import ItemOutcome, ObjectRef
from proxy.graph.budget import Meter
from proxy.graph.client import Call
from proxy.graph.errors import GraphNotFound, GraphResync, GraphServiceMissing, GraphUnavailable
from proxy.graph.paging import Page
from proxy.workloads.drives import Drives
from tests.unit.proxy.test_budget import FakeClock

ANN = ObjectRef("user", "ann", "ann@example.com")
Entry = dict[str, Any]


class MemoryShelf:
    """A Shelf in a dict; parts are kept as their bytes."""

    def __init__(self) -> None:
        self.rows: dict[bytes, Row] = {}
        self.stored: bytes | None = None
        self.outcomes: list[ItemOutcome] = []
        self.contents: list[bytes] = []

    @property
    def checkpoint(self) -> bytes | None:
        return self.stored

    def row(self, row_id: bytes) -> Row | None:
        return self.rows.get(row_id)

    async def ids(self) -> set[bytes]:
        return set(self.rows)

    async def children(self, container: bytes) -> list[Row]:
        return [row for row in self.rows.values() if row.container == container]

    async def store(self, role: str, data: bytes) -> Part:
        self.contents.append(data)
        return Part(role, len(data), b"")

    def open_part(self, role: str) -> Any:
        raise AssertionError("small files only")

    async def advance(self, rows: Iterable[Row], checkpoint: bytes) -> None:
        for row in rows:
            self.rows.pop(row.id, None)
            if not row.removed:
                self.rows[row.id] = row
        self.stored = checkpoint

    def note(self, outcome: ItemOutcome) -> None:
        self.outcomes.append(outcome)

    def count(self, **_: int) -> None:
        """Nobody asks."""

    def paths(self) -> set[str]:
        """Names from the drive down."""
        return {self._path(row) for row in self.rows.values()}

    def _path(self, row: Row) -> str:
        above = self.rows.get(row.container)
        name = row.name.decode()
        return name if above is None else f"{self._path(above)}/{name}"


class ScriptedClient:
    """Pages as given, one list per round; items by id; every content is the item's id."""

    def __init__(self, drives: Mapping[str, list[list[list[Entry]]]]) -> None:
        self.drives = {drive: [list(pages) for pages in rounds] for drive, rounds in drives.items()}
        self.items: dict[str, Entry] = {}
        self.resync = False
        self.failing: set[str] = set()
        self.downloads: list[str] = []
        self.meter = Meter()
        self.clock = FakeClock()
        self.settings = SimpleNamespace(
            graph_endpoint="https://g", item_patience_s=1.0, page_patience_s=1.0
        )

    def url(self, path: str, query: Mapping[str, str] | None = None) -> str:
        return f"https://g{path}"

    async def pages(self, call: Call) -> AsyncIterator[Page]:
        if not self.drives:
            raise GraphServiceMissing("none", code="graph-service-missing")
        listing = [{"id": drive, "name": drive.title()} for drive in self.drives]
        yield Page([msgspec.Raw(msgspec.json.encode(one)) for one in listing], None, None)

    async def page(self, call: Call, machine: object) -> Page:
        if self.resync and call.follows_link:
            self.resync = False
            raise GraphResync("dead", code="graph-resync")
        drive = urlsplit(call.url).path.split("/")[2]
        rounds = self.drives[drive]
        entries = rounds[0].pop(0) if rounds and rounds[0] else []
        more = bool(rounds and rounds[0])
        if rounds and not rounds[0]:
            rounds.pop(0)
        for entry in entries:
            self.items[entry["id"]] = entry
        raw = [msgspec.Raw(msgspec.json.encode(entry)) for entry in entries]
        link = f"https://g/drives/{drive}/root/delta?token=x"
        return Page(raw, link if more else None, None if more else link)

    async def get_bytes(self, call: Call, limit: int) -> bytes:
        item = self.items.get(unquote(call.url.rpartition("/")[2]))
        if item is None or "deleted" in item:
            raise GraphNotFound("gone", code="graph-not-found")
        return msgspec.json.encode(item)

    async def location(self, call: Call) -> str:
        item = call.url.split("/")[4]
        if item in self.failing:
            raise GraphUnavailable("503", code="graph-unavailable")
        return f"https://d/{item}"

    @asynccontextmanager
    async def open_preauthenticated(
        self, call: Call, headers: Mapping[str, str]
    ) -> AsyncIterator[Any]:
        item = call.url.rpartition("/")[2]
        self.downloads.append(item)

        async def chunks() -> AsyncIterator[bytes]:
            yield item.encode()

        yield SimpleNamespace(status=200, headers={"Content-Length": str(len(item))}, chunks=chunks)


ROOT: Entry = {"id": "root", "name": "root", "root": {}, "folder": {}}


def folder(name: str, parent: str = "root", /, **more: Any) -> Entry:
    return {"id": name, "name": name, "folder": {}, "parentReference": {"id": parent}, **more}


def file(name: str, parent: str = "root", /, tag: str = "1", **more: Any) -> Entry:
    base = {"id": name, "name": name, "file": {}, "cTag": f"{name}:{tag}", "size": len(name)}
    return {**base, "parentReference": {"id": parent}, **more}


def gone(name: str) -> Entry:
    return {"id": name, "deleted": {"state": "deleted"}}


async def read(client: ScriptedClient, shelf: MemoryShelf) -> None:
    await Drives().backup(client, ANN, shelf)  # type: ignore[arg-type]


async def run(*rounds: list[list[Entry]]) -> tuple[MemoryShelf, ScriptedClient]:
    client, shelf = ScriptedClient({"d": [[[ROOT], *rounds[0]], *rounds[1:]]}), MemoryShelf()
    await read(client, shelf)
    return shelf, client


async def test_the_last_word_on_an_item_counts() -> None:
    shelf, client = await run(
        [[folder("a"), folder("b"), file("x", "a"), file("x", "b")], [file("x", "a", name="y")]]
    )
    assert shelf.paths() == {"D", "D/a", "D/b", "D/a/y"}
    assert client.downloads == ["x"]


async def test_items_may_come_before_their_folder() -> None:
    shelf, _ = await run([[file("x", "late")], [folder("late")]])
    assert shelf.paths() == {"D", "D/late", "D/late/x"}


async def test_a_folder_that_never_comes_is_looked_up_and_its_contents_go_if_it_is_gone() -> None:
    client, shelf = (
        ScriptedClient({"d": [[[ROOT, file("x", "in"), file("y", "lost")]]]}),
        MemoryShelf(),
    )
    client.items["in"], client.items["above"] = folder("in", "above"), folder("above")
    await read(client, shelf)
    assert shelf.paths() == {"D", "D/above", "D/above/in", "D/above/in/x"}


async def test_a_deleted_folder_takes_what_is_left_in_it_but_not_what_moved_out() -> None:
    first = [[folder("a"), folder("b", "a"), file("x", "b"), file("y", "b"), folder("c")]]
    shelf, client = await run(first)
    client.drives["d"] = [[[gone("a")], [file("x", "c")]]]
    await read(client, shelf)
    assert shelf.paths() == {"D", "D/c", "D/c/x"}
    assert client.downloads == ["x", "y"]


async def test_deleted_and_restored_in_one_round() -> None:
    shelf, client = await run([[folder("a"), file("x", "a")]])
    client.drives["d"] = [[[gone("x"), gone("a")], [folder("a"), file("x", "a")]]]
    await read(client, shelf)
    assert shelf.paths() == {"D", "D/a", "D/a/x"}


async def test_new_content_is_read_and_a_new_name_is_not() -> None:
    shelf, client = await run([[file("x"), file("y")]])
    client.drives["d"] = [[[file("x", name="renamed"), file("y", tag="2")]]]
    await read(client, shelf)
    assert shelf.paths() == {"D", "D/renamed", "D/y"}
    assert client.downloads == ["x", "y", "y"]


async def test_a_dead_token_removes_what_is_not_met_any_more() -> None:
    shelf, client = await run([[folder("a"), file("x", "a"), file("y")]])
    client.drives["d"] = [[[ROOT, file("y")]]]
    client.resync = True
    await read(client, shelf)
    assert shelf.paths() == {"D", "D/y"}
    assert client.downloads == ["x", "y"]


async def test_infected_files_links_notebooks_and_riddles() -> None:
    notebook = {**folder("Notes"), "package": {"type": "oneNote"}}
    del notebook["folder"]
    shelf = MemoryShelf()
    entries = [
        ROOT,
        notebook,
        file("good.one", "Notes"),
        file("bad.one", "Notes"),
        file("virus", malware={"description": "x"}),
        {
            "id": "shortcut",
            "name": "s",
            "remoteItem": {"id": "z"},
            "parentReference": {"id": "root"},
        },
        {"id": "riddle", "name": "r", "parentReference": {"id": "root"}},
    ]
    client = ScriptedClient({"d": [[entries]]})
    client.failing.add("bad.one")
    await read(client, shelf)
    assert shelf.paths() == {"D", "D/Notes", "D/Notes/good.one", "D/s"}
    assert {(o.item, o.result, o.cause) for o in shelf.outcomes} == {
        ("virus", "skipped", "malware"),
        ("riddle", "skipped", "unknown-kind"),
        ("bad.one", "skipped", "notebook-content"),
    }
    assert shelf.rows[b"shortcut"].kind == "link"


async def test_a_file_that_failed_is_tried_again_though_the_feed_is_silent() -> None:
    client, shelf = ScriptedClient({"d": [[[ROOT, file("x"), file("y")]]]}), MemoryShelf()
    client.failing.add("x")
    await read(client, shelf)
    assert [(o.item, o.result) for o in shelf.outcomes] == [("x", "failed")]
    client.failing.clear()
    await read(client, shelf)
    assert shelf.paths() == {"D", "D/x", "D/y"}


async def test_several_drives_with_the_same_ids_and_one_that_goes() -> None:
    client, shelf = (
        ScriptedClient({"d": [[[ROOT, file("x")]]], "e": [[[ROOT, file("x")]]]}),
        MemoryShelf(),
    )
    await read(client, shelf)
    assert shelf.paths() == {"D", "D/x", "E", "E/x"}
    del client.drives["d"]
    await read(client, shelf)
    assert shelf.paths() == {"E", "E/x"}
    client.drives.clear()
    await read(client, shelf)
    assert shelf.paths() == set()
    assert [o.cause for o in shelf.outcomes] == ["service-not-provisioned"]


async def test_a_bad_service_is_not_taken_for_many_bad_items() -> None:
    entries = [ROOT, *(file(f"f{n}") for n in range(60))]
    client, shelf = ScriptedClient({"d": [[entries]]}), MemoryShelf()
    client.failing |= {f"f{n}" for n in range(60)}
    with pytest.raises(GraphUnavailable):
        await read(client, shelf)
    assert len(shelf.outcomes) < 30


async def test_hash_that_does_not_fit_is_looked_at_twice() -> None:
    wrong = file("x", file={"hashes": {"quickXorHash": "AAAAAAAAAAAAAAAAAAAAAAAAAAA="}})
    shelf, client = await run([[wrong]])
    assert client.downloads == ["x", "x"]
    assert shelf.paths() == {"D", "D/x"}
    assert b'"hash":"AAAA' not in shelf.rows[b"x"].meta
