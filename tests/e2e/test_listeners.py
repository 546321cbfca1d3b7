"""A server listens where its callers come, and nowhere else."""

from pathlib import Path

import httpx2

from .conftest import Server


def _listening(pid: int) -> set[int]:
    """The TCP ports at which the process listens (proc(5): state 0A)."""
    sockets = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets.add(str(descriptor.readlink()))
        except OSError:
            continue
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def test_the_server_has_one_port_and_its_engines_none(server: Server) -> None:
    body = {"model": "minilm", "input": ["a"]}
    httpx2.post(f"{server.url}/embeddings", json=body, headers={"api-key": server.key}, timeout=60)
    assert _listening(server.pid) == {int(server.url.rpartition(":")[2])}
    engines = server.engines("_process")
    assert engines
    assert all(_listening(pid) == set() for pid in engines)
