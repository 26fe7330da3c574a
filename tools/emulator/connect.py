"""
The CONNECT door: an HTTP proxy that leads the Microsoft host names to the emulator itself.

Clients that know no emulator run against it unchanged. Every other name is refused: nothing that
enters here leaves this machine.
"""

import asyncio
import contextlib

_HEAD_BYTES_MAX = 16 << 10
_COPY_BYTES = 64 << 10
_NAMES = (
    "login.microsoftonline.com",
    "login.windows.net",
    "login.microsoft.com",
    "graph.microsoft.com",
    "login.microsoftonline.us",
    "graph.microsoft.us",
    "dod-graph.microsoft.us",
    "login.partner.microsoftonline.cn",
    "microsoftgraph.chinacloudapi.cn",
    "outlook.office365.com",
    "outlook.office.com",
)


def ours(host: str) -> bool:
    """True for the host names that the emulator stands for."""
    host = host.lower().rstrip(".")
    return host in _NAMES or host.endswith(".sharepoint.com")


class ConnectDoor:
    """Leads `CONNECT name:443` to the TLS listener at `target` (host, port)."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._open: set[asyncio.StreamWriter] = set()

    def close(self) -> None:
        """End the connections that are open."""
        for writer in list(self._open):
            writer.transport.abort()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client connection."""
        self._open.add(writer)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went away or spoke something else
        finally:
            self._open.discard(writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        host, _, port = words[1].rpartition(":") if len(words) == 3 else ("", "", "")
        if words[0] != "CONNECT" or port != "443" or not ours(host):
            writer.write(
                b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            await writer.drain()
            return
        inner_reader, inner_writer = await asyncio.open_connection(*self._target)
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, inner_writer))
                group.create_task(_copy(inner_reader, writer))
        except* OSError:
            pass  # either side closed in the middle
        finally:
            inner_writer.close()
            with contextlib.suppress(OSError):
                await inner_writer.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction until its end; then close the other side, so that both end."""
    while data := await reader.read(_COPY_BYTES):
        writer.write(data)
        await writer.drain()
    writer.close()


async def listen(door: ConnectDoor, host: str) -> asyncio.Server:
    """Start the proxy on a free port of `host`, close it with its server and `door.close`."""
    return await asyncio.start_server(door.handle, host, 0, limit=_HEAD_BYTES_MAX)
