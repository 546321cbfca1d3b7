"""Several workers on one socket: they share engines and limits, and come and go unnoticed."""

import concurrent.futures
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from interlingua.cli.main import run

KEY = "test-key"
CONFIG = """
[server]
keys = ["${WORKERS_TEST_KEY}"]
drain_timeout_s = 5
[[deployment]]
name = "echo"
model = "echo"
[[deployment]]
name = "words"
model = "all-minilm-l6-v2"
"""
CHAT = {"messages": [{"role": "user", "content": "one two three"}]}


class Served:
    """A server of two workers in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], url: str, folder: Path) -> None:
        self.process = process
        self.url = url
        self.data_dir = folder / "data"
        self.config = folder / "interlingua.toml"
        self.client = httpx2.Client(base_url=url, headers={"api-key": KEY}, trust_env=False)

    def workers(self) -> set[int]:
        found = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line for line in found.stdout.splitlines() if "server.worker" in line]
        return {int(line.split()[0]) for line in lines}

    def engines(self) -> int:
        found = subprocess.run(
            ["ps", "-o", "args=", "--ppid", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return found.stdout.count("onnx_process")

    def chat(self, **given: object) -> httpx2.Response:
        """Over a connection of its own, so that any worker may get it."""
        headers = {"connection": "close"}
        return self.client.post("/chat/completions", json={**CHAT, **given}, headers=headers)

    def reload(self, *arguments: str) -> int:
        return run(["reload", "--data-dir", str(self.data_dir), *arguments])

    def usage(self) -> int:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "interlingua", "usage", "--by", "", "--json"),
                *("--data-dir", str(self.data_dir)),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)["completed"]


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Served]:
    (folder / "interlingua.toml").write_text(CONFIG)
    data = folder / "data"
    data.mkdir()
    home = os.environ.get("INTERLINGUA_DATA_DIR") or Path.home() / ".local/share/interlingua"
    (data / "models").symlink_to(Path(home) / "models")
    with subprocess.Popen(
        [sys.executable, "-m", "interlingua", "serve", "--port", "0", "--json", "--workers", "2"],
        cwd=folder,
        env={**os.environ, "WORKERS_TEST_KEY": KEY, "INTERLINGUA_DATA_DIR": str(data)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.stderr.read() if process.stderr else ""
            served = Served(process, json.loads(line)["url"], folder)
            yield served
            served.client.close()
        finally:
            process.kill()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("workers")) as served:
        yield served


def test_two_workers_share_one_engine(served: Served) -> None:
    assert len(served.workers()) == 2
    vectors = set()
    for _ in range(12):
        body = {"input": ["a cat"], "model": "words"}
        reply = served.client.post("/embeddings", json=body, headers={"connection": "close"})
        vectors.add(json.dumps(reply.json()["data"][0]["embedding"]))
    assert len(vectors) == 1
    assert served.engines() == 1


def test_the_metrics_are_those_of_all_workers(served: Served) -> None:
    def count() -> float:
        page = served.client.get("/metrics").text
        found = re.search(r'calls_total\{deployment="echo",.*status="200"\} (\S+)', page)
        return float(found[1]) if found else 0.0

    before = count()
    for _ in range(20):
        assert served.chat().status_code == 200
    assert count() == before + 20
    page = served.client.get("/metrics").text
    assert re.search(r'engine_resident_bytes\{deployment="words"\} [1-9]', page)
    assert re.search(r"loop_lag_seconds_count [1-9]", page)


def test_workers_are_replaced_under_load_and_no_call_fails(served: Served) -> None:
    before = served.workers()
    stop = threading.Event()

    def call() -> list[int]:
        """As clients do: over kept connections, and again when one of those has ended."""
        transport = httpx2.HTTPTransport(retries=3)
        statuses = []
        with httpx2.Client(base_url=served.url, headers={"api-key": KEY}, transport=transport) as c:
            while not stop.is_set():
                statuses.append(_with_retry(c))
        return statuses

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(call) for _ in range(4)]
        try:
            for _ in range(2):
                assert served.reload("--workers") == 0
        finally:
            stop.set()
        statuses = [status for done in calls for status in done.result()]
    assert len(statuses) > 100
    assert set(statuses) == {200}
    assert len(served.workers()) == 2
    assert not served.workers() & before


def _with_retry(client: httpx2.Client) -> int:
    """The clients made for this API try a call again whose connection ended before a reply."""
    for _ in range(3):
        with contextlib.suppress(httpx2.RemoteProtocolError, httpx2.ReadError):
            return client.post("/chat/completions", json=CHAT).status_code
    return 0


def test_a_killed_worker_is_replaced(served: Served) -> None:
    killed = min(served.workers())
    os.kill(killed, signal.SIGKILL)
    for _ in range(20):
        assert served.chat().status_code == 200
    # Asked for after the death was noticed, a restart waits until the new worker answers.
    assert served.reload("--workers") == 0
    assert len(served.workers()) == 2


def test_a_config_that_cannot_be_served_changes_nothing(
    served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served.config.write_text(CONFIG + "slots = 'many'\n")
    assert served.reload() == 1
    assert "goes on as before" in capsys.readouterr().err
    assert served.chat(model="echo").status_code == 200
    served.config.write_text(CONFIG.replace('name = "echo"', 'name = "parrot"'))
    assert served.reload() == 0
    assert "parrot, words" in capsys.readouterr().out
    assert served.chat(model="parrot").status_code == 200
    assert served.chat(model="words").status_code == 404
    served.config.write_text(CONFIG)
    assert served.reload() == 0
    assert served.chat(model="parrot").status_code == 400
    assert served.engines() == 1


def test_usage_of_all_workers_is_added_up_and_survives_a_kill(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        for _ in range(30):
            assert served.chat().status_code == 200
        for worker in served.workers():
            os.kill(worker, signal.SIGKILL)
        served.process.kill()
        served.process.wait()
        assert served.usage() == 30


def test_it_ends_well_when_told(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        assert served.chat().status_code == 200
        workers = served.workers()
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(30) == 0
        assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
        assert list((served.data_dir / "run").iterdir()) == []


def test_workers_end_with_their_supervisor(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        body = {"input": ["a"], "model": "words"}
        assert served.client.post("/embeddings", json=body).status_code == 200
        pipes = [os.pidfd_open(worker) for worker in served.workers()]
        served.process.kill()
        import select

        poll = select.poll()
        for pipe in pipes:
            poll.register(pipe, select.POLLIN)
        ended: set[int] = set()
        while len(ended) < len(pipes):
            found = poll.poll(10_000)
            assert found, "a worker outlived its supervisor"
            for pipe, _ in found:
                ended.add(pipe)
                poll.unregister(pipe)
        for pipe in pipes:
            os.close(pipe)


def test_an_engine_that_dies_comes_back_for_every_worker(served: Served) -> None:
    def embed() -> int:
        body = {"input": ["a cat"], "model": "words"}
        reply = served.client.post("/embeddings", json=body, headers={"connection": "close"})
        return reply.status_code

    assert {embed() for _ in range(8)} == {200}
    found = subprocess.run(
        ["pgrep", "-P", str(served.process.pid), "-f", "onnx_process"],
        capture_output=True,
        text=True,
        check=True,
    )
    os.kill(int(found.stdout), signal.SIGKILL)
    assert {embed() for _ in range(8)} <= {200, 503}
    assert {embed() for _ in range(8)} == {200}
    assert served.engines() == 1
