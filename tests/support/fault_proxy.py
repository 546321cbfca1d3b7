"""A proxy of streams that does to a connection what networks, middleboxes and dying servers do.

    with FaultProxy(upstream.port) as proxy:
        proxy.fault = Fault("reset", after=b"half of the answer")
        ...                             # point a client at proxy.url

Between Unix sockets, as engines have them, it is ``FaultProxy("theirs.sock", at="ours.sock")``.

A fault strikes what flows back to the client, once for each connection, as soon as ``after``
has passed; bytes before that arrive as they are.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar

Made = TypeVar("Made")

_NO_LINGER = struct.pack("ii", 1, 0)

Kind = Literal[
    "none",  # passes everything on
    "refuse",  # resets what connects
    "reset",  # ends with a reset
    "close",  # ends properly, as far as TCP goes
    "half-close",  # ends what flows back, and goes on to take what comes
    "stall",  # falls silent
    "corrupt",  # turns the high bit of every byte
    "slice",  # one byte a write
    "slow",  # ``rate`` bytes a second
    "late",  # ``delay_s`` before each piece
    "answer",  # says ``words`` in place of what was said
]


@dataclass(frozen=True)
class Fault:
    kind: Kind = "none"
    #: What must have passed; empty: strikes before the first byte.
    after: bytes = b""
    #: And so many bytes after that.
    plus: int = 0
    words: bytes = b""
    rate: int = 64 * 1024
    delay_s: float = 0.02


class FaultProxy:
    """A context manager; ``fault`` may be set at any time, and holds for new connections."""

    def __init__(self, target: int | str, *, at: str | None = None) -> None:
        """``target``: a port of this machine, or the path of a socket; ``at``: where to listen."""
        self.fault = Fault()
        #: How many connections were made.
        self.connections = 0
        self._target = target
        self._at = at
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        if self._at is not None:
            self._server = self._run(asyncio.start_unix_server(self._accept, self._at))
            return self
        self._server = self._run(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """End all connections there are, so that the next call makes one of its own."""
        self._run(self._cut())

    def _run(self, work: Coroutine[Any, Any, Made]) -> Made:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _end(self) -> None:
        # Here, since a server that another thread closes while its last connection ends fails.
        self._server.close()
        await self._cut()

    async def _cut(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._carry(reader, writer, self.fault)
        writer.transport.abort()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault
    ) -> None:
        if fault.kind == "refuse":
            _reset(writer)
            return
        if isinstance(self._target, str):
            theirs, back = await asyncio.open_unix_connection(self._target)
        else:
            theirs, back = await asyncio.open_connection("127.0.0.1", self._target)
        there = asyncio.create_task(_pump(reader, back))
        try:
            await _Struck(theirs, writer, fault).pump()
            if fault.kind in {"stall", "half-close"}:
                await there
        finally:
            there.cancel()
            back.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(64 * 1024):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


class _Struck:
    """One connection's way back."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._fault = fault

    async def pump(self) -> None:
        fault = self._fault
        async for data in self._unharmed():
            match fault.kind:
                case "reset":
                    _reset(self._writer)
                    return
                case "close":
                    break
                case "half-close":
                    self._writer.write_eof()
                    return
                case "stall":
                    return
                case "corrupt":
                    await self._write(bytes(byte ^ 0x80 for byte in data))
                case "slice":
                    for byte in data:
                        await self._write(bytes([byte]))
                        await asyncio.sleep(0)
                case "slow":
                    for start in range(0, len(data), 512):
                        await self._write(data[start : start + 512])
                        await asyncio.sleep(512 / fault.rate)
                case "late":
                    await asyncio.sleep(fault.delay_s)
                    await self._write(data)
                case "answer":
                    await self._write(fault.words)
                    break
                case _:
                    await self._write(data)
        await self._flushed()

    async def _unharmed(self) -> AsyncIterator[bytes]:
        """Pass on what comes before the fault, then what it strikes."""
        fault, passed = self._fault, b""
        while data := await self._reader.read(64 * 1024):
            passed += data
            at = passed.find(fault.after)
            place = at + len(fault.after) + fault.plus
            if at < 0 or place >= len(passed):
                await self._write(data)
                continue
            rest = passed[max(place, len(passed) - len(data)) :]
            await self._write(data[: len(data) - len(rest)])
            yield rest
            while data := await self._reader.read(64 * 1024):
                yield data

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def _flushed(self) -> None:
        """All that was written leaves, then the end."""
        self._writer.close()
        await self._writer.wait_closed()


def _reset(writer: asyncio.StreamWriter) -> None:
    end: socket.socket = writer.get_extra_info("socket")
    if end.family != socket.AF_UNIX:  # which end with an error wherever bytes are unread
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()
