"""
Answers proxies that ask for secrets: only what their work needs, sealed to the key fixed at joining.

The subject names the proxy; a private NATS lets only that proxy's account publish there. Whoever
else might, gets an answer that only the proxy can open.
"""

import asyncio
import logging
from typing import Any

import msgspec

from proxy.contract import (
    BackupError,
    Denied,
    Reply,
    SealedSecrets,
    SecretsRequest,
    TaskSecrets,
    UsageError,
)
from server.bus.connection import FOREIGN
from server.sealing import seal_for_proxy
from server.services import Services

log = logging.getLogger(__name__)

WAITING_MAX = 1000
RETRY_S = 0.5
QUEUE_GROUP = "server"


async def answer_for_ever(services: Services) -> None:
    """The responder loop."""
    subscription = await services.bus.client.subscribe(
        "secrets.*", queue=QUEUE_GROUP, pending_msgs_limit=WAITING_MAX
    )
    while not services.stopping.is_set():
        try:
            message = await subscription.next_msg(timeout=None)
        except FOREIGN as error:
            log.info("secrets wait: %s", type(error).__name__)
            await asyncio.sleep(RETRY_S)
            continue
        await _answer(services, message)


async def _answer(services: Services, message: Any) -> None:
    try:
        sealed = await sealed_secrets(services, message.subject, message.data)
        reply = Reply(ok=True, body=msgspec.Raw(msgspec.json.encode(sealed)))
    except BackupError as error:
        reply = Reply(
            ok=False,
            error_class=type(error).__name__,
            error_code=error.code,
            error=error.message,
        )
    try:
        await message.respond(msgspec.json.encode(reply))
    except FOREIGN as error:
        # The proxy asks again.
        log.info("an answer was not sent: %s", type(error).__name__)


async def sealed_secrets(services: Services, subject: str, body: bytes) -> SealedSecrets:
    """
    What a request is answered with.

    Raises:
        Denied: the proxy is unknown, or has no claim to what it asks for.
        UsageError: the request is none.
    """
    try:
        request = msgspec.json.decode(body, type=SecretsRequest)
    except msgspec.DecodeError as error:
        raise UsageError("The request cannot be read.", code="request-invalid") from error
    if subject != f"secrets.{request.proxy}":
        raise Denied("The request names another proxy than its subject.", code="proxy-mismatch")
    proxy = await services.database.row("proxies.get", id=request.proxy)
    if proxy is None:
        raise Denied("The proxy does not belong to this installation.", code="proxy-unknown")
    plain = TaskSecrets(
        graph=await _graph(services, request.organization, proxy["pool"]),
        passphrase=await _passphrase(services, request.repository, proxy["pool"]),
    )
    return seal_for_proxy(proxy["public_key"], plain)


async def _graph(services: Services, organization: str | None, pool: str) -> dict[str, str] | None:
    if not organization:
        return None
    row = await services.database.row("organizations.get", id=organization)
    needed = await services.database.value(
        "tasks.needs_organization", organization=organization, pool=pool
    )
    if row is None or not needed:
        raise Denied("No session of the pool reads this organization.", code="secrets-no-claim")
    members = ("tenant_id", "client_id", "cloud", "authority", "graph_endpoint", "proxy_url")
    graph = {name: row[name] for name in members if row[name]}
    return graph | msgspec.json.decode(await _open(services, row["secret"]), type=dict[str, str])


async def _passphrase(services: Services, repository: str | None, pool: str) -> str | None:
    if not repository:
        return None
    row = await services.database.row("repositories.get", id=repository)
    if row is None or row["pool"] != pool:
        raise Denied("The repository does not belong to the pool.", code="secrets-no-claim")
    return (await _open(services, row["secret"])).decode()


async def _open(services: Services, secret: str) -> bytes:
    sealed = await services.database.value("secrets.get", id=secret)
    if sealed is None:
        raise Denied("The secret is gone.", code="secrets-gone")
    return services.secret_box.open(secret, bytes(sealed))
