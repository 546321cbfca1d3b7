"""What callers get where a provider does something unusual: whole, and as a stream."""

from collections.abc import Iterator

import httpx2
import msgspec
import pytest

from interlingua.config.schema import Config
from interlingua.conformance.calls import Got
from interlingua.conformance.shapes import Chat, Chunk, ErrorBody, ToolCall, events, fold
from interlingua.gateway.circuit import Circuit
from interlingua.gateway.deployments import Deployment
from interlingua.server.app import App
from interlingua.server.build import build, plan

from ..server.service import KEY, served
from ..support.scripted_upstream import ScriptedUpstream
from .quirks import QUIRKS, Quirk

_VERSION = "?api-version=2025-05-01"
_ASK = {"messages": [{"role": "user", "content": "Hi"}]}


class Stand(msgspec.Struct, frozen=True):
    http: httpx2.Client
    upstream: ScriptedUpstream
    deployment: Deployment

    def call(self, **fields: object) -> Got:
        """The reply to a chat. A stream that breaks raises.

        What failed before is forgotten: the deployment would rest from so many failures.
        """
        self.deployment.circuit = Circuit(self.deployment.name)
        reply = self.http.post("/chat/completions" + _VERSION, json={**_ASK, **fields})
        headers = {name.lower(): value for name, value in reply.headers.items()}
        return Got(status=reply.status_code, headers=headers, body=reply.content)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with ScriptedUpstream() as upstream:
        deployment = {
            "name": "odd",
            "provider": "openai",
            "base_url": upstream.url,
            "model": "theirs",
            "key": "cnry-quirks-91d2",
            "timeout_s": 5.0,
        }
        config = msgspec.convert({"deployment": [deployment]}, Config)
        gateway = build(plan(config, tmp_path_factory.mktemp("quirks")), config).gateway
        app = App(gateway, config, [KEY])
        with served(app) as url, httpx2.Client(base_url=url, headers={"api-key": KEY}) as http:
            yield Stand(http, upstream, gateway.deployments[0])


def _ids(quirk: Quirk) -> str:
    return quirk.name


@pytest.mark.parametrize("quirk", [q for q in QUIRKS if q.text is not None], ids=_ids)
def test_an_odd_answer_is_an_answer(stand: Stand, quirk: Quirk) -> None:
    stand.upstream.on("/chat/completions", quirk.reply)
    whole = stand.call().read(Chat)
    said = whole.said
    assert (said.content or "") == quirk.text
    assert (said.reasoning_content or "") == quirk.reasoning
    assert whole.choices[0].finish_reason == quirk.finish
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == quirk.counted
    _check_calls(said.tool_calls or (), quirk)
    reply = stand.call(stream=True)
    chunks = [msgspec.json.decode(data, type=Chunk) for data in events(reply.body)]
    folded = fold(chunks)
    assert (folded.text, folded.reasoning) == (quirk.text, quirk.reasoning)
    assert folded.finish_reason == quirk.finish
    counted = chunks[-1].usage
    if counted is not None:
        assert (counted.prompt_tokens, counted.completion_tokens) == quirk.counted
    else:
        assert quirk.counted == (0, 0)
    _check_calls(folded.calls, quirk)


def _check_calls(calls: tuple[ToolCall, ...], quirk: Quirk) -> None:
    assert len(calls) == quirk.calls
    assert len({call.id for call in calls}) == quirk.calls
    for call in calls:
        assert call.function.name == "get_weather"
        assert msgspec.json.decode(call.function.arguments) == {"unit": "c"}


@pytest.mark.parametrize("quirk", [q for q in QUIRKS if q.text is None], ids=_ids)
def test_an_odd_failure_is_a_failure(stand: Stand, quirk: Quirk) -> None:
    stand.upstream.on("/chat/completions", quirk.reply)
    _check_failure(stand.call(), quirk)
    if quirk.breaks:
        with pytest.raises(httpx2.RemoteProtocolError):
            stand.call(stream=True)
    else:
        _check_failure(stand.call(stream=True), quirk)


def _check_failure(got: Got, quirk: Quirk) -> None:
    assert got.status == quirk.status, got.told
    error = msgspec.json.decode(got.body, type=ErrorBody)
    assert error.names(quirk.says), got.told
    assert got.headers.get("retry-after") == quirk.retry_after
    assert "cnry" not in got.body.decode()
    assert "<" not in error.error.message


def test_every_quirk_says_who_tells_of_it() -> None:
    assert [quirk.name for quirk in QUIRKS if not quirk.source] == []
    assert len({quirk.name for quirk in QUIRKS}) == len(QUIRKS)
