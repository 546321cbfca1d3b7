"""Accepted = completed + explicit error + cancelled, and each is on record once."""

import asyncio
import os
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from .callers import Callers, Ledger, compared, plans
from .report import Finding, tell
from .service import Service, Upstream, serving, upstream
from .upstream import FAULTS

#: At the share of 1.
REQUESTS, KILLS = 100_000, 50
_FAULTS, _LEAVING = 0.02, 0.01


def told_of(part: str, ledger: Ledger) -> Iterator[Finding]:
    said = (
        f"{ledger.completed:,} completed + {ledger.errors:,} errors + {ledger.cancelled:,} "
        f"cancelled + {ledger.cut:,} cut of {ledger.calls:,}"
    )
    yield Finding(part, "calls", said, "all accounted for", ledger.calls > 0)
    said = f"{ledger.lost} lost, {ledger.doubled} doubled, {ledger.false} false successes"
    yield Finding(part, "usage beside the journals", said, "0, 0, 0", ledger.exact)


def ledger(folder: Path, share: float) -> Iterator[Finding]:
    """Many calls of all kinds, of which some go wrong in every way there is."""
    count = int(REQUESTS * share)
    with upstream() as far, serving(folder / "ledger", far.port) as service:
        callers = Callers(service.port, at_once=48)
        work = plans(count, faults=_FAULTS, leaving=_LEAVING)
        asyncio.run(callers.run(work, lambda done: tell(f"ledger: {done:,} of {count:,} calls")))
        code = service.stop()
        found = compared(callers.journal, service.used())
        yield from told_of("ledger", found)
        done = Counter(far.told()["done"])
        # What is reset once comes twice.
        injected = sum(done[name] for name in FAULTS) + done["once"] // 2
        wanted = int(1_000 * share)
        yield Finding(
            "ledger", "faults injected", f"{injected:,}", f"≥ {wanted:,}", injected >= wanted
        )
        yield Finding("ledger", "cut without a word", str(found.cut), "0", found.cut == 0)
        yield Finding("ledger", "exit code", str(code), "0", code == 0)
        complaints = service.complaints()
        yield Finding("ledger", "tracebacks in the log", str(len(complaints)), "0", not complaints)


def kills(folder: Path, share: float) -> Iterator[Finding]:
    """``kill -9`` of workers at any moment, and of the whole server now and then."""
    times = max(2, int(KILLS * share))
    with upstream() as far, serving(folder / "kills", far.port) as service:
        callers = Callers(service.port, at_once=16)
        asyncio.run(_killed(service, callers, times))
        service.stop()
        found = compared(callers.journal, service.used(), killed=True)
        yield from told_of("kills", found)
        said = f"{times} times, {max(1, times // 10)} of them all processes"
        yield Finding("kills", "kill -9", said, "at random points", kept=True)
        most = times * 16
        yield Finding(
            "kills", "cut, being under way", str(found.cut), f"≤ {most}", found.cut <= most
        )


async def _killed(service: Service, callers: Callers, times: int) -> None:
    chance = random.Random(2)
    work = plans(10_000_000, faults=0.005)
    calling = asyncio.create_task(callers.run(work))
    for number in range(times):
        await asyncio.sleep(0.3 + chance.random())
        if number % 10 == 9 or (times < 10 and number == times - 1):
            callers.stopped = True
            service.kill()
            await calling
            service.start()
            callers.stopped = False
            calling = asyncio.create_task(callers.run(work))
        else:
            before = set(service.workers())
            os.kill(chance.choice(sorted(before)), signal.SIGKILL)
            async with asyncio.timeout(30):
                while len(set(service.workers())) < len(before):
                    await asyncio.sleep(0.02)
        tell(f"kills: {number + 1} of {times}, {len(callers.journal):,} calls")
    callers.stopped = True
    await calling


def disk(folder: Path, share: float) -> Iterator[Finding]:
    """The database locked, then the disk full, while calls go on."""
    del share
    with upstream() as far:
        yield from _locked(folder / "locked", far)
        yield from _full(folder / "full", far)


def _locked(folder: Path, far: Upstream) -> Iterator[Finding]:
    with serving(folder, far.port) as service:

        async def run() -> None:
            callers_task = asyncio.create_task(callers.run(plans(10_000_000, faults=0.005)))
            await asyncio.sleep(2)
            (file,) = service.data.glob("**/*.db")
            database = sqlite3.connect(file, isolation_level=None)
            database.execute("BEGIN IMMEDIATE")
            await asyncio.sleep(8)
            database.execute("ROLLBACK")
            database.close()
            await asyncio.sleep(3)
            callers.stopped = True
            await callers_task

        callers = Callers(service.port, at_once=8)
        asyncio.run(run())
        service.stop()
        yield from told_of(
            "disk: the database locked for 8 s", compared(callers.journal, service.used())
        )


def _full(folder: Path, far: Upstream) -> Iterator[Finding]:
    """On a file system of its own, which is filled, and freed again."""
    part = "disk: full for 6 s"
    if os.geteuid() != 0:
        yield Finding(part, "not run", "needs a file system of its own", "root", kept=True)
        return
    folder.mkdir(parents=True)
    service = Service(folder, far.port, workers=2)
    service.data.mkdir()
    script = f'mount -t tmpfs -o size=24m tmpfs {service.data} && exec "$@"'
    service.start(within=("unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"))
    inside = Path(f"/proc/{service.pid}/root{service.data}")

    async def run() -> None:
        calling = asyncio.create_task(callers.run(plans(10_000_000, faults=0.005)))
        await asyncio.sleep(2)
        filler = inside / "filler"
        _fill(filler)
        began = len(callers.journal)
        await asyncio.sleep(6)
        meanwhile.append(len(callers.journal) - began)
        filler.unlink()
        await asyncio.sleep(4)
        callers.stopped = True
        await calling

    meanwhile: list[int] = []
    callers = Callers(service.port, at_once=8)
    try:
        asyncio.run(run())
        # Its file system ends with the server.
        service.data = inside
        used = service.used()
    finally:
        service.stop()
    yield Finding(part, "calls answered meanwhile", f"{meanwhile[0]:,}", "> 0", meanwhile[0] > 0)
    yield from told_of(part, compared(callers.journal, used))


def _fill(file: Path) -> None:
    """Take every byte that is left."""
    with file.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 16, 4096, 512, 1):
            try:
                while stream.write(b"\0" * size):
                    pass
            except OSError:
                continue
