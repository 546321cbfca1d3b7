"""Programs that a pull runs, and what they say of how far they are."""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Called with the bytes there are, the bytes there will be (where known), and what they are.
Progress = Callable[[int, int | None, str], None]


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A child with its output as text lines, ended with the block, whatever ends it."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def follow(process: subprocess.Popen[str], what: str, progress: Progress) -> list[str]:
    """Report each ``Progress DONE of TOTAL``, as pip has it; the last lines of the others."""
    tail: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        raw = re.fullmatch(r"Progress (\d+) of (\d+)\s*", line)
        if raw:
            progress(int(raw[1]), int(raw[2]), what)
        elif line.strip():
            tail = [*tail[-49:], line.strip()]
    return tail
