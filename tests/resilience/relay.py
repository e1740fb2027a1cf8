"""Stands between a client and a server, hears how a connection begins, and passes on the rest."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from pingthings.server import Server

Welcome = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        sink.close()


@contextmanager
def relay(
    server: Server, welcome: Welcome | None = None, context: ssl.SSLContext | None = None
) -> Iterator[int]:
    """Yields the port of a relay to the server; `welcome` may refuse connections."""
    host, _, port = server.endpoint.rpartition(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if welcome is not None and not await welcome(reader, writer):
            writer.close()
            return
        answers, requests = await asyncio.open_connection(host, int(port))
        await asyncio.gather(_pump(reader, requests), _pump(answers, writer))

    @asynccontextmanager
    async def listening() -> AsyncIterator[int]:
        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as listener:
            yield listener.sockets[0].getsockname()[1]

    with asyncio.Runner() as runner:
        opened = listening()
        at = runner.run(opened.__aenter__())
        loop = runner.get_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield at
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
