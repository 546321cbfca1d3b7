"""The compiled tools of the benchmark: an upstream and a load that cost next to nothing.

Python's own cost would blur what is measured: a call through nginx takes some 30 µs of CPU.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clients.environments import HOME, SetupFailed

HERE = Path(__file__).parent


def tool(name: str) -> Path:
    """The program of ``{name}.c``, compiled if need be."""
    source, program = HERE / f"{name}.c", HOME / "bench" / name
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SetupFailed("a C compiler is needed for the tools of the benchmark (cc)")
    program.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([compiler, "-O2", "-o", str(program), str(source)], check=True)
    return program


@contextmanager
def upstream(port: int, *, events: int = 100, pace_us: int = 0) -> Iterator[None]:
    """OpenAI's chat at ``port``; streams of ``events`` tokens, ``pace_us`` apart (0: at once)."""
    with subprocess.Popen([tool("upstream"), str(port), str(events), str(pace_us)]) as process:
        try:
            yield
        finally:
            process.kill()


def load(
    port: int, request: bytes, *, connections: int, seconds: float, ramp_s: float = 0
) -> dict[str, Any]:
    """What became of calls in a closed loop; see ``load.c``.

    ``request`` is one whole request, or several one after the other, which calls take in turn.
    """
    file = HOME / "bench" / "request"
    program = tool("load")
    file.write_bytes(request)
    told = subprocess.check_output(
        [program, str(port), str(connections), str(seconds), str(file), str(ramp_s)]
    )
    found: dict[str, Any] = json.loads(told)
    return found
