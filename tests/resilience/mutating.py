"""A proxy that damages the answers of a real server, and knows what they consist of.

What a server sends is taken apart into HTTP/2 frames. Once it is armed, one frame of an answer is
damaged in one way: its bytes, its header, the length of a message of gRPC, numbers and texts in it,
or whether and how often it comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass

from resilience.frames import DATA, HEADERS, RST_STREAM

__all__ = ["EXACT", "KINDS", "Frame", "MutatingProxy"]

_GOAWAY, _SETTINGS, _PING, _WINDOW_UPDATE = 7, 4, 6, 8
_PREFIX = 5
_EXTREMES = (
    *(struct.pack("<q", number) for number in (-(1 << 63), (1 << 63) - 1, -1, 0, 1 << 62)),
    *(struct.pack("<d", number) for number in (float("nan"), float("inf"), -0.0)),
    b"\xff" * 9 + b"\x01",
    b"\xff\xff\xff\xff\x0f",
)


@dataclass
class Frame:
    """A frame of HTTP/2."""

    kind: int
    flags: int
    stream: int
    payload: bytes
    length: int | None = None
    """What its header says, if that is not how long it is."""

    def encoded(self) -> bytes:
        length = len(self.payload) if self.length is None else self.length
        head = struct.pack(">I", length & 0xFFFFFF)[1:]
        return head + struct.pack(">BBI", self.kind, self.flags, self.stream) + self.payload


Mutation = Callable[[Frame, random.Random], list[Frame]]


def _spliced(frame: Frame, at: int, new: bytes, *, over: int | None = None) -> list[Frame]:
    """The frame with bytes written over those at a place, or between them."""
    end = at + (len(new) if over is None else over)
    frame.payload = frame.payload[:at] + new + frame.payload[end:]
    return [frame]


def _place(frame: Frame, chance: random.Random, size: int = 1) -> int:
    return chance.randrange(max(1, len(frame.payload) - size + 1))


def _byte(frame: Frame, chance: random.Random) -> list[Frame]:
    return _spliced(frame, _place(frame, chance), chance.randbytes(1)) if frame.payload else [frame]


def _bit(frame: Frame, chance: random.Random) -> list[Frame]:
    whole = bytearray(frame.encoded())
    place = chance.randrange(8 * len(whole))
    whole[place // 8] ^= 1 << place % 8
    kind, flags, stream = struct.unpack(">BBI", whole[3:9])
    length = int.from_bytes(whole[:3], "big")
    return [Frame(kind, flags, stream, bytes(whole[9:]), length)]


def _header(frame: Frame, chance: random.Random) -> list[Frame]:
    what = chance.randrange(4)
    if what == 0:
        frame.length = chance.choice((0, 1, len(frame.payload) + 1, 1 << 14, 0xFFFFFF))
    elif what == 1:
        frame.kind = chance.randrange(256)
    elif what == 2:
        frame.flags = chance.randrange(256)
    else:
        frame.stream = chance.choice((0, 1, 2, frame.stream + 2, frame.stream - 2, 0x7FFFFFFF)) % (
            1 << 32
        )
    return [frame]


def _message_length(frame: Frame, chance: random.Random) -> list[Frame]:
    if len(frame.payload) < _PREFIX or frame.kind != DATA:
        return _byte(frame, chance)
    length = int.from_bytes(frame.payload[1:5], "big")
    wrong = chance.choice((0, 1, length - 1, length + 1, 1 << 20, 1 << 31, 0xFFFFFFFF))
    return _spliced(frame, 1, struct.pack(">I", wrong % (1 << 32)))


def _message_flag(frame: Frame, chance: random.Random) -> list[Frame]:
    return _spliced(frame, 0, bytes([chance.choice((1, 2, 255))])) if frame.payload else [frame]


def _number(frame: Frame, chance: random.Random) -> list[Frame]:
    new = chance.choice(_EXTREMES)
    return _spliced(frame, _place(frame, chance, len(new)), new[: len(frame.payload)])


def _head_of_message(frame: Frame, chance: random.Random) -> list[Frame]:
    """Where the fields of protobuf and the metadata of Arrow are."""
    size = min(len(frame.payload), 800)
    if size <= _PREFIX:
        return [frame]
    at = chance.randrange(_PREFIX, size)
    return _spliced(frame, at, chance.choice((b"\0", b"\xff", b"\x80", chance.randbytes(4))))


def _text(frame: Frame, chance: random.Random) -> list[Frame]:
    places = [k for k, sign in enumerate(frame.payload) if sign in b'{}[]":,']
    if not places:
        return _byte(frame, chance)
    at = chance.choice(places)
    new = chance.choice((b"[", b"{", b'"', b"\xff", b"\xed\xa0\x80", b"NaN", b"[" * 5_000, b"\0"))
    return _spliced(frame, at, new[: len(frame.payload) - at])


def _cut(frame: Frame, chance: random.Random) -> list[Frame]:
    """Shorter, and everything around it says so."""
    frame.payload = frame.payload[: _place(frame, chance)]
    if frame.kind == DATA and len(frame.payload) >= _PREFIX and chance.random() < 0.5:
        return _spliced(frame, 1, struct.pack(">I", len(frame.payload) - _PREFIX))
    return [frame]


def _insert(frame: Frame, chance: random.Random) -> list[Frame]:
    return _spliced(frame, _place(frame, chance), chance.randbytes(chance.randrange(1, 40)), over=0)


def _drop(_frame: Frame, _chance: random.Random) -> list[Frame]:
    return []


def _twice(frame: Frame, _chance: random.Random) -> list[Frame]:
    return [frame, frame]


def _more(frame: Frame, chance: random.Random) -> list[Frame]:
    """Another frame before it, which a server may send, or not."""
    stream = frame.stream
    return [
        chance.choice(
            (
                Frame(RST_STREAM, 0, stream, struct.pack(">I", chance.randrange(16))),
                Frame(_GOAWAY, 0, 0, struct.pack(">II", chance.choice((0, stream)), 0)),
                Frame(_SETTINGS, 0, 0, struct.pack(">HI", chance.randrange(8), 0)),
                Frame(_PING, 0, 0, bytes(8)),
                Frame(_WINDOW_UPDATE, 0, stream, struct.pack(">I", chance.choice((0, 1 << 30)))),
                Frame(DATA, 0, stream, bytes(chance.randrange(8))),
                Frame(DATA, 1, stream, b""),
                Frame(chance.randrange(10, 256), 255, stream, chance.randbytes(9)),
            )
        ),
        frame,
    ]


KINDS: dict[str, Mutation] = {
    "byte": _byte,
    "bit": _bit,
    "header": _header,
    "message length": _message_length,
    "message flag": _message_flag,
    "number": _number,
    "head of message": _head_of_message,
    "text": _text,
    "cut": _cut,
    "insert": _insert,
    "drop": _drop,
    "twice": _twice,
    "more": _more,
}
"""Ways to damage a frame."""

EXACT = {"message length", "message flag", "more"}
"""Those after which what arrives at all must be right: no value is touched."""


class MutatingProxy:
    """Stands between a client and a server, in the event loop that starts it."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.rpartition(":")
        self._upstream = host, int(port)
        self._mutation: Mutation | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.endpoint = ""
        self.damaged = 0
        """How many frames were damaged."""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.endpoint = f"127.0.0.1:{port}"

    async def stop(self) -> None:
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def arm(self, kind: str, seed: int, *, only_once: bool) -> None:
        """From now on the answers are damaged: a frame of each, or of the next one only."""
        self._mutation = KINDS[kind]
        self._seed, self._only_once = seed, only_once
        chance = random.Random(seed)  # noqa: S311 - not for cryptography
        self._skip = chance.choice((0, 0, 1, 1, 1, 2, 2, 3))
        self._seen = dict[tuple[int, int], int]()

    def disarm(self) -> None:
        self._mutation = None

    def _connected(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(client, to_client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(*self._upstream)
        try:
            # Either side that ends ends the other.
            pumps = [self._ask(client, to_server), self._answer(server, to_client)]
            running = [asyncio.create_task(pump) for pump in pumps]
            try:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in running:
                    pump.cancel()
                await asyncio.gather(*running, return_exceptions=True)
        finally:
            for writer in (to_server, to_client):
                writer.close()

    async def _ask(self, client: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await client.read(1 << 16):
                to_server.write(data)
                await to_server.drain()

    async def _answer(self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await server.readexactly(9)
                kind, flags, stream = struct.unpack(">BBI", head[3:])
                payload = await server.readexactly(int.from_bytes(head[:3], "big"))
                frame = Frame(kind, flags, stream, payload)
                for one in self._damaged(frame, id(to_client)):
                    to_client.write(one.encoded())
                await to_client.drain()

    def _damaged(self, frame: Frame, connection: int) -> list[Frame]:
        if self._mutation is None or frame.kind not in {DATA, HEADERS}:
            return [frame]
        answer = connection, frame.stream
        place = self._seen.get(answer, 0)
        self._seen[answer] = place + 1
        if place != self._skip:
            return [frame]
        mutation, self.damaged = self._mutation, self.damaged + 1
        if self._only_once:
            self._mutation = None
        # The same each time, so that an answer that is asked for again is damaged alike.
        return mutation(frame, random.Random(self._seed))  # noqa: S311 - not for cryptography
