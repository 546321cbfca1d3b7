"""What many, slow and long callers cost a server."""

import asyncio
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .callers import Caller, Callers, Entry, Plan, compared, plans
from .ledger import told_of
from .report import Finding, tell
from .service import KEY, Service, serving, upstream

CANCELLED, IDLE, SLOW, MEMORY_S, OVERLOAD_S = 1_000, 10_000, 500, 600, 20
#: How many times as much as it can take is asked of it, and of how many places.
_TIMES, _PLACES = 5, 32
_IDLE_ROUNDS = 3
_HEAD_S, _BODY_S = 10.0, 30.0
#: So long a connection to an upstream may wait for another call, and then some.
_POOLED_S = 35.0


def cancel(folder: Path, share: float) -> Iterator[Finding]:
    """Callers that leave a stream: how soon the upstream's connection is closed."""
    count = max(10, int(CANCELLED * share))
    with upstream() as far, serving(folder / "cancel", far.port, workers=1) as service:
        left = asyncio.run(_leaving(service.port, count))
        # The last one's end takes as long as the others'.
        deadline = time.monotonic() + 5
        while len(closed := far.told()["left"]) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        took = sorted(closed[str(n)] - at for n, at in left.items() if str(n) in closed)
        said = f"{len(took):,} of {count:,}"
        yield Finding("cancel", "upstream connections closed", said, "all", len(took) == count)
        p50, p99 = statistics.median(took) * 1e3, took[int(len(took) * 0.99)] * 1e3
        said = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"
        yield Finding("cancel", "from the caller's leaving", said, "p99 ≤ 250 ms", p99 <= 250)


async def _leaving(port: int, count: int) -> dict[int, float]:
    """When each caller left, by its number."""
    left: dict[int, float] = {}
    numbers = iter(range(1, count + 1))

    async def one() -> None:
        for number in numbers:
            entry = await Caller(port).call(Plan(number, "hold", "stream", leave=True))
            assert entry.outcome == "cancelled", entry
            left[number] = time.monotonic()

    await asyncio.gather(*(one() for _ in range(8)))
    return left


def idle(folder: Path, share: float) -> Iterator[Finding]:
    """Connections that do nothing: what they weigh, and whether others notice them."""
    count = int(IDLE * share)
    with upstream() as far, serving(folder / "idle", far.port, workers=1) as service:
        _latency(service.port)
        before, during, more = [], [], []
        for number in range(_IDLE_ROUNDS):
            tell(f"idle: round {number + 1} of {_IDLE_ROUNDS}")
            before.append(_latency(service.port))
            rss = _rss_mb(service)
            ends = [_idle(service.port, speaks=place % 10 == 0) for place in range(count)]
            during.append(_latency(service.port))
            more.append(_rss_mb(service) - rss)
            for end in ends:
                end.close()
        # Memory that was used once is used again: the first round tells.
        said = f"{more[0]:.0f} MB for {count:,}"
        yield Finding("idle", "memory of idle connections", said, "≤ 100 MB", more[0] <= 100)
        without, with_them = statistics.median(before), statistics.median(during)
        said = f"{without:.2f} ms without, {with_them:.2f} ms with"
        kept = with_them <= without * 1.25 + 0.25
        yield Finding("idle", "p99 of a call", said, "≤ 1.25 × + 0.25 ms", kept)


def _idle(port: int, *, speaks: bool) -> socket.socket:
    """A connection that does nothing, or nothing any more."""
    end = socket.create_connection(("127.0.0.1", port))
    if speaks:
        end.sendall(b"GET /health/live HTTP/1.1\r\nhost: soak\r\n\r\n")
        end.recv(4096)
    return end


def _latency(port: int, calls: int = 1000) -> float:
    """The 99th percentile, in ms, of calls one after the other; the median of three tries."""

    async def run() -> list[float]:
        caller, took = Caller(port), []
        for number in range(calls):
            began = time.perf_counter()
            entry = await caller.call(Plan(number, "plain", "chat"))
            took.append(time.perf_counter() - began)
            assert entry.outcome == "completed", entry
        caller.close()
        return took

    tries = [sorted(asyncio.run(run()))[int(calls * 0.99)] * 1e3 for _ in range(3)]
    return statistics.median(tries)


def slow(folder: Path, share: float) -> Iterator[Finding]:
    """Callers that never finish a head or a body are sent away, and others don't notice."""
    count = max(10, int(SLOW * share))
    with upstream() as far, serving(folder / "slow", far.port, workers=1) as service:
        heads, bodies, trickling, latency = asyncio.run(_slow(service.port, count))
        what = "a head without an end, sent away after"
        yield Finding("slow", what, _spread(heads), "≤ 11 s", max(heads) <= _HEAD_S + 1)
        what = "a body without an end, sent away after"
        yield Finding("slow", what, _spread(bodies), "≤ 32 s", max(bodies) <= _BODY_S + 2)
        what = "a body of 20 bytes a second, sent away after"
        yield Finding("slow", what, _spread(trickling), "≤ 32 s", max(trickling) <= _BODY_S + 2)
        said = f"{latency:.2f} ms"
        yield Finding("slow", "p99 of a call meanwhile", said, "answered", kept=True)


def _spread(took: Sequence[float]) -> str:
    return f"{min(took):.1f} to {max(took):.1f} s ({len(took):,} of them)"


async def _slow(port: int, count: int) -> tuple[list[float], list[float], list[float], float]:
    head = f"POST /chat/completions HTTP/1.1\r\nhost: soak\r\napi-key: {KEY}\r\n".encode()
    body = head + b"content-length: 100000\r\n\r\n{"

    async def one(begun: bytes, each_s: float = 0.0) -> float:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begun)
        reading = asyncio.create_task(_to_the_end(reader))
        async with asyncio.timeout(60):
            while each_s and not reading.done():
                await asyncio.wait([reading], timeout=each_s)
                writer.write(b" ")
            await reading
        writer.transport.abort()
        return time.monotonic() - began

    heads = [one(head) for _ in range(count)]
    bodies = [one(body) for _ in range(count)]
    trickling = [one(body, 0.05) for _ in range(20)]
    every = asyncio.gather(*heads, *bodies, *trickling)
    await asyncio.sleep(1)
    latency = await asyncio.to_thread(_latency, port, 500)
    took = await every
    return took[:count], took[count : 2 * count], took[2 * count :], latency


def overload(folder: Path, share: float) -> Iterator[Finding]:
    """Several times the calls that its deployment has places for: what it still answers."""
    seconds = max(4.0, OVERLOAD_S * share)
    with (
        upstream() as far,
        serving(folder / "overload", far.port, workers=1, slots=_PLACES) as service,
    ):
        capacity, calm = asyncio.run(_capacity(service.port, seconds / 4))
        tell(f"overload: {capacity:.0f} calls a second are its most")
        goodput, offered, stormy = asyncio.run(_storm(service.port, capacity * _TIMES, seconds))
        service.stop()
        said = f"{goodput:.0f} of {capacity:.0f} calls a second, at {offered:.0f} offered"
        yield Finding("overload", "answered", said, "≥ 90 %", goodput >= capacity * 0.9)
        statuses = {entry.status for entry in stormy if entry.outcome != "completed"}
        said = f"{sum(entry.status == 429 for entry in stormy):,} of {len(stormy):,}, with 429"
        yield Finding("overload", "refused", said, "nothing else", statuses == {429})
        yield from told_of("overload", compared([*calm, *stormy], service.used()))


async def _capacity(port: int, seconds: float) -> tuple[float, list[Entry]]:
    """Calls a second while as many are under way as there are places."""
    callers = Callers(port, at_once=_PLACES)
    began = time.monotonic()
    calling = asyncio.create_task(
        callers.run(Plan(number, "slow", "chat") for number in range(1, 1_000_000))
    )
    await asyncio.sleep(seconds)
    callers.stopped = True
    await calling
    return len(callers.journal) / (time.monotonic() - began), callers.journal


async def _storm(port: int, rate: float, seconds: float) -> tuple[float, float, list[Entry]]:
    """Calls a second that were answered and that were begun, whatever became of the earlier."""
    idle: list[Caller] = []
    journal: list[Entry] = []

    async def one(number: int) -> None:
        caller = idle.pop() if idle else Caller(port)
        journal.append(await caller.call(Plan(number, "slow", "chat")))
        idle.append(caller)

    began = time.monotonic()
    calls: list[asyncio.Task[None]] = []
    while (spent := time.monotonic() - began) < seconds:
        missing = int(spent * rate) - len(calls)
        calls += [asyncio.create_task(one(2_000_000 + len(calls) + n)) for n in range(missing)]
        await asyncio.sleep(0.002)
    answered = sum(entry.outcome == "completed" for entry in journal)
    await asyncio.gather(*calls)
    for caller in idle:
        caller.close()
    return answered / spent, len(calls) / spent, journal


async def _to_the_end(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(4096):
            pass
    except ConnectionError:
        return


def memory(folder: Path, share: float) -> Iterator[Finding]:
    """A mixed load at a fixed rate: whether anything grows."""
    seconds = MEMORY_S * share
    with upstream() as far, serving(folder / "memory", far.port, workers=1) as service:
        asyncio.run(Callers(service.port, at_once=16).run(plans(1000)))
        fds_before = _fds_at_rest(service)
        callers = Callers(service.port, at_once=16)
        sizes = asyncio.run(_watched(service, callers, seconds))
        fds = _fds_at_rest(service) - fds_before
        service.stop()
        # What is loaded at first use, and pools that fill, are no growth.
        warm, last = sizes[len(sizes) // 5], statistics.median(sizes[-3:])
        growth = (last / warm - 1) * 100
        counts = callers.counts()
        said = f"{growth:+.1f} % ({warm:.1f} to {last:.1f} MB) in {seconds:.0f} s"
        yield Finding("memory", "resident size after warm-up", said, "≤ +2 %", growth <= 2)
        yield Finding("memory", "largest", f"{max(sizes):.1f} MB", "≤ 120 MB", max(sizes) <= 120)
        said = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
        kept = not counts["false"] and not counts["cut"]
        yield Finding("memory", "calls", said, "none cut or false", kept)
        yield Finding("memory", "descriptors more than before", str(fds), "≤ 0", fds <= 0)


async def _watched(service: Service, callers: Callers, seconds: float) -> list[float]:
    """Resident sizes, ten a minute, while calls go on."""
    work = plans(10_000_000, faults=0.01, leaving=0.01)
    calling = asyncio.create_task(callers.run(work, pause_s=0.04))
    sizes = []
    for number in range(int(seconds // 6) or 1):
        await asyncio.sleep(6)
        sizes.append(_rss_mb(service))
        tell(f"memory: {number * 6 + 6} of {seconds:.0f} s, {sizes[-1]:.1f} MB")
    callers.stopped = True
    await calling
    return sizes


def _rss_mb(service: Service) -> float:
    status = Path(f"/proc/{service.workers()[0]}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def _fds_at_rest(service: Service) -> int:
    """Descriptors that are open once the connections that wait for another call have ended."""
    tell("memory: waiting until idle connections are closed")
    time.sleep(_POOLED_S)
    return len(list(Path(f"/proc/{service.workers()[0]}/fd").iterdir()))
