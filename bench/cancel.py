"""From a client's leaving to the upstream's connection being closed, or its engine's rest.

A server of its own process, as a user starts it; clients are plain sockets; the upstream is
scripted, and notes when its connections end. Of an engine the CPU time is watched: it has one
thread, since two that wait for each other say more of who else is on the machine.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from .load import prompt
from .rows import Row

KEY = "a-key-for-the-benchmark"
#: Tries of each case and round.
TRIES = 20
#: An engine whose threads took no CPU for so long has stopped.
QUIET_S = 0.08
#: A queued call that hasn't begun so long after its place was free never will.
NEVER_S = 0.2
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

#: The deployments: how the upstream behaves is the last step of the address.
_CONFIG = """
[server]
port = 0
keys = ["${INTERLINGUA_API_KEY}"]

[[deployment]]
name = "engine"
model = "smollm2-135m-instruct"
compute = "managed"
context_length = 4096
slots = 1
threads = 1
"""
_FAR = """
[[deployment]]
name = "%(name)s"
provider = "openai"
base_url = "%(url)s/%(mode)s"
model = "theirs"
key = "${INTERLINGUA_API_KEY}"
slots = %(slots)d
"""


class Upstream:
    """Notes each request, and when its connection ended."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self.ended: asyncio.Queue[float] = asyncio.Queue()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                await reader.readexactly(length)
                mode = head.split(b" ")[1].split(b"/")[1].decode()
                await self._answer(mode, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, mode: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if mode == "busy":
            writer.write(b"HTTP/1.1 503 Busy\r\ncontent-length: 2\r\n\r\n{}")
            return
        if mode == "drop":
            self.asked.put_nowait(mode)
            raise ConnectionResetError
        gone = asyncio.ensure_future(reader.read(1))
        if mode in {"role", "speaks"}:
            writer.write(_HEAD + _event({"role": "assistant", "content": ""}))
        if mode == "speaks":
            writer.write(_event({"content": "Hi"}))
        self.asked.put_nowait(mode)
        while not gone.done():
            await asyncio.wait([gone], timeout=0.01 if mode == "speaks" else None)
            if mode == "speaks" and not gone.done():
                writer.write(_event({"content": " and"}))
        self.ended.put_nowait(time.monotonic())
        raise ConnectionResetError


def _event(delta: dict[str, str]) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    data = b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


class Client:
    """Sends one request, and leaves."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    @classmethod
    async def send(cls, url: str, path: str, body: dict[str, object]) -> "Client":
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\ncontent-length: {len(data)}"
        writer.write(head.encode() + b"\r\n\r\n" + data)
        return cls(reader, writer)

    def leave(self) -> float:
        self._writer.close()
        return time.monotonic()


class Bench:
    """The running server, its upstream, and its engine's process."""

    def __init__(self, url: str, upstream: Upstream, server: int) -> None:
        self.url = url
        self.upstream = upstream
        #: CPU that the engine used after its clients had left, in seconds.
        self.engine_spent: list[float] = []
        self._server = server

    async def chat(self, model: str, *, stream: bool = False, text: str = "Hi") -> Client:
        body = {"model": model, "stream": stream, "max_tokens": 2000}
        body |= {"messages": [{"role": "user", "content": text}], "temperature": 0}
        return await Client.send(self.url, "/chat/completions", body)

    async def leaves(self, client: Client) -> float:
        """How long after its leaving the upstream's connection ended."""
        left = client.leave()
        return await self.upstream.ended.get() - left

    async def at(self, mode: str) -> None:
        """Return once the upstream was asked."""
        assert await self.upstream.asked.get() == mode

    def engine_cpu_s(self) -> float:
        """What all threads of the engine's process have used."""
        spent = 0
        for pid in _children(self._server):
            for task in Path(f"/proc/{pid}/task").iterdir():
                try:
                    spent += int((task / "schedstat").read_text().split()[0])
                except OSError:
                    continue
        return spent / 1e9

    async def engine_stops(self, left: float) -> float:
        """How long after ``left`` the engine used CPU for the last time."""
        began = used = self.engine_cpu_s()
        last = time.monotonic()
        while time.monotonic() - last < QUIET_S:
            await asyncio.sleep(0.002)
            now = self.engine_cpu_s()
            if now - used > 0.0002:
                used, last = now, time.monotonic()
        self.engine_spent.append(used - began)
        return last - left


def _children(pid: int) -> list[str]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [child for task in tasks for child in (task / "children").read_text().split()]


@asynccontextmanager
async def _running() -> AsyncIterator[Bench]:
    upstream = Upstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    config = _CONFIG
    for name, mode, slots in (
        *(("silent", "silent", 64), ("role", "role", 64), ("speaks", "speaks", 64)),
        *(("one", "silent", 1), ("drop", "drop", 64), ("vectors", "silent", 64)),
        ("busy", "busy", 64),
    ):
        config += _FAR % {"name": name, "url": url, "mode": mode, "slots": slots}
        config += 'type = "embedding"\n' if name == "vectors" else ""
    config += 'fallback = ["silent"]\n'
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "interlingua.toml").write_text(config)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "interlingua", "serve", "--no-pull", "--json"),
            stdout=asyncio.subprocess.PIPE,
            cwd=folder,
            env={**os.environ, "INTERLINGUA_API_KEY": KEY},
        )
        try:
            assert process.stdout is not None
            said = json.loads(await process.stdout.readline())
            bench = Bench(said["url"], upstream, process.pid)
            warm = await bench.chat("engine", stream=True)
            await warm.reader.readuntil(b'"content":"')
            await bench.engine_stops(warm.leave())
            yield bench
        finally:
            process.terminate()
            await process.wait()
            server.close()


# -- The cases, each one try that says how long it took --------------------------------------


async def _unary_waiting(bench: Bench, _: int) -> float:
    client = await bench.chat("silent")
    await bench.at("silent")
    return await bench.leaves(client)


async def _streamed_waiting(bench: Bench, _: int) -> float:
    client = await bench.chat("silent", stream=True)
    await bench.at("silent")
    return await bench.leaves(client)


async def _streamed_unsaid(bench: Bench, _: int) -> float:
    client = await bench.chat("role", stream=True)
    await bench.at("role")
    await asyncio.sleep(0.005)
    return await bench.leaves(client)


async def _streamed_speaking(bench: Bench, _: int) -> float:
    client = await bench.chat("speaks", stream=True)
    await bench.at("speaks")
    await client.reader.readuntil(b"Hi")
    return await bench.leaves(client)


async def _unary_speaking(bench: Bench, _: int) -> float:
    client = await bench.chat("speaks")
    await bench.at("speaks")
    await asyncio.sleep(0.02)
    return await bench.leaves(client)


async def _embeddings_waiting(bench: Bench, _: int) -> float:
    client = await Client.send(bench.url, "/embeddings", {"input": ["x"], "model": "vectors"})
    await bench.at("silent")
    return await bench.leaves(client)


async def _in_a_fallback(bench: Bench, _: int) -> float:
    client = await bench.chat("busy")
    await bench.at("silent")
    return await bench.leaves(client)


async def _queued(bench: Bench, _: int) -> float:
    """How long until its place was left; it must never reach the upstream."""
    holder = await bench.chat("one")
    await bench.at("silent")
    client = await bench.chat("one")
    await asyncio.sleep(0.01)
    client.leave()
    await asyncio.sleep(0.01)
    took = await bench.leaves(holder)
    await _never(bench)
    return took


async def _in_a_retry(bench: Bench, _: int) -> float:
    """The pause before a retry: nothing is open, and nothing may be asked again."""
    client = await bench.chat("drop")
    await bench.at("drop")
    await asyncio.sleep(0.005)
    client.leave()
    await _never(bench)
    return 0.0


async def _never(bench: Bench) -> None:
    await asyncio.sleep(NEVER_S)
    assert bench.upstream.asked.empty(), "a call that had left was begun"


async def _engine_streams(bench: Bench, number: int) -> float:
    client = await bench.chat("engine", stream=True, text=prompt(number, 20))
    await client.reader.readuntil(b'"content":"')
    await asyncio.sleep(0.05)
    return await bench.engine_stops(client.leave())


async def _engine_writes(bench: Bench, number: int) -> float:
    """The engine has read the prompt before, so that it writes soon."""
    text = prompt(number, 20)
    before = await bench.chat("engine", stream=True, text=text)
    await before.reader.readuntil(b'"content":"')
    await bench.engine_stops(before.leave())
    bench.engine_spent.pop()
    client = await bench.chat("engine", text=text)
    await asyncio.sleep(0.4)
    return await bench.engine_stops(client.leave())


async def _engine_reads(bench: Bench, number: int) -> float:
    """A prompt of some 2,000 tokens, left while it is being read."""
    client = await bench.chat("engine", stream=True, text=prompt(number, 2000))
    await asyncio.sleep(0.4)
    return await bench.engine_stops(client.leave())


async def _engine_queued(bench: Bench, number: int) -> float:
    """The queued call leaves, then the one before it: nothing may go on."""
    holder = await bench.chat("engine", stream=True, text=prompt(number, 20))
    await holder.reader.readuntil(b'"content":"')
    client = await bench.chat("engine", text=prompt(number + 1, 20))
    await asyncio.sleep(0.02)
    client.leave()
    await asyncio.sleep(0.02)
    return await bench.engine_stops(holder.leave())


_UPSTREAM = "≤ 250 ms p99"
CASES: tuple[tuple[str, Callable[[Bench, int], Awaitable[float]], str], ...] = (
    ("provider: unary, waiting for the first token", _unary_waiting, _UPSTREAM),
    ("provider: streamed, waiting for the first token", _streamed_waiting, _UPSTREAM),
    ("provider: streamed, begun and nothing said yet", _streamed_unsaid, _UPSTREAM),
    ("provider: streamed, in the middle", _streamed_speaking, _UPSTREAM),
    ("provider: unary, in the middle", _unary_speaking, _UPSTREAM),
    ("provider: embeddings, waiting", _embeddings_waiting, _UPSTREAM),
    ("provider: in a fallback", _in_a_fallback, _UPSTREAM),
    ("provider: behind a queued call that left first", _queued, "never starts"),
    ("provider: in the pause before a retry", _in_a_retry, "never starts"),
    ("engine: streamed, generating", _engine_streams, _UPSTREAM),
    ("engine: unary, generating", _engine_writes, _UPSTREAM),
    ("engine: in a prefill", _engine_reads, "≤ one batch + 1 s"),
    ("engine: behind a queued call that left first", _engine_queued, "never starts"),
)


async def _measure(rounds: int) -> AsyncIterator[Row]:
    async with _running() as bench:
        for what, case, holds in CASES:
            bench.engine_spent.clear()
            took = [await case(bench, number) * 1000 for number in range(rounds * TRIES)]
            took.sort()
            p99 = took[max(0, -(-99 * len(took) // 100) - 1)]
            spread = f"p99 {p99:.1f}, longest {took[-1]:.1f}, {len(took)} tries"
            if bench.engine_spent:
                spread += f"; CPU {statistics.median(bench.engine_spent) * 1000:.0f}"
            yield Row(f"{what}, ms", f"{statistics.median(took):.1f}", "", spread, holds)


def cancel(rounds: int) -> Iterator[Row]:
    """What happens upstream when clients leave; 20 tries a round."""
    rows = _measure(rounds)
    with asyncio.Runner() as runner:
        while (row := runner.run(_next(rows))) is not None:
            yield row


async def _next(rows: AsyncIterator[Row]) -> Row | None:
    return await anext(rows, None)
