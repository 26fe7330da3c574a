"""What the data plane survives: throttling, cuts, dead addresses and tokens, bad items, denied mailboxes, kills."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from engine.errors import BackupError, Denied
from engine.manifest import ObjectKey
from proxy.contract import Event
from proxy.keeper import KeeperLimits
from proxy.pipeline.context import StoppedEarly
from tests.fixtures.emulator import StartEmulator
from tests.unit.proxy.lab import PASSPHRASE, QUICK, Lab, add_user, mime

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture
async def lab(emulator: StartEmulator, tmp_path: Path) -> AsyncIterator[Lab]:
    made = Lab(await emulator(), tmp_path)
    yield made
    made.repository.close()


def fill(lab: Lab, name: str, messages: int = 12) -> str:
    user = add_user(lab.emulator, name)
    for number in range(messages):
        lab.tenant.add_message(user, "Inbox" if number % 2 else "Projects", mime(number))
    for number in range(6):
        lab.tenant.put_file(user, f"Documents/{number}.bin", bytes([number]) * 300_000)
    return user


async def test_a_throttled_service_is_never_called_inside_retry_after(
    emulator: StartEmulator, tmp_path: Path
) -> None:
    emu = await emulator(throttling="tiny", rate=200.0)
    lab = Lab(emu, tmp_path, page_patience_s="120", item_patience_s="120")
    users = [fill(lab, "ann", 90), fill(lab, "carl", 90)]
    result = await lab.backup(*users)
    assert lab.state(result.point) == lab.expected(*users)
    assert sum(task.counters.throttled for task in result.tasks) > 0
    lab.assert_no_breach()
    lab.repository.close()


async def test_a_cut_download_goes_on_where_it_broke_off(lab: Lab) -> None:
    user = add_user(lab.emulator, "ann")
    item = lab.tenant.put_file(user, "big.bin", bytes(range(256)) * 30_000)
    message = lab.tenant.add_message(user, "Inbox", mime(1, "body " * 20_000))
    lab.emulator.faults.cut(item.key, 0.6, 3)
    lab.emulator.faults.cut(message.key, 0.5, 1)
    result = await lab.backup(user)
    assert lab.state(result.point) == lab.expected(user)
    assert lab.ledger.requests("(pre-authenticated download)", 206) == 3
    lab.assert_no_breach()


async def test_a_download_address_that_expired_is_replaced(lab: Lab) -> None:
    user = fill(lab, "ann")
    plane = lab.plane()
    context = lab.task("backup", user, workload="drives")
    expired = False

    real = lab.emulator.services.faults.take_cut

    def take_cut(*keys: str) -> float | None:
        nonlocal expired
        if not expired:
            expired = True
            lab.emulator.controls.expire_urls()
        return real(*keys)

    lab.emulator.services.faults.take_cut = take_cut  # type: ignore[method-assign]
    await plane.run_task(context.task, context)
    await plane.close()
    assert context.of("finished")[-1].result == "success"
    assert lab.ledger.requests("(pre-authenticated download)", 401) > 0
    assert lab.ledger.requests("/drives/{drive}/items/{item}/content") > 0
    lab.assert_no_breach()


async def test_an_item_that_fails_for_ever_is_named_and_the_rest_is_there(lab: Lab) -> None:
    user = fill(lab, "ann")
    broken = next(iter(lab.tenant.mailbox(user).messages()))
    infected = lab.tenant.drive(user).find("Documents/3.bin")
    lab.emulator.faults.fail_item(broken.key, 500, "generalException", None)
    lab.emulator.faults.fail_item(infected.key, 403, "malwareDetected", None)
    result = await lab.backup(user)
    outcomes = {(o.item, o.result, o.cause) for task in result.tasks for o in task.outcomes}
    assert outcomes == {
        (broken.key, "failed", "graph-unavailable"),
        (infected.key, "skipped", "malware"),
    }
    assert result.warned
    assert not result.failed
    state, expected = lab.state(result.point), lab.expected(user)
    for folder in expected[user]["mail"].values():
        folder.pop(broken.key, None)
    del expected[user]["drive"]["Documents/3.bin"]
    assert state == expected

    lab.emulator.faults.clear()
    lab.ledger.clear()
    result = await lab.backup(user)  # failed items are tried again though nothing changed
    assert lab.state(result.point)[user]["mail"] == lab.expected(user)[user]["mail"]
    assert lab.content_reads() == 1


async def test_a_message_without_mime_is_kept_as_json(lab: Lab) -> None:
    user = add_user(lab.emulator, "ann", files=False)
    odd = lab.tenant.add_message(user, "Inbox", mime(1, "the body"))
    lab.tenant.add_message(user, "Inbox", mime(2))
    faults = lab.emulator.faults
    faults.fail_item(odd.key, 500, "ErrorMimeContentConversionFailed", 1)
    result = await lab.backup(user)
    assert [(o.item, o.cause) for t in result.tasks for o in t.outcomes if o.item == odd.key] == [
        (odd.key, "stored-without-mime")
    ]
    assert result.point is not None
    mail = next(e for e in result.point.entries if e.workload == "mail")
    row = lab.repository.catalog(lab.repository.entries.get(mail.entry)).get(odd.key.encode())
    assert row is not None
    stored = lab.repository.read_all(next(p for p in row.parts if p.role == "json"))
    assert b"the body" in stored


async def test_a_denied_mailbox_fails_its_task_only(lab: Lab) -> None:
    ann, carl = fill(lab, "ann"), fill(lab, "carl")
    lab.emulator.faults.deny("mail", lab.tenant.user(ann).key)
    result = await lab.backup(ann, carl)
    failed = [(t.object.name, t.workload, t.error_code) for t in result.tasks if t.error_code]
    assert failed == [(ann, "mail", "graph-denied")]
    assert lab.state(result.point)[carl] == lab.expected(carl)[carl]
    assert lab.state(result.point)[ann]["drive"] == lab.expected(ann)[ann]["drive"]

    lab.emulator.faults.clear()
    await lab.backup(ann, carl)
    before = lab.expected(ann)[ann]["mail"]
    lab.tenant.add_message(ann, "Inbox", mime(99))
    lab.emulator.faults.deny("mail", lab.tenant.user(ann).key)
    result = await lab.backup(ann, carl)
    assert result.warned
    assert lab.state(result.point)[ann]["mail"] == before  # the newest complete entry there is


async def test_a_task_that_is_stopped_or_killed_goes_on_from_its_checkpoint(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.workloads.mail.PAGE_ITEMS", 10)
    user = add_user(lab.emulator, "ann")
    for number in range(60):
        lab.tenant.add_message(user, "Inbox", mime(number))
    first = lab.task("backup", user, workload="mail")
    plane = lab.plane(KeeperLimits(commit_s=0.0, gather_s=0.0, idle_s=0.1))

    async def stop_after_commit(event: Event) -> None:
        if event.kind == "committed":
            first.stopping.set()
            services.latency = 0.05

    first.on_event = stop_after_commit
    monkeypatch.setattr("proxy.pipeline.reporter.EVERY_S", 0.01)
    services = lab.emulator.services
    services.latency = 0.05
    running = asyncio.create_task(plane.run_task(first.task, first))
    while lab.content_reads() < 30 and not running.done():
        await asyncio.sleep(0.005)
    if not first.stopping.is_set():
        services.latency = 1.0  # a slow disk commits before everything is read, too
    with pytest.raises(StoppedEarly):
        await running
    read = lab.content_reads()
    assert 0 < read < 60
    assert not first.of("finished")
    assert not any(event.complete for event in first.of("committed"))

    second = lab.task("backup", user, workload="mail")
    killed = asyncio.create_task(plane.run_task(second.task, second))
    while lab.content_reads() < read + 10:
        await asyncio.sleep(0.01)
    killed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await killed
    await plane.close()

    other = lab.plane()  # another process: everything it knows comes from the repository
    third = lab.task("backup", user, workload="mail")
    await other.run_task(third.task, third)
    await other.close()
    finished = third.of("finished")[-1]
    assert finished.result == "success"
    assert finished.counters is not None
    assert finished.counters.items_total == 60
    assert lab.content_reads() < 60 + 30  # at most what was under way twice
    lab.repository.refresh()
    lab.assert_no_breach()


async def test_tokens_that_expire_or_are_revoked_are_replaced(lab: Lab) -> None:
    user = fill(lab, "ann", 40)
    lab.emulator.services.latency = 0.01
    backup = asyncio.create_task(lab.backup(user))
    while lab.content_reads() < 5:
        await asyncio.sleep(0.01)
    lab.emulator.controls.revoke_tokens()
    result = await backup
    assert lab.state(result.point) == lab.expected(user)
    lab.assert_no_breach()


async def test_a_wrong_secret_is_one_clear_error(lab: Lab) -> None:
    lab.org["client_secret"] = "not the secret"
    with pytest.raises(Denied) as caught:
        await lab.backup()
    assert caught.value.code == "graph-sign-in-refused"
    assert "not the secret" not in str(caught.value)


async def test_a_certificate_signs_in(lab: Lab) -> None:
    user = fill(lab, "ann")
    lab.org = {**lab.emulator.org_with_certificate()}
    result = await lab.backup(user)
    assert lab.state(result.point) == lab.expected(user)


async def test_the_real_names_work_through_a_connect_proxy(lab: Lab) -> None:
    user = fill(lab, "ann")
    del lab.org["authority"], lab.org["graph_endpoint"]
    result = await lab.backup(user)
    assert lab.state(result.point) == lab.expected(user)
    lab.assert_no_breach()


async def test_a_tenant_in_another_cloud_is_found_by_the_name_of_the_cloud(lab: Lab) -> None:
    """Lesson 2I: no host is fixed; the token is asked for the cloud's own Graph."""
    user = fill(lab, "ann")
    lab.emulator.services.registration.graph = "https://microsoftgraph.chinacloudapi.cn"
    del lab.org["authority"], lab.org["graph_endpoint"]
    lab.org["cloud"] = "china"
    result = await lab.backup(user)
    assert lab.state(result.point) == lab.expected(user)
    lab.assert_no_breach()


async def test_an_outage_fails_the_task_and_not_every_item(lab: Lab) -> None:
    user = fill(lab, "ann", 40)
    lab.org["page_patience_s"] = "0.5"
    lab.emulator.faults.outage = True
    with pytest.raises(BackupError) as caught:
        await lab.backup(user)
    assert caught.value.code in {"graph-unavailable", "graph-throttled"}


async def test_a_lost_write_session_costs_an_attempt(lab: Lab) -> None:
    user = fill(lab, "ann")
    plane = lab.plane(QUICK)
    context = lab.task("backup", user, workload="mail")
    kept = await plane._keeper.open(lab.url, PASSPHRASE)
    # Somebody takes the turn over: the commit of this session must find out and begin anew.
    slice_ = await kept.open_slice(ObjectKey("user", "x", "x"), "mail", "s", lambda *_: None)
    slice_.abandon()
    session = kept._session
    assert session is not None
    session._tag = "somebody else's"
    await plane.run_task(context.task, context)
    await plane.close()
    finished = context.of("finished")[-1]
    assert finished.result == "success"
    assert finished.counters is not None
    assert finished.counters.items_total == 12
