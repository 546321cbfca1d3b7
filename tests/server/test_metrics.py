"""What /metrics says after calls of every kind, and to whom."""

import asyncio
import time

import httpx2
import pytest

from interlingua.backends.echo import EchoBackend
from interlingua.gateway.deployments import Limits
from interlingua.telemetry import Telemetry

from .service import CHAT, Caller, app_of, client_of, error_of, failing, hanging

pytestmark = pytest.mark.anyio


class Resident(EchoBackend):
    """Has a process of its own, of which only the size is asked."""

    @property
    def process(self) -> "Resident":
        return self

    def rss_bytes(self) -> int | None:
        return 12_345_678


async def page(client: httpx2.AsyncClient) -> dict[str, float]:
    """The samples by their name with its labels."""
    response = await client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    lines = [line for line in response.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def calls(samples: dict[str, float]) -> dict[str, float]:
    return {name: n for name, n in samples.items() if name.startswith("interlingua_calls_total")}


async def test_without_a_key_there_are_no_metrics() -> None:
    async with client_of(app_of(EchoBackend()), key=None) as client:
        response = await client.get("/metrics")
    assert response.status_code == 401
    assert str(error_of(response)["message"]).startswith("Auth token validation failed")


async def test_a_call_is_counted_with_its_time_and_tokens() -> None:
    async with client_of(app_of(EchoBackend())) as client:
        await client.post("/chat/completions", json=CHAT)
        await client.post("/chat/completions", json={**CHAT, "stream": True})
        await client.post("/v1/embeddings", json={"input": ["a b"]})
        await client.get("/info")
        samples = await page(client)
    chat = 'operation="chat_completions"'
    assert calls(samples) == {
        f'interlingua_calls_total{{deployment="echo",{chat},status="200"}}': 2,
        'interlingua_calls_total{deployment="echo",operation="embeddings",status="200"}': 1,
        'interlingua_calls_total{deployment="echo",operation="info",status="200"}': 1,
    }
    labels = f'{{deployment="echo",{chat}}}'
    assert samples[f"interlingua_call_seconds_count{labels}"] == 2
    assert 0 < samples[f"interlingua_call_seconds_sum{labels}"] < 10
    assert samples[f"interlingua_first_token_seconds_count{labels}"] == 1, "streams have one"
    assert not [n for n in samples if "first_token" in n and "embeddings" in n]
    tokens = 'interlingua_tokens_total{deployment="echo",kind='
    assert samples[f'{tokens}"prompt"}}'] == 3 + 3 + 2
    assert samples[f'{tokens}"completion"}}'] == 3 + 3
    assert not [n for n in samples if n.split("{")[0].endswith("_created")]


async def test_a_refused_call_is_counted_with_its_status_and_deployment() -> None:
    async with client_of(app_of(EchoBackend())) as client:
        tools = [{"type": "function", "function": {"name": "f"}}]
        await client.post("/chat/completions", json={**CHAT, "tools": tools})
        await client.post("/chat/completions", json={**CHAT, "temperature": 9})
        await client.post("/chat/completions", json={**CHAT, "foo": 1})
        await client.post("/chat/completions", content=b"{")
        counted = calls(await page(client))
    by_status: dict[str, float] = {}
    for name, number in counted.items():
        status = name.split('status="')[1][:3]
        by_status[status] = by_status.get(status, 0) + number
    assert by_status == {"400": 2, "422": 2}
    assert any('deployment="echo"' in name for name in counted)


async def test_what_callers_send_is_never_a_label() -> None:
    async with client_of(app_of(EchoBackend())) as client:
        for path in ("/chat/completions", "/endpoints/needle/chat/completions", "/needle"):
            await client.post(path, json={**CHAT, "model": "needle"})
        await client.post("/openai/deployments/needle/chat/completions", json=CHAT)
        header = {"azureml-model-deployment": "needle", "api-key": "needle"}
        await client.post("/chat/completions", json=CHAT, headers=header)
        text = (await client.get("/metrics")).text
        counted = calls(await page(client))
    assert "needle" not in text
    assert "test-key" not in text
    assert "one two" not in text
    assert all('deployment=""' in name for name in counted)
    assert sum(counted.values()) == 4


async def test_a_call_without_a_key_is_counted_too() -> None:
    app = app_of(EchoBackend())
    async with client_of(app, key=None) as stranger:
        await stranger.post("/chat/completions", json=CHAT)
    async with client_of(app) as client:
        (name,) = calls(await page(client))
    assert 'status="401"' in name


async def test_a_stream_that_breaks_is_counted_as_its_failure() -> None:
    app = app_of(failing())
    caller = Caller(
        "/chat/completions", b'{"messages":[{"role":"user","content":"x"}],"stream":true}'
    )
    with pytest.raises(ConnectionAbortedError):
        await caller.call(app)
    async with client_of(app) as client:
        samples = await page(client)
    (name,) = calls(samples)
    assert 'deployment="failing"' in name
    assert 'status="503"' in name
    assert not [n for n in samples if n.startswith("interlingua_tokens_total")]


async def test_calls_under_way_and_clients_that_leave_are_seen() -> None:
    backend = hanging(words=1)
    app = app_of(backend, EchoBackend())
    caller = Caller(
        "/chat/completions", b'{"messages":[{"role":"user","content":"x"}],"stream":true}'
    )
    call = asyncio.create_task(caller.call(app))
    await backend.started.wait()
    async with client_of(app) as client:
        during = await page(client)
        caller.leave()
        await call
        after = await page(client)
    gauge = "interlingua_calls_under_way"
    assert during[f'{gauge}{{deployment="hanging"}}'] == 1
    assert during[f'{gauge}{{deployment="echo"}}'] == 0
    assert after[f'{gauge}{{deployment="hanging"}}'] == 0
    (name,) = calls(after)
    assert 'status="499"' in name


async def test_each_deployment_is_in_one_state() -> None:
    app = app_of(EchoBackend(), limits=Limits(compute="managed"))
    async with client_of(app) as client:
        for state in ("cold", "ready"):
            samples = await page(client)
            states = {n: v for n, v in samples.items() if "_deployment_state" in n}
            assert sum(states.values()) == 1
            assert len(states) == 4
            label = f'{{deployment="echo",state="{state}"}}'
            assert states[f"interlingua_deployment_state{label}"] == 1
            await app.gateway.deployments[0].open()


async def test_an_engines_memory_is_shown_where_it_has_a_process() -> None:
    async with client_of(app_of(Resident(), failing())) as client:
        samples = await page(client)
    memory = {n: v for n, v in samples.items() if "resident" in n}
    assert memory == {'interlingua_engine_resident_bytes{deployment="echo"}': 12_345_678}


async def test_two_servers_in_one_process_count_apart() -> None:
    async with client_of(app_of(EchoBackend())) as one, client_of(app_of(EchoBackend())) as other:
        await one.post("/chat/completions", json=CHAT)
        assert len(calls(await page(one))) == 1
        assert calls(await page(other)) == {}


async def test_a_loop_that_was_held_up_shows() -> None:
    telemetry = Telemetry(list)
    with telemetry.watching_loop():
        time.sleep(0.3)  # noqa: ASYNC251 - what is to be seen
        for _ in range(3):
            await asyncio.sleep(0)
    page = telemetry.text()
    assert b'interlingua_loop_lag_seconds_bucket{le="0.1"} 0.0\n' in page
    assert b"interlingua_loop_lag_seconds_count 1.0\n" in page
