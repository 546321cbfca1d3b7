"""Gateways beside each other: the same calls through each, in turn, round by round.

CPU is that of a gateway's whole process tree, which says the same on a busy machine as on an
idle one to within some percent; latency doesn't. Ratios are of one round; their median counts.
"""

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from clients.environments import SetupFailed
from peers.peers import free_port

from . import gateways, native
from .gateways import Gateway, request
from .processes import cpu_s, largest_mb, memory_mb
from .rows import Row, paired

OURS = "Interlingua"
#: What one figure of one round takes.
SECONDS = 2.0
CONNECTIONS = 32
#: Tokens of a paced stream, and the time between them: 50 a second.
EVENTS, PACE_US = 100, 20_000

Figures = dict[str, list[float]]


def gateway(rounds: int) -> Iterator[Row]:
    """All of it; the raw figures are kept for :mod:`.report`."""
    raw: dict[str, Any] = {"versions": {}, "missing": {}}
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        for part in (_whole, _streamed, _growth):
            _tell(f"gateway: {part.__name__.strip('_')}")
            yield from part(where, rounds, raw)
    yield _start(rounds, raw)
    RAW.update(raw)


#: The figures of the last run.
RAW: dict[str, Any] = {}


def _tell(what: str) -> None:
    print(f"# {what}", file=sys.stderr, flush=True)


def _all(
    folder: Path, upstream: int, stack: ExitStack, raw: dict[str, Any], *, workers: int = 1
) -> list[Gateway]:
    """All gateways that can be had here, started."""
    found = []
    for name, start in gateways.ALL.items():
        _tell(f"starting {name}")
        try:
            if name == "interlingua" and workers > 1:
                each = gateways.interlingua(folder, upstream, stack, workers=workers)
            else:
                each = start(folder, upstream, stack)
        except (SetupFailed, subprocess.SubprocessError, OSError) as error:
            raw["missing"][name] = str(error)[:300]
            _tell(f"{name} is left out: {error}")
            continue
        raw["versions"][each.name] = each.version
        found.append(each)
    return found


# -- Whole answers --------------------------------------------------------------------------


def _whole(folder: Path, rounds: int, raw: dict[str, Any]) -> Iterator[Row]:
    port = free_port()
    with ExitStack() as stack:
        stack.enter_context(native.upstream(port))
        runs = _all(folder, port, stack, raw)
        raw["memory_idle_mb"] = {each.name: memory_mb(each.pid) for each in runs}
        cpu: Figures = {each.name: [] for each in runs}
        added: dict[str, Figures] = {each.name: {"p50": [], "p99": []} for each in runs}
        errors = dict.fromkeys(cpu, 0)
        for number in range(rounds + 1):
            for each in runs:
                used, told = _loaded(each, request(each), connections=CONNECTIONS)
                errors[each.name] += told["errors"]
                if number:
                    cpu[each.name].append(used / told["calls"] * 1e6)
            direct = _one_by_one(port, request(None))
            for each in runs:
                took = _one_by_one(each.port, request(each))
                if number:
                    for which in ("p50", "p99"):
                        added[each.name][which].append(took[which] - direct[which])
            _tell(f"whole answers, round {number} of {rounds}")
        raw["memory_after_mb"] = {each.name: largest_mb(each.pid) for each in runs}
    raw["cpu_us_a_call"], raw["errors"], raw["added_ms"] = cpu, errors, added
    goals = {"ferrogw": "≤ 1.0", "nginx": "≤ 10", "LiteLLM": "≤ 1/40", "Portkey": "≤ 1/5"}
    yield from _compared("CPU a whole chat, 32 connections, µs", cpu, goals)
    yield from _latencies(added)
    for when, most in (("idle", 60), ("after", 120)):
        for name, size in raw[f"memory_{when}_mb"].items():
            holds = f"≤ {most}" if name == OURS else ""
            yield Row(f"memory, {when}, MB: {name}", f"{size:.0f}", "", "", holds)
    failed = {name: count for name, count in errors.items() if count}
    yield Row("failed calls", str(failed or 0), "", "", "0")


def _latencies(added: Mapping[str, Figures]) -> Iterator[Row]:
    for which, most in (("p50", 0.45), ("p99", 1.0)):
        what = f"latency added at one connection, {which}, ms"
        figures = {name: each[which] for name, each in added.items()}
        for name, values in figures.items():
            holds = f"≤ {most}" if name == OURS else ""
            said = f"{statistics.median(values):.2f}"
            yield Row(f"{what}: {name}", said, "", f"{min(values):.2f} to {max(values):.2f}", holds)
        if OURS in figures and "ferrogw" in figures:
            yield paired(
                f"{what}: beside ferrogw", figures[OURS], figures["ferrogw"], "≤ 1.0", digits=2
            )


def _loaded(
    each: Gateway, call: bytes, *, connections: int, seconds: float = SECONDS, ramp_s: float = 0
) -> tuple[float, dict[str, Any]]:
    """The CPU that calls took, in seconds, and what became of them."""
    before = cpu_s(each.pid)
    told = native.load(each.port, call, connections=connections, seconds=seconds, ramp_s=ramp_s)
    return cpu_s(each.pid) - before, told


def _one_by_one(port: int, call: bytes) -> dict[str, float]:
    """Latency at one connection, in ms."""
    took = native.load(port, call, connections=1, seconds=SECONDS)["latency"]
    return {which: took[f"{which}_us"] / 1000 for which in ("p50", "p99")}


# -- Streams --------------------------------------------------------------------------------


def _streamed(folder: Path, rounds: int, raw: dict[str, Any]) -> Iterator[Row]:
    port = free_port()
    cpu: Figures = {}
    seen: dict[str, list[dict[str, Any]]] = {}
    with ExitStack() as stack:
        stack.enter_context(native.upstream(port, events=EVENTS, pace_us=PACE_US))
        runs = _all(folder, port, stack, raw, workers=2)
        ramp_s = EVENTS * PACE_US / 1e6
        for number in range(max(2, rounds // 2)):
            for each in runs:
                used, told = _loaded(
                    each,
                    request(each, stream=True),
                    connections=each.streams,
                    seconds=3 * ramp_s,
                    ramp_s=ramp_s,
                )
                cpu.setdefault(each.name, []).append(used / max(told["events"], 1) * 1e6)
                seen.setdefault(each.name, []).append({**told, "asked": each.streams})
            _tell(f"streams, round {number + 1} of {max(2, rounds // 2)}")
        direct = native.load(
            port, request(None, stream=True), connections=512, seconds=2 * ramp_s, ramp_s=ramp_s
        )
        raw["memory_streams_mb"] = {each.name: largest_mb(each.pid) for each in runs}
    raw["cpu_us_an_event"], raw["streams"], raw["streams_direct"] = cpu, seen, direct
    ours = f"{OURS}, 2 workers"
    yield from _compared("CPU a streamed event, µs", cpu, {"ferrogw": "≤ 1.0"}, ours=ours)
    yield from _paced("none", [{**direct, "asked": 512}])
    for name, tolds in seen.items():
        yield from _paced(name, tolds, goals=name == ours)


def _paced(name: str, tolds: Sequence[Mapping[str, Any]], *, goals: bool = False) -> Iterator[Row]:
    """What the streams of all rounds were like; times are those of the worst round."""
    intact = sum(told["intact"] for told in tolds)
    begun = sum(told["streams"] + told["unfinished"] for told in tolds)
    what = f"{tolds[0]['asked']} streams at 50 tokens/s, {{}}: {name}"
    said = f"{intact:,} of {begun:,}"
    yield Row(what.format("intact, %"), f"{100 * intact / begun:g}", "", said, "≥ 100" * goals)
    for which, said, most in (("gap", "gap p99, ms", 30), ("first_event", "first p99, ms", 50)):
        times = [told[which]["p99_us"] / 1000 for told in tolds]
        spread = f"{min(times):.0f} to {max(times):.0f}"
        yield Row(what.format(said), f"{max(times):.0f}", "", spread, f"≤ {most}" * goals)


# -- How cost grows -------------------------------------------------------------------------


def _growth(folder: Path, rounds: int, raw: dict[str, Any]) -> Iterator[Row]:
    port = free_port()
    with ExitStack() as stack:
        stack.enter_context(native.upstream(port))
        small = gateways.interlingua(folder, port, stack)
        many = gateways.interlingua(folder, port, stack, deployments=1000)
        keys = gateways.interlingua(folder, port, stack, keys=10_000)
        grown: Figures = {"1 deployment, 1 key": [], "1,000 deployments": [], "10,000 keys": []}
        sizes: Figures = {f"{size} kB": [] for size in (1, 10, 100, 1000)}
        for number in range(rounds + 1):
            for name, each in zip(grown, (small, many, keys), strict=True):
                used, told = _loaded(each, request(each), connections=CONNECTIONS)
                if number:
                    grown[name].append(used / told["calls"] * 1e6)
            for name in sizes:
                text = "word " * (int(name.split()[0]) * 200)
                used, told = _loaded(small, request(small, prompt=text), connections=8)
                if number:
                    sizes[name].append(used / told["calls"] * 1e6)
            _tell(f"growth, round {number} of {rounds}")
    raw["grown_us"], raw["sizes_us"] = grown, sizes
    least = grown["1 deployment, 1 key"]
    for name, values in grown.items():
        yield paired(f"CPU a call with {name}, µs", values, least, "0.85 to 1.15", digits=2)
    for name, values in sizes.items():
        yield Row(f"CPU a call of {name}, µs", f"{statistics.median(values):.0f}", "", "", "")
    # From 1 kB on, so that what every call costs doesn't count.
    further = {
        name: [
            (value - base) / (int(name.split()[0]) - 1)
            for value, base in zip(values, sizes["1 kB"], strict=True)
        ]
        for name, values in sizes.items()
        if name != "1 kB"
    }
    for name, values in further.items():
        what = f"CPU a further kB up to {name}, µs"
        yield paired(what, values, further["100 kB"], "0.85 to 1.15", digits=2)


def _start(rounds: int, raw: dict[str, Any]) -> Row:
    took = []
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, native.upstream(port):
        for _ in range(rounds + 1):
            with ExitStack() as stack:
                took.append(gateways.interlingua(Path(folder), port, stack).start_s)
    raw["start_s"] = took[1:]
    spread = f"{min(took[1:]):.2f} to {max(took[1:]):.2f}"
    said = f"{statistics.median(took[1:]):.2f}"
    return Row("start to first answer, s: Interlingua", said, "", spread, "≤ 1.0")


# -- Rows -----------------------------------------------------------------------------------


def _compared(
    what: str, figures: Figures, goals: Mapping[str, str], *, ours: str = OURS
) -> Iterator[Row]:
    mine = figures.get(ours)
    for name, values in figures.items():
        if mine is None or name == ours:
            yield Row(f"{what}: {name}", f"{statistics.median(values):.1f}", "", _range(values), "")
            continue
        yield paired(f"{what}: beside {name}", mine, values, goals.get(name, ""), digits=2)


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.1f} to {max(values):.1f}"
