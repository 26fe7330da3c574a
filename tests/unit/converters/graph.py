"""Graph JSON to convert: the documentation's samples of the shared data, and a few of our own."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard


def samples(shared_data: Path, *kinds: str) -> Iterator[dict[str, Any]]:
    """Bodies of the given Graph types, those within listings too; "..." and the like are as they are."""
    file = shared_data / "graph-json" / "graph-docs-samples.jsonl.zst"
    with file.open("rb") as compressed:
        reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(compressed)
        for line in io.TextIOWrapper(reader, "utf-8"):
            sample = json.loads(line)
            if sample["odata_type"] in {f"microsoft.graph.{kind}" for kind in kinds}:
                body = sample["body"]
                listed = body.get("value") if isinstance(body, dict) else None
                yield from (one for one in listed or [body] if isinstance(one, dict))


def at(text: str, zone: str = "UTC") -> dict[str, str]:
    """A dateTimeTimeZone."""
    return {"dateTime": f"{text}.0000000", "timeZone": zone}


def event(**members: Any) -> dict[str, Any]:
    """A meeting of an hour in Berlin's summer."""
    return {
        "id": "AAMk=",
        "iCalUId": "040000008200E00074C5B7101A82E008",
        "subject": "Plan; review, next",
        "createdDateTime": "2026-06-01T08:00:00.1234567Z",
        "lastModifiedDateTime": "2026-06-02T08:00:00Z",
        "start": at("2026-07-01T08:00:00"),
        "end": at("2026-07-01T09:00:00"),
        "originalStartTimeZone": "W. Europe Standard Time",
        "originalEndTimeZone": "W. Europe Standard Time",
        "type": "singleInstance",
        **members,
    }


def series(pattern: dict[str, Any], span: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A series that begins on 2026-01-07 at 9:00 in Berlin."""
    recurrence = {
        "pattern": {"interval": 1, "firstDayOfWeek": "monday", "index": "first", **pattern},
        "range": {
            "startDate": "2026-01-07",
            "recurrenceTimeZone": "W. Europe Standard Time",
            **span,
        },
    }
    return event(
        **{
            "type": "seriesMaster",
            "start": at("2026-01-07T08:00:00"),
            "end": at("2026-01-07T09:00:00"),
            "recurrence": recurrence,
            **members,
        }
    )


def person(name: str, address: str) -> dict[str, Any]:
    """A recipient."""
    return {"emailAddress": {"name": name, "address": address}}
