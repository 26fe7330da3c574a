"""Real calendars and contacts through an emulated tenant, backup and export: what other programs see in the files."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import icalendar
import pytest
import vobject
from dateutil.rrule import rrulestr

from proxy.pipeline.export import export_point
from tests.fixtures.emulator import GraphClient, StartEmulator
from tests.unit.proxy.lab import Lab
from tools.emulator import Emulator

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::Warning:icalendar")]

MakeClient = Callable[[Emulator], GraphClient]
USER = "agenda@content.onmicrosoft.com"
WINDOWS = [
    (datetime(2008, 1, 1, tzinfo=UTC), datetime(2008, 12, 31, tzinfo=UTC)),
    (datetime(2016, 1, 1, tzinfo=UTC), datetime(2016, 12, 31, tzinfo=UTC)),
]
PAGES = {"Prefer": "odata.maxpagesize=1000"}
Shown = tuple[str, str]  # subject, start in UTC


def instant(moment: Any) -> datetime:
    """Whole days begin at midnight UTC, as the service gives them."""
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time(), UTC)
    return moment.astimezone(UTC)


def instances(events: list[Any], start: datetime, end: datetime) -> Counter[Shown]:
    """What a calendar program shows of a file: rules expanded by dateutil in the zone of the event."""
    moved: dict[str, set[datetime]] = {}
    for event in events:
        if "recurrence-id" in event:
            moved.setdefault(str(event["uid"]), set()).add(instant(event.decoded("recurrence-id")))
    found: Counter[Shown] = Counter()
    for event in events:
        length = instant(event.decoded("dtend")) - instant(event.decoded("dtstart"))
        for begin in occurrences(event, end):
            at = instant(begin)
            if at in moved.get(str(event["uid"]), ()) and "rrule" in event:
                continue
            if at < end and max(at + length, at + timedelta(seconds=1)) > start:
                found[str(event.get("summary", "")), at.isoformat()] += 1
    return found


def occurrences(event: Any, end: datetime) -> Iterator[datetime | date]:
    begin = event.decoded("dtstart")
    if "rrule" not in event:
        yield begin
        return
    days = not isinstance(begin, datetime)
    naive = datetime.combine(begin, time()) if days else begin.replace(tzinfo=None)
    zone = None if days else begin.tzinfo
    rule = event["rrule"].to_ical().decode()
    if "UNTIL" in rule and not days:
        until = event["rrule"]["until"][0].astimezone(zone).strftime("%Y%m%dT%H%M%S")
        rule = ";".join(
            p if not p.startswith("UNTIL") else f"UNTIL={until}" for p in rule.split(";")
        )
    given = event.get("exdate", [])
    gone = {
        one.dt for group in (given if isinstance(given, list) else [given]) for one in group.dts
    }
    for local in rrulestr(rule, dtstart=naive):
        one = local.date() if days else local.replace(tzinfo=zone)
        if instant(one) >= end:
            return
        if one not in gone:
            yield one


@pytest.mark.long
async def test_calendars_show_the_same_instances(
    emulator: StartEmulator, graph_client: MakeClient, shared_agenda: Path, tmp_path: Path
) -> None:
    """Every calendar's file, expanded by other code, shows what the service's own view shows, in two whole years."""
    emu = await emulator(content=shared_agenda)
    lab = Lab(emu, tmp_path)
    result = await lab.backup(USER, workloads=("calendar", "contacts"))
    assert result.point is not None
    out = tmp_path / "out"
    done = await asyncio.to_thread(export_point, lab.repository, result.point, out, "", "ics")
    assert done.problems == []
    client, total = graph_client(emu), 0
    different: list[tuple[str, Any]] = []
    for calendar in (await client.pages(f"/users/{USER}/calendars", **PAGES))[0]:
        file = out / USER / "calendar" / f"{calendar['name']}.ics"
        events = (
            icalendar.Calendar.from_ical(file.read_bytes()).walk("VEVENT") if file.exists() else []
        )
        for start, end in WINDOWS:
            span = f"startDateTime={quote(start.isoformat())}&endDateTime={quote(end.isoformat())}"
            place = f"/users/{USER}/calendars/{calendar['id']}/calendarView?{span}"
            view = (await client.pages(place, **PAGES))[0]
            wanted = Counter(
                (
                    e["subject"],
                    datetime.fromisoformat(e["start"]["dateTime"][:19] + "+00:00").isoformat(),
                )
                for e in view
            )
            found = instances(events, start, end)
            total += wanted.total()
            different += [(calendar["name"], one) for one in (wanted - found).items()]
            different += [(calendar["name"] + " not", one) for one in (found - wanted).items()]
    assert different == []
    assert total > 5_000
    lab.repository.close()


async def test_contacts_are_the_same_people(
    emulator: StartEmulator, graph_client: MakeClient, shared_agenda: Path, tmp_path: Path
) -> None:
    """Every contact of every folder: name, addresses and numbers as `vobject` reads them."""
    emu = await emulator(content=shared_agenda)
    lab = Lab(emu, tmp_path)
    result = await lab.backup(USER, workloads=("contacts",))
    assert result.point is not None
    await asyncio.to_thread(export_point, lab.repository, result.point, tmp_path / "out", "", "vcf")
    found = Counter()
    for file in (tmp_path / "out").rglob("*.vcf"):
        for card in vobject.readComponents(file.read_text()):
            addresses = tuple(e.value for e in card.contents.get("email", []))
            found[addresses, len(card.contents.get("tel", [])), card.n.value.family] += 1
    client = graph_client(emu)
    wanted = Counter()
    for folder in (await client.pages(f"/users/{USER}/contactFolders/delta", **PAGES))[0]:
        place = f"/users/{USER}/contactFolders/{folder['id']}/contacts"
        for contact in (await client.pages(place, **PAGES))[0]:
            addresses = tuple(e["address"] for e in contact["emailAddresses"] if e.get("address"))
            numbers = len(contact["homePhones"]) + len(contact["businessPhones"])
            numbers += bool(contact["mobilePhone"])
            wanted[addresses, numbers, contact["surname"] or ""] += 1
    assert found == wanted
    assert wanted.total() > 90
    lab.repository.close()
