"""The server of the long runs, as a process of its own with an upstream behind it."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

KEY = "a-key-for-the-long-runs"
#: The longest silence of the upstream: what stalls is given up so soon.
SILENCE_S = 1.0
CONFIG = """
[server]
keys = ["${INTERLINGUA_SOAK_KEY}"]
drain_timeout_s = 20
"""
#: Three deployments of one upstream: faults of one are not the others'.
DEPLOYMENT = """
[[deployment]]
name = "{name}"
type = "{type}"
provider = "openai"
base_url = "http://127.0.0.1:{port}/v1"
model = "m"
key = "${{INTERLINGUA_SOAK_KEY}}"
timeout_s = {silence_s}
slots = {slots}
"""
NAMES = {"sound": "chat-completion", "faulty": "chat-completion", "vectors": "embedding"}


class Used(NamedTuple):
    """A row of the ledger."""

    id: str
    status: int
    prompt_tokens: int
    completion_tokens: int


class Service:
    """A server that runs, or has run; its files outlive it."""

    def __init__(self, folder: Path, upstream: int, *, workers: int, slots: int = 256) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.config = folder / "interlingua.toml"
        self.workers_count = workers
        self.write_config(upstream, slots=slots)
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    def write_config(self, upstream: int, *, slots: int = 256, more: str = "") -> None:
        """Write the config anew, at once."""
        parts = [
            DEPLOYMENT.format(name=name, type=kind, port=upstream, silence_s=SILENCE_S, slots=slots)
            for name, kind in NAMES.items()
        ]
        draft = self.config.with_suffix(".new")
        draft.write_text("".join([CONFIG, *parts, more]))
        draft.replace(self.config)

    def start(self, within: Sequence[str] = ()) -> None:
        """Start it at the port it had, if it had one; ``within``: a command that runs it."""
        log = (self.folder / "server.log").open("a")
        self.process = subprocess.Popen(
            [
                *within, sys.executable, "-m", "interlingua", "serve", "--json",
                "--config", str(self.config), "--port", str(self.port),
                "--workers", str(self.workers_count),
            ],
            env={
                **os.environ,
                "INTERLINGUA_SOAK_KEY": KEY,
                "INTERLINGUA_DATA_DIR": str(self.data),
            },
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server didn't start: {self.log()[-2000:]}")
        self.port = int(json.loads(line)["url"].rpartition(":")[2])

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def stop(self, within_s: float = 60.0) -> int:
        """End it as its operator does; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within_s)

    def kill(self) -> None:
        assert self.process is not None
        for pid in (self.pid, *self.workers()):
            os.kill(pid, signal.SIGKILL)
        self.process.wait(10)

    def workers(self) -> list[int]:
        """The processes that answer, oldest first; of one worker the server itself."""
        if self.workers_count == 1:
            return [self.pid]
        found = []
        for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            try:
                if b"server.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
            except OSError:
                continue
        return found

    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def used(self) -> list[Used]:
        """The ledger; whole once the server has ended or ``interlingua usage`` has run."""
        subprocess.run(
            [sys.executable, "-m", "interlingua", "usage", "--data-dir", str(self.data)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (file,) = self.data.glob("**/*.db")
        database = sqlite3.connect(file)
        try:
            query = "SELECT id, status, prompt_tokens, completion_tokens FROM usage"
            return [Used(*row) for row in database.execute(query)]
        finally:
            database.close()

    def complaints(self) -> list[str]:
        """What its log must not hold."""
        return re.findall(
            r"^(?:Traceback.*|.*Task exception was never.*)$", self.log(), re.MULTILINE
        )


class Upstream:
    """The upstream's process, for those who ask it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self.port = int(process.stdout.readline())

    def told(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/told", timeout=30) as reply:
            found: dict[str, Any] = json.load(reply)
            return found


@contextmanager
def upstream() -> Iterator[Upstream]:
    with subprocess.Popen(
        [sys.executable, "-m", "soak.upstream"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Upstream(process)
        finally:
            process.kill()


@contextmanager
def serving(
    folder: Path, upstream_port: int, *, workers: int = 2, slots: int = 256
) -> Iterator[Service]:
    """A server that is running; whoever wants its ledger whole stops it."""
    folder.mkdir(parents=True)
    service = Service(folder, upstream_port, workers=workers, slots=slots)
    service.start()
    try:
        yield service
    finally:
        if service.process is not None and service.process.poll() is None:
            service.process.kill()
            service.process.wait()
