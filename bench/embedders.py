"""The servers of embeddings that are compared, each started as its users start it."""

import base64
import json
import os
import secrets
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from peers import peers
from peers.peers import free_port

from clients import environments

OURS = "Interlingua"
_STARTS_WITHIN_S = 120.0
_CONFIG = """
[server]
port = {port}
keys = ["${{KEY}}"]

[[deployment]]
name = "minilm"
model = "all-minilm-l6-v2"
compute = "managed"

[[deployment]]
name = "efficientnet"
model = "efficientnet-lite0"
compute = "managed"
"""


class Embedder(NamedTuple):
    """One that runs, and how its callers reach it."""

    name: str
    version: str
    port: int
    key: str
    model: str = "minilm"
    #: The first of its processes.
    pid: int = 0

    def request(self, path: str, item: object) -> bytes:
        """A whole request with one input, as it goes over the wire."""
        body = {"model": self.model, "input": [item], "encoding_format": "base64"}
        data = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1",
            "host: 127.0.0.1",
            f"authorization: Bearer {self.key}",
            "content-type: application/json",
            f"content-length: {len(data)}",
        )
        return "\r\n".join([*head, "", ""]).encode() + data

    def vectors(self, path: str, inputs: Sequence[object]) -> list[tuple[float, ...]]:
        """The vectors of the inputs."""
        body = {"model": self.model, "input": inputs, "encoding_format": "base64"}
        call = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            json.dumps(body).encode(),
            {"authorization": f"Bearer {self.key}", "content-type": "application/json"},
        )
        with urllib.request.urlopen(call, timeout=120) as reply:
            return [_numbers(item["embedding"]) for item in json.load(reply)["data"]]


Start = Callable[[Path], Any]


@contextmanager
def interlingua(folder: Path) -> Iterator[Embedder]:
    port, key = free_port(), secrets.token_urlsafe(24)
    file = folder / "interlingua.toml"
    file.write_text(_CONFIG.format(port=port), "utf-8")
    # The models are where `make bench` has pulled them to.
    names = ("PATH", "HOME", "LANG", "XDG_DATA_HOME")
    kept = {each: os.environ[each] for each in names if each in os.environ}
    command = [sys.executable, "-m", "interlingua", "serve", "--no-pull", "--config", str(file)]
    version = environments.version(Path(sys.executable), "interlingua")
    with (
        (folder / "interlingua.log").open("wb") as log,
        subprocess.Popen(command, env={**kept, "KEY": key}, stdout=log, stderr=log) as process,
    ):
        try:
            found = Embedder(OURS, version, port, key, pid=process.pid)
            _wait(found, process)
            yield found
        finally:
            process.terminate()


@contextmanager
def infinity(folder: Path, engine: str) -> Iterator[Embedder]:
    with peers.infinity(folder, engine=engine) as running:
        (deployment,) = running.deployments
        port = int(deployment["base_url"].rpartition(":")[2])
        name = {"optimum": "Infinity, onnxruntime int8", "torch": "Infinity, torch float32"}[engine]
        key, model = deployment["key"], deployment["model"]
        yield Embedder(name, running.version, port, key, model, running.pid)


@contextmanager
def sentence_transformers(folder: Path) -> Iterator[Embedder]:
    interpreter = environments.python("infinity", peers.HERE)
    port = free_port()
    program = Path(__file__).with_name("transformers_host.py")
    command = [str(interpreter), str(program), str(peers.float_minilm(interpreter)), str(port)]
    version = environments.version(interpreter, "sentence-transformers")
    with peers.started(command, folder, f"http://127.0.0.1:{port}/health", peers.OFFLINE) as pid:
        yield Embedder("sentence-transformers", version, port, "none", pid=pid)


def folder_of(folder: Path, name: str) -> Path:
    """A folder of its own for one of them."""
    made = folder / name
    made.mkdir()
    return made


PEERS: Mapping[str, Start] = {
    "infinity-optimum": lambda folder: infinity(folder, "optimum"),
    "infinity-torch": lambda folder: infinity(folder, "torch"),
    "sentence-transformers": sentence_transformers,
}


def _wait(embedder: Embedder, process: subprocess.Popen[bytes]) -> None:
    """Return when it answers, with its model loaded."""
    end = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < end and process.poll() is None:
        with suppress(urllib.error.URLError):
            embedder.vectors("/embeddings", ["a"])
            return
        time.sleep(0.1)
    raise environments.SetupFailed(f"{embedder.name} didn't start")


def _numbers(wire: str | list[float]) -> tuple[float, ...]:
    if isinstance(wire, str):
        packed = base64.b64decode(wire)
        return struct.unpack(f"<{len(packed) // 4}f", packed)
    return tuple(wire)
