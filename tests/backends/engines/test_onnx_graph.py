"""Graphs: the memory that a run takes."""

import subprocess
import sys

import pytest

from ...support.engines import packaged

#: Prints by how many MB a process grows that runs 12 texts of 252 tokens once.
GROWTH = """
import sys
from pathlib import Path
import numpy as np
from interlingua.backends.engines.onnx_graph import Graph

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

graph = Graph(Path(sys.argv[1]), threads=1, vectors=["last_hidden_state"])
def run(texts, *, rare):
    ids = np.ones((texts, 252), np.int64)
    graph.run(
        {"input_ids": ids, "attention_mask": ids, "token_type_ids": np.zeros_like(ids)}, rare=rare
    )
run(1, rare=False)
before = resident_mb()
run(12, rare=sys.argv[2] == "rare")
print(resident_mb() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_rare_run_takes_is_given_back() -> None:
    graph = packaged("all-minilm-l6-v2").files["model"]
    grown = {}
    for which in ("ordinary", "rare"):
        command = [sys.executable, "-c", GROWTH, str(graph), which]
        grown[which] = float(subprocess.check_output(command, text=True))
    assert grown["rare"] < grown["ordinary"] / 2
