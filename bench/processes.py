"""What a process and all that it started have used: CPU and memory, from /proc."""

import os
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """The process and its descendants."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        try:
            for thread in Path(f"/proc/{one}/task").iterdir():
                waiting += map(int, (thread / "children").read_text().split())
        except OSError:
            continue  # it has ended meanwhile
    return found


def cpu_s(pid: int) -> float:
    """Seconds of CPU, user and system, of the tree."""
    ticks = 0
    for one in tree(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:13]))
    return ticks / _TICK


def memory_mb(pid: int) -> float:
    """Proportional set size of the tree: what two processes share counts once."""
    return sum(map(_pss_kb, tree(pid))) / 1024


def largest_mb(pid: int) -> float:
    """Resident size of the largest process of the tree."""
    return max(map(_rss_kb, tree(pid))) / 1024


def _pss_kb(pid: int) -> int:
    return _field(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")


def _rss_kb(pid: int) -> int:
    return _field(Path(f"/proc/{pid}/status"), "VmRSS:")


def _field(file: Path, name: str) -> int:
    try:
        for line in file.read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])
    except OSError:
        pass
    return 0
