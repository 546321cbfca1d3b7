"""Limits as callers meet them: one process and several, real sockets, real clients."""

import concurrent.futures
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx2
import openai
import pytest

from interlingua.backends.base import Backend
from interlingua.backends.echo import EchoBackend
from interlingua.cli.main import run
from interlingua.config.schema import Config, KeyConfig
from interlingua.gateway.allowance import of_deployment, of_key
from interlingua.gateway.deployments import Deployment
from interlingua.gateway.gateway import Gateway
from interlingua.gateway.limits import Clock, Limit, Now, OwnShares, clock
from interlingua.server.app import App

from .service import CHAT, KEY, Caller, client_of, error_of, failing, hanging

CONFIG = """
[server]
keys = ["${LIMITS_TEST_KEY}"]
[[key]]
name = "burst"
key = "${LIMITS_TEST_KEY}-burst"
requests_per_minute = 50
[[key]]
name = "budget"
key = "${LIMITS_TEST_KEY}-budget"
tokens_per_day = 100
[[key]]
name = "few"
key = "${LIMITS_TEST_KEY}-few"
requests_per_minute = 2
tokens_per_minute = 10000
[[deployment]]
name = "echo"
model = "echo"
[[deployment]]
name = "small"
model = "echo"
requests_per_minute = 3
[[deployment]]
name = "behind"
model = "echo"
requests_per_minute = 2
fallback = ["echo"]
"""
NAMES = ("burst", "budget", "few")
BODY = {**CHAT, "model": "echo", "max_tokens": 10}


class Served:
    """A server in processes of its own."""

    def __init__(self, url: str, data_dir: Path, config: Path) -> None:
        self.url = url
        self.client = httpx2.Client(base_url=url, trust_env=False)
        self.data_dir = data_dir
        self.config = config

    def chat(self, name: str = "", **given: object) -> httpx2.Response:
        """Over a connection of its own, so that any worker may get it."""
        headers = {"api-key": f"{KEY}-{name}" if name else KEY, "connection": "close"}
        return self.client.post("/chat/completions", json={**BODY, **given}, headers=headers)


@contextlib.contextmanager
def serving(folder: Path, workers: int) -> Iterator[Served]:
    config = folder / "interlingua.toml"
    text = CONFIG
    secrets = {"LIMITS_TEST_KEY": KEY}
    for name in NAMES:
        text = text.replace(f"${{LIMITS_TEST_KEY}}-{name}", f"${{LIMITS_TEST_{name.upper()}}}")
        secrets[f"LIMITS_TEST_{name.upper()}"] = f"{KEY}-{name}"
    config.write_text(text)
    data = folder / "data"
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "interlingua", "serve", "--port", "0", "--json"),
            *("--workers", str(workers)),
        ],
        cwd=folder,
        env={**os.environ, **secrets, "INTERLINGUA_DATA_DIR": str(data)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            served = Served(json.loads(process.stdout.readline())["url"], data, config)
            with served.client:
                yield served
        finally:
            process.terminate()


@pytest.fixture(scope="module", params=[1, 2])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("limits"), request.param) as served:
        yield served


def test_of_200_calls_at_once_as_many_get_in_as_may(served: Served) -> None:
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: served.chat("burst"), range(200)))
    flowed_in = (time.monotonic() - began) * 50 / 60
    count = Counter(reply.status_code for reply in replies)
    assert set(count) == {200, 429}
    assert 50 <= count[200] <= 50 + flowed_in
    for reply in replies:
        assert reply.headers["x-ratelimit-limit-requests"] == "50"
        assert 0 <= int(reply.headers["x-ratelimit-remaining-requests"]) < 50
        assert "x-ratelimit-limit-tokens" not in reply.headers
        if reply.status_code == 429:
            assert int(reply.headers["retry-after"]) >= 1
            assert error_of(reply)["code"] == "too_many_requests"
        else:
            assert "retry-after" not in reply.headers


def test_openais_client_sees_the_limit_and_when_to_come_back(served: Served) -> None:
    client = openai.OpenAI(base_url=f"{served.url}/v1", api_key=f"{KEY}-few", max_retries=0)
    with client, contextlib.ExitStack() as refused:
        raised = refused.enter_context(pytest.raises(openai.RateLimitError))
        for _ in range(3):
            client.chat.completions.create(
                model="echo", messages=[{"role": "user", "content": "hello"}], max_tokens=5
            )
    headers = raised.value.response.headers
    assert 1 <= int(headers["retry-after"]) <= 30
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-limit-tokens"] == "10000"
    assert headers["x-ratelimit-reset-requests"]


def tokens_until_refused(served: Served) -> int:
    """What a key with a budget gets before it has nothing left."""
    used = 0
    for _ in range(40):
        reply = served.chat("budget")
        if reply.status_code == 429:
            assert "100 tokens a day" in str(error_of(reply)["message"])
            return used
        used += reply.json()["usage"]["total_tokens"]
    pytest.fail("the budget has no end")


def test_a_budget_ends_for_the_day_and_reload_keeps_what_was_used(served: Served) -> None:
    used = tokens_until_refused(served)
    assert used >= 60
    assert run(["reload", "--data-dir", str(served.data_dir)]) == 0
    # What was reserved and not used may let another call in.
    used += tokens_until_refused(served)
    assert used <= 140
    text = served.config.read_text()
    served.config.write_text(text.replace("tokens_per_day = 100", "tokens_per_day = 100000"))
    assert run(["reload", "--data-dir", str(served.data_dir)]) == 0
    reply = served.chat("budget")
    assert reply.status_code == 200
    assert int(reply.headers["x-ratelimit-remaining-tokens"]) < 100_000


def test_deployments_have_limits_whoever_calls_and_stand_ins_answer_then(served: Served) -> None:
    replies = [served.chat(model="small") for _ in range(6)]
    assert Counter(reply.status_code for reply in replies) == {200: 3, 429: 3}
    assert "x-ratelimit-limit-requests" not in replies[0].headers
    assert int(replies[-1].headers["retry-after"]) in range(1, 21)
    replies = [served.chat(model="behind") for _ in range(5)]
    answered = Counter(reply.headers["azureml-model-deployment"] for reply in replies)
    assert answered == {"behind": 2, "echo": 3}
    page = httpx2.get(f"{served.url}/metrics", headers={"api-key": KEY}, trust_env=False).text
    assert 'interlingua_limited_total{deployment="small"} 3.0' in page
    assert 'interlingua_limited_total{deployment="behind"} 3.0' in page


def test_usage_is_on_record_under_the_keys_names_and_counts_after_a_restart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path, 1) as served:
        reply = served.chat("budget")
        left = int(reply.headers["x-ratelimit-remaining-tokens"])
        assert left == 100 - reply.json()["usage"]["total_tokens"]
    capsys.readouterr()
    run(["usage", "--by", "key", "--json", "--data-dir", str(served.data_dir)])
    assert '"budget"' in capsys.readouterr().out
    with serving(tmp_path, 1) as served:
        reply = served.chat("budget", messages=[])
        assert reply.status_code >= 400
        assert reply.headers["x-ratelimit-remaining-tokens"] == str(left)


LIMIT = Limit(requests_per_minute=5, tokens_per_minute=1000)


class Limited:
    """An app in this process, one key of which has limits."""

    def __init__(self, *backends: Backend, limit: Limit = LIMIT, now: Clock = clock) -> None:
        self.names = (of_key("team"), of_deployment(backends[0].info.model_name))
        self.shares = OwnShares(dict.fromkeys(self.names, limit), {}, now)
        deployments = [Deployment(name=b.info.model_name, backend=b) for b in backends]
        config = Config(key=(KeyConfig(name="team", key=KEY),))
        self.app = App(Gateway(deployments), config, [KEY], shares=self.shares)

    def left(self) -> set[tuple[int, int]]:
        lefts = [self.shares.left(name) for name in self.names]
        return {(x.requests.left, x.tokens.left) for x in lefts if x.requests and x.tokens}


def test_exactly_as_many_get_in_as_may_while_no_time_passes() -> None:
    backend = EchoBackend()
    limited = Limited(backend, limit=Limit(requests_per_minute=50), now=lambda: Now(1.0, 1.0))
    statuses: Counter[int] = Counter()

    async def call(client: httpx2.AsyncClient) -> None:
        statuses[(await client.post("/chat/completions", json=CHAT)).status_code] += 1

    async def calls() -> None:
        async with client_of(limited.app) as client, anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(call, client)

    anyio.run(calls)
    assert statuses == {200: 50, 429: 150}


STREAM = b'{"messages":[{"role":"user","content":"x"}],"max_tokens":600,"stream":true}'


def test_a_client_that_leaves_gets_its_tokens_back() -> None:
    backend = hanging(words=1)
    limited = Limited(backend)

    async def call() -> None:
        caller = Caller("/chat/completions", STREAM)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller.call, limited.app)
            await backend.started.wait()
            assert limited.left() == {(4, 399)}
            caller.leave()

    anyio.run(call)
    assert limited.left() == {(4, 1000)}


def test_a_stream_that_breaks_gives_its_tokens_back() -> None:
    limited = Limited(failing())

    async def call() -> None:
        with pytest.raises(ConnectionAbortedError):
            await Caller("/chat/completions", STREAM).call(limited.app)

    anyio.run(call)
    assert limited.left() == {(4, 1000)}


def test_what_is_refused_for_another_reason_takes_nothing_and_tells_what_is_left() -> None:
    limited = Limited(failing())

    async def call() -> httpx2.Response:
        async with client_of(limited.app) as client:
            bad = await client.post("/chat/completions", json={**CHAT, "temperature": "hot"})
            assert bad.status_code == 422
            assert bad.headers["x-ratelimit-remaining-requests"] == "5"
            none = await client.post("/embeddings", json={"input": ["a"]})
            assert none.status_code == 404
            return none

    reply = anyio.run(call)
    assert reply.headers["x-ratelimit-remaining-tokens"] == "1000"
    assert "retry-after" not in reply.headers
    assert limited.left() == {(5, 1000)}
