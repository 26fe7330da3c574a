"""What a proxy's account may do on the bus, and whom the server answers with secrets."""

import asyncio
import contextlib
import re
import signal
from dataclasses import replace
from pathlib import Path

import msgspec
import nats
import pytest

from proxy.bus import ProxyBus
from proxy.contract import Denied, Event, ProxyStatus, SecretsRequest, UsageError
from server import joining
from server.bus.responder import sealed_secrets
from server.services import Services
from tests.fixtures.control_plane import Plane, control_plane, status_of
from tests.fixtures.servers import running_nats

pytestmark = pytest.mark.slow

REFUSED = re.compile(r'permissions violation for (publish|subscription) to "(?P<subject>.+)"')


def _with_accounts(plane: Plane, users_dir: Path) -> Services:
    settings = msgspec.structs.replace(plane.services.settings, nats_users_dir=str(users_dir))
    return replace(plane.services, settings=settings)


async def test_a_proxy_does_its_work_with_its_own_account(tmp_path: Path, database: str) -> None:
    """Leases, events, checkpoints, heartbeat, secrets: all that the product needs is allowed."""
    with running_nats(tmp_path) as (server, process):
        async with control_plane(database, server.server_url, tmp_path) as plane:
            services = _with_accounts(plane, server.users_dir)
            document, public = joining.new_document(services, "default")
            await services.database.run(
                "proxies.insert", id=document.proxy, pool="default", public_key=public
            )
            joining.write_account(services, document)
            assert server.refresh_users()
            assert process.process is not None
            process.process.send_signal(signal.SIGHUP)
            async with ProxyBus.opened(document) as bus:
                session = await plane.start(await plane.make_job(["ann"]))
                messages = await (await bus.leases("backup")).fetch(1, timeout=60)
                await messages[0].in_progress()
                job = (await plane.tasks(session))[0]["body"]
                plain = await bus.secrets(job["organization"], job["repository"])
                assert plain.passphrase == "pass"
                assert plain.graph is not None
                assert plain.graph["client_secret"] == "the client secret"
                await bus.note_checkpoint("task", 3)
                assert await bus.checkpoint_delivery("task") == 3
                assert await bus.checkpoint_delivery("other") == 0
                await bus.beat(status_of(document, bus, ["x"]))
                beat = await services.bus.heartbeat(document.proxy)
                assert beat is not None
                assert msgspec.json.decode(beat, type=ProxyStatus).tasks == ["x"]
                first = (await plane.tasks(session))[0]["id"]
                event = Event("e", session, first, document.proxy, "finished", "now")
                await bus.publish_event(event)
                await bus.acknowledge(messages[0])
                assert (await plane.ended(session))["state"] == "failed"


async def test_a_proxy_may_do_nothing_else(tmp_path: Path, database: str) -> None:
    """Other proxies' secrets and inboxes, work of its own making, streams: refused."""
    with running_nats(tmp_path) as (server, process):
        async with control_plane(database, server.server_url, tmp_path) as plane:
            services = _with_accounts(plane, server.users_dir)
            document, _ = joining.new_document(services, "default")
            joining.write_account(services, document)
            server.refresh_users()
            assert process.process is not None
            process.process.send_signal(signal.SIGHUP)
            refused: list[str] = []

            async def note(error: Exception) -> None:
                # Before the server has read its users again it refuses the sign-in; that is retried.
                if found := REFUSED.search(str(error)):
                    refused.append(found["subject"])

            client = await nats.connect(
                document.nats_url,
                user=document.nats_user,
                password=document.nats_password,
                error_cb=note,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.1,
            )
            subjects = [
                "secrets.another",
                "work.default.backup.x",
                "ask.default.points",
                "control.default",
                "$JS.API.STREAM.DELETE.WORK",
                "$JS.API.STREAM.PURGE.EVENTS",
                "$KV.PROXIES.another",
                "$JS.API.CONSUMER.MSG.NEXT.EVENTS.server",
                "$JS.API.CONSUMER.MSG.NEXT.WORK.other-backup",
            ]
            patterns = ["_INBOX.>", "events.>", "secrets.>", "$KV.>", "ask.other.*"]
            for subject in subjects:
                await client.publish(subject, b"{}")
            for pattern in patterns:
                await client.subscribe(pattern)
            # The client library tells errors in small letters.
            expected = sorted(word.lower() for word in subjects + patterns)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(60):
                    while len(refused) < len(expected):
                        await asyncio.sleep(0.01)
            await client.flush()
            await client.close()
            assert sorted(refused) == expected


async def test_secrets_go_to_those_with_a_claim(tmp_path: Path, database: str) -> None:
    """Known proxy, its own subject, a repository of its pool, an organization it now reads."""
    with running_nats(tmp_path) as (server, _):
        async with control_plane(database, server.server_url, tmp_path) as plane:
            services = plane.services
            job = await plane.make_job(["ann"])
            document = await plane.join()
            organization, repository = job["organization"], job["repository"]

            async def ask(
                proxy: str = document.proxy,
                organization: str | None = None,
                repository: str | None = None,
                subject: str = f"secrets.{document.proxy}",
            ) -> str:
                body = msgspec.json.encode(SecretsRequest(proxy, organization, repository))
                try:
                    await sealed_secrets(services, subject, body)
                except Denied as error:
                    return error.code
                return "answered"

            assert await ask(repository=repository) == "answered"
            assert await ask(organization=organization) == "secrets-no-claim"
            await plane.start(job)
            assert await ask(organization=organization) == "answered"
            assert await ask(organization="0" * 32) == "secrets-no-claim"
            assert await ask(repository="0" * 32) == "secrets-no-claim"
            assert await ask(proxy="another") == "proxy-mismatch"
            assert await ask(proxy="x", subject="secrets.x") == "proxy-unknown"
            await services.database.run("proxies.remove", id=document.proxy)
            assert await ask(repository=repository) == "proxy-unknown"
            with pytest.raises(UsageError):
                await sealed_secrets(services, "secrets.x", b"nonsense")
