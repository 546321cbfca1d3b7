"""What a call used is on record before the last byte of its reply leaves."""

from pathlib import Path

import anyio
import httpx2
import pytest

from interlingua.backends.base import Backend
from interlingua.backends.echo import EchoBackend
from interlingua.config.schema import Config, ServerConfig
from interlingua.gateway.deployments import Deployment
from interlingua.gateway.gateway import Gateway
from interlingua.server.app import App
from interlingua.server.metering import recording
from interlingua.storage.ledger import Ledger, UsageRow
from interlingua.storage.spool import Spool
from interlingua.telemetry import Telemetry

from .service import CHAT, KEY, Caller, client_of, failing, hanging, served


class Kept:
    """An app whose usage is kept, and what is on record now."""

    def __init__(self, directory: Path, *backends: Backend) -> None:
        self._directory = directory
        spool = Spool(directory)
        deployments = [Deployment(name=b.info.model_name, backend=b) for b in backends]
        config = Config(server=ServerConfig())
        meter = recording(Telemetry(list), spool)
        self.app = App(Gateway(deployments), config, [KEY], meter=meter)
        self.close = spool.close

    def rows(self) -> list[UsageRow]:
        return _rows(self._directory)

    def row(self) -> UsageRow:
        (row,) = self.rows()
        return row


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "usage"


@pytest.mark.parametrize("stream", [False, True])
def test_a_whole_answer_is_on_record_when_its_end_arrives(directory: Path, stream: bool) -> None:
    kept = Kept(directory, EchoBackend())
    with served(kept.app) as url, httpx2.Client(headers={"api-key": KEY}) as client:
        for count in range(1, 4):
            body = {**CHAT, "stream": stream}
            reply = client.post(f"{url}/chat/completions", json=body)
            assert reply.status_code == 200
            row = kept.row()
            assert (row.calls, row.completed) == (count, count)
            assert (row.prompt_tokens, row.completion_tokens) == (3 * count, 3 * count)
    kept.close()
    row = kept.row()
    assert row.group["operation"] == "chat_completions"
    assert row.group["deployment"] == "echo"
    assert row.group["key"].startswith("key-")
    assert KEY not in row.group["key"]


async def _post(app: App, path: str, body: object, *, key: str = KEY) -> int:
    async with client_of(app, key) as client:
        return (await client.post(path, json=body)).status_code


def test_a_refusal_is_on_record_as_an_error(directory: Path) -> None:
    kept = Kept(directory, EchoBackend())
    assert anyio.run(_post, kept.app, "/chat/completions", {"messages": []}) >= 400
    row = kept.row()
    assert (row.calls, row.errors, row.prompt_tokens) == (1, 1, 0)
    kept.close()


def test_a_stream_that_breaks_is_no_success(directory: Path) -> None:
    kept = Kept(directory, failing())

    async def call() -> None:
        caller = Caller(
            "/chat/completions", b'{"messages":[{"role":"user","content":"x"}],"stream":true}'
        )
        with pytest.raises(ConnectionAbortedError):
            await caller.call(kept.app)

    anyio.run(call)
    row = kept.row()
    assert (row.completed, row.errors) == (0, 1)
    kept.close()


def test_a_client_that_leaves_is_on_record_as_cancelled(directory: Path) -> None:
    backend = hanging(words=1)
    kept = Kept(directory, backend)

    async def call() -> None:
        caller = Caller(
            "/chat/completions", b'{"messages":[{"role":"user","content":"x"}],"stream":true}'
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller.call, kept.app)
            await backend.started.wait()
            caller.leave()

    anyio.run(call)
    row = kept.row()
    assert (row.calls, row.cancelled) == (1, 1)
    kept.close()


def test_every_call_has_the_id_of_its_reply(directory: Path) -> None:
    kept = Kept(directory, EchoBackend())
    ids = set()
    with served(kept.app) as url, httpx2.Client(headers={"api-key": KEY}) as client:
        for path, body in (
            ("/embeddings", {"input": ["a"]}),
            ("/completions", {"prompt": "a"}),
            ("/chat/completions", CHAT),
            ("/chat/completions", {"messages": 1}),
        ):
            ids.add(client.post(url + path, json=body).headers["x-request-id"])
    lines = b"".join(file.read_bytes() for file in directory.iterdir())
    assert all(call_id.encode() in lines for call_id in ids)
    assert lines.count(b"\n") == len(ids)
    kept.close()


def test_calls_are_refused_while_a_usage_that_is_required_cannot_be_put_down(
    directory: Path,
) -> None:
    now = 100.0
    spool = Spool(directory, now=lambda: now)
    directory.write_text("in the way")
    required = Config(server=ServerConfig(usage_required=True))
    meter = recording(Telemetry(list), spool)
    gateway = Gateway([Deployment(name="echo", backend=EchoBackend())])
    app = App(gateway, required, [KEY], meter=meter, records=spool)
    with served(app) as url, httpx2.Client(base_url=url, headers={"api-key": KEY}) as client:
        # Who finds out is answered: it was not known before.
        assert client.post("/chat/completions", json=CHAT).status_code == 200
        refused = client.post("/chat/completions", json=CHAT)
        assert refused.status_code == 503
        assert "Usage can't be put down" in refused.json()["error"]["message"]
        assert refused.headers["retry-after"] == "1"
        assert "interlingua_usage_waiting 2.0" in client.get("/metrics").text
        directory.unlink()
        now += 1.0
        assert client.post("/chat/completions", json=CHAT).status_code == 200
        assert "interlingua_usage_waiting 0.0" in client.get("/metrics").text
    spool.close()
    rows = _rows(directory)
    assert sorted((row.calls, row.errors) for row in rows) == [(1, 1), (2, 0)]


def test_calls_are_answered_while_usage_cannot_be_put_down(directory: Path) -> None:
    directory.write_text("in the way")
    kept = Kept(directory, EchoBackend())
    with served(kept.app) as url, httpx2.Client(headers={"api-key": KEY}) as client:
        for _ in range(3):
            assert client.post(f"{url}/chat/completions", json=CHAT).status_code == 200
    directory.unlink()
    kept.close()
    assert kept.row().calls == 3


def _rows(directory: Path) -> list[UsageRow]:
    ledger = Ledger(directory.with_suffix(".db"))
    ledger.collect(directory)
    rows = ledger.rows(["operation", "deployment", "key"])
    ledger.close()
    return rows
