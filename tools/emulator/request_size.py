"""
Requests with room for content: aiohttp's own limit is 1 MiB.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader

MakeRequest = Callable[
    [RawRequestMessage, StreamReader, web.RequestHandler, Any, "asyncio.Task[None]"],
    web.BaseRequest,
]


def up_to(bytes_max: int) -> MakeRequest:
    """A request factory for `web.Server` whose bodies may have `bytes_max` bytes."""

    def make(
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: Any,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        loop = asyncio.get_running_loop()
        return web.BaseRequest(
            message, payload, protocol, writer, task, loop, client_max_size=bytes_max
        )

    return make
