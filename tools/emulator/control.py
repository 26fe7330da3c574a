"""
Control of a running emulator: the calls, and the listener that offers them to other processes.

`POST /_emu/<call>` with a JSON object of arguments and the bearer token of `control.json`; the
answer is JSON. In one process the same calls are methods of `Controls`.
"""

import asyncio
import base64
import binascii
import dataclasses
import hmac
import inspect
from typing import Any

import msgspec
from aiohttp import web

from tools.emulator import groups
from tools.emulator.call import Services
from tools.emulator.demo import churn
from tools.emulator.entra import AppName
from tools.emulator.errors import GraphError
from tools.emulator.faults import Workload
from tools.emulator.options import Throttling
from tools.emulator.oracle import oracle
from tools.emulator.record_controls import RecordControls
from tools.emulator.throttle import PROFILES

REQUEST_BYTES_MAX = 256 << 20
_IN_THREAD = frozenset({"oracle", "churn"})


class Controls(RecordControls):
    """Everything a test can do to an emulator. Content is base64; users by principal name or id."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        services.control = self._by_name

    def _by_name(self, name: str, arguments: dict[str, Any]) -> object:
        """A call by its name; ValueError for an unknown one."""
        if name not in CALLS:
            raise ValueError(f"no such control call: {name}")
        return getattr(self, name)(**arguments)

    # mail

    def add_message(
        self, user: str, folder: str, content: str, is_read: bool = False
    ) -> dict[str, str]:
        """Deliver a MIME message (base64) to the folder at a path of display names."""
        raw = base64.b64decode(content, validate=True)
        added = self._services.tenant.add_message(user, folder, raw, is_read=is_read)
        return {"id": added.key, "movable_id": added.movable}

    def delete_message(self, user: str, message: str) -> None:
        """Delete a message for good."""
        self._services.tenant.delete_message(user, message)

    def move_message(self, user: str, message: str, folder: str) -> dict[str, str]:
        """Move a message to the folder at a path."""
        moved = self._services.tenant.move_message(user, message, folder)
        return {"id": moved.key, "movable_id": moved.movable}

    def mark_read(self, user: str, message: str, is_read: bool = True) -> None:
        """Set the read state of a message."""
        self._services.tenant.mark_read(user, message, is_read=is_read)

    def add_mail_folder(self, user: str, folder: str) -> dict[str, str]:
        """Make the mail folder at a path."""
        return {"id": self._services.tenant.add_mail_folder(user, folder)}

    def delete_mail_folder(self, user: str, folder: str) -> None:
        """Delete the mail folder at a path with everything in it."""
        self._services.tenant.delete_mail_folder(user, folder)

    def rename_mail_folder(self, user: str, folder: str, name: str) -> None:
        """Rename the mail folder at a path."""
        self._services.tenant.rename_mail_folder(user, folder, name)

    # files

    def put_file(
        self, user: str, path: str, content: str, modified: float | None = None
    ) -> dict[str, str]:
        """Write a file (base64), new or over the old one."""
        raw = base64.b64decode(content, validate=True)
        item = self._services.tenant.put_file(user, path, raw, modified=modified)
        return {"id": item.key}

    def delete_file(self, user: str, path: str) -> None:
        """Delete the file or folder at a path."""
        self._services.tenant.delete_file(user, path)

    def move_file(self, user: str, path: str, target: str) -> dict[str, str]:
        """Move or rename a file or folder."""
        return {"id": self._services.tenant.move_file(user, path, target).key}

    def add_drive_folder(self, user: str, path: str) -> dict[str, str]:
        """Make the drive folder at a path."""
        return {"id": self._services.tenant.add_drive_folder(user, path).key}

    def remove_user(self, user: str) -> None:
        """Delete a user with mailbox and drive."""
        self._services.tenant.remove_user(user)

    def add_group(self, name: str, members: list[str]) -> dict[str, str]:
        """Make a group of users (ids or principal names) and groups (names)."""
        return {"id": groups.add_group(self._services.tenant, name, members).key}

    # time, tokens, limits

    def advance(self, seconds: float) -> dict[str, float]:
        """Move the virtual clock ahead."""
        self._services.clock.advance(seconds)
        return {"now": self._services.clock.now()}

    def kill_delta_tokens(self, user: str | None = None) -> None:
        """Forget all sync states handed out: 410 for whoever comes with one."""
        self._services.tenant.kill_delta_tokens(user)

    def expire_urls(self) -> None:
        """Every pre-authenticated URL handed out stops working."""
        self._services.url_epoch += 1

    def revoke_tokens(self) -> None:
        """Every access token issued stops working."""
        self._services.registration.revoke()

    def set_token_life(self, seconds: int) -> None:
        """Virtual seconds that tokens issued from now on live."""
        self._services.registration.life = seconds

    def set_roles(self, roles: list[str], app: AppName = "backup") -> None:
        """Application roles of tokens issued from now on to one of the two apps."""
        self._services.registration.apps[app].roles = tuple(roles)

    def allow_writes(self, app: AppName = "backup", on: bool = True) -> None:
        """Whether writing by the app is no breach, as where one app does everything."""
        self._services.registration.apps[app].writes = on

    def set_throttling(self, profile: Throttling) -> None:
        """Change the throttle profile: off, real or tiny."""
        if profile not in PROFILES:
            raise ValueError(f"no such profile: {profile}")
        self._services.throttle.set_profile(profile)

    def force_throttle(self, bucket: str, seconds: float) -> dict[str, int]:
        """Shut one bucket (`mailbox:<user>`, `files`, `identity`) for virtual seconds."""
        kind, colon, user = bucket.partition(":")
        if colon:
            bucket = f"{kind}:{self._services.tenant.user(user).key}"
        return {"retry_after": self._services.throttle.gate(bucket).shut(seconds)}

    def set_latency(self, seconds: float) -> None:
        """Real seconds each Graph answer takes."""
        self._services.latency = seconds

    def set_mime_drift(self, on: bool) -> None:
        """Let `$value` of a message differ from fetch to fetch."""
        self._services.mime_drift = on

    # faults

    def deny(self, user: str, workload: Workload = "mail", denied: bool = True) -> None:
        """Refuse calls on one user's mail or files with 403, or stop refusing."""
        owner = self._services.tenant.user(user).key
        self._services.faults.deny(workload, owner, denied=denied)

    def fail_item(
        self,
        item: str,
        status: int,
        code: str,
        times: int | None = None,
        content_only: bool = False,
    ) -> None:
        """Answer reads of a message or drive item with an error, `times` times or for ever."""
        self._services.faults.fail_item(item, status, code, times, content_only=content_only)

    def fail_every(self, nth: int, status: int = 503, code: str = "serviceNotAvailable") -> None:
        """Answer each `nth` Graph call and download with an error; 0 stops that."""
        self._services.faults.fail_every(nth, status, code)

    def cut_download(self, item: str = "*", fraction: float = 0.5, times: int | None = 1) -> None:
        """Break the connection after a fraction of an item's content (`*`: of any item's)."""
        self._services.faults.cut(item, fraction, times)

    def outage(self, on: bool = True, entra: bool = False, retry_after: int | None = None) -> None:
        """Answer 503 to all of Graph and to downloads, and to sign-in too when wanted."""
        self._services.faults.outage_retry_after = retry_after
        self._services.faults.outage = on
        self._services.faults.entra_outage = on and entra

    def script(self, rules: list[dict[str, Any]]) -> None:
        """Put a fault script in force (`docs/emulator.md`) in place of the one before."""
        self._services.script.load(rules)

    def clear_faults(self) -> None:
        """Lift every fault and every rule of a script."""
        self._services.faults.clear()
        self._services.script.clear()

    # looking

    def ledger(self, clear: bool = False) -> dict[str, Any]:
        """Requests, peaks and breaches so far; `clear` starts the ledger anew."""
        dump = self._services.ledger.dump()
        if clear:
            self._services.ledger.clear()
        return dump

    def oracle(self, user: str | None = None, exact: bool = False) -> dict[str, Any]:
        """The exact expected state of one user or of all."""
        return oracle(self._services.tenant, user, exact=exact)

    def users(self) -> list[dict[str, str]]:
        """Ids and principal names."""
        return [{"id": u.key, "upn": u.upn} for u in self._services.tenant.users.values()]

    def churn(self, days: int = 1) -> dict[str, int]:
        """Let deterministic days of work change the tenant; returns what changed."""
        return churn.churn(self._services.tenant, days)

    def status(self) -> dict[str, Any]:
        """What runs here."""
        options = dataclasses.asdict(self._services.options)
        return {
            "tenant_id": self._services.tenant.key,
            "name": self._services.tenant.name,
            "users": len(self._services.tenant.users),
            "now": self._services.clock.now(),
            "throttling": self._services.throttle.profile,
            "options": {name: str(value) for name, value in options.items()},
        }


CALLS = tuple(
    name for name, _ in inspect.getmembers(Controls, inspect.isfunction) if name[0] != "_"
)


class ControlDoor:
    """The listener for `Controls`; loopback, plain http, bearer token."""

    def __init__(self, controls: Controls, token: str) -> None:
        self._controls = controls
        self._token = token

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one control request."""
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return _answer({"error": "the control token is missing or wrong"}, 401)
        name = request.path.removeprefix("/_emu/")
        if not request.path.startswith("/_emu/") or name not in CALLS:
            return _answer({"error": "no such call", "calls": CALLS}, 404)
        call = getattr(self._controls, name)
        try:
            body = await request.read()
            arguments = msgspec.json.decode(body) if body else {}
            if name in _IN_THREAD:
                result = await asyncio.to_thread(call, **arguments)
            else:
                result = call(**arguments)
        except GraphError as error:
            return _answer({"error": str(error)}, error.status)
        except (TypeError, ValueError, binascii.Error) as error:
            return _answer({"error": str(error)}, 400)
        return _answer(result, 200)


def _answer(body: Any, status: int) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(body), content_type="application/json"
    )
