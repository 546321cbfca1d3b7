"""Buffers of one call serve the next one."""

import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys
from interlingua.server.heap import keep_buffers
if sys.argv[1] == "kept":
    keep_buffers()

def call() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    body = bytes(1_000_000)
    read = body.decode()
    written = read.encode()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

call()
print(sum(call() for _ in range(10)))
"""


def faults(how: str) -> int:
    """The pages that ten calls with a megabyte each had to have from the system."""
    command = [sys.executable, "-c", _FAULTS, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="this is glibc's allocator")
def test_a_calls_buffers_are_not_had_anew_from_the_system() -> None:
    assert faults("kept") < faults("as it comes") / 5
