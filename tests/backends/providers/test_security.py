"""What a request can never reach, and what a provider can never say."""

import json
import logging

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlingua.backends.providers.failures import Retold
from interlingua.backends.providers.http import create
from interlingua.dialects.azure import AzureDialect
from interlingua.dialects.json_wire import JsonWire
from interlingua.dialects.openai import OpenAIDialect
from interlingua.errors import ApiError, InvalidValue, UnknownParameters
from interlingua.gateway.negotiate import negotiate
from interlingua.http import HttpCall
from interlingua.types.embeddings import EmbeddingsRequest

from ...support import amazon_events as amazon
from ...support import scripted_upstream as wire
from ...support.recorded import recorded
from ...support.scripted_upstream import Request, ScriptedUpstream
from .upstreams import CALL, CANARY, answer, deltas, model_at, opened

TEMPTING = [
    "model", "base_url", "api_base", "api_key", "key", "headers", "extra_headers", "url", "host",
    "path", "query", "api_version", "proxy", "timeout", "user", "user_config", "authorization",
    "Host", "api-key", "extra_body", "stream", "stream_options", "deployment", "a\r\nhost: evil",
    "limit_name", "inputs", "prompts", "extra", "include_usage", "max_completion_tokens",
    "contents", "generationConfig", "system", "tools", "x-api-key", "anthropic-version", "alt",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8)
    | st.sampled_from(["http://evil.example/", "../../x", "a?b#c", "x\r\ny: z", "${HOME}"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(TEMPTING) | st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
FIELDS = st.dictionaries(st.sampled_from(TEMPTING) | st.text(max_size=6), JSON, max_size=6)
_PATHS = {
    "anthropic": "/base/messages",
    "azure": "/base/chat/completions",
    "azure-openai": "/base/openai/deployments/theirs/chat/completions",
    "gemini": "/base/models/theirs:streamGenerateContent",
    "openai": "/base/chat/completions",
    "mistral": "/base/chat/completions",
    "bedrock": "/base/model/theirs/converse-stream",
    "cohere-v2": "/base/chat",
}
#: On wires of another shape.
_REPLIES = {
    "anthropic": recorded("anthropic_stream.sse"),
    "gemini": recorded("gemini_stream.sse"),
    "bedrock": amazon.stream(*amazon.said("Hi")),
    "cohere-v2": wire.events({"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}),
}


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("provider", _PATHS)
def test_no_field_of_a_request_changes_where_it_goes_and_with_what(
    provider: str, pinned: bool
) -> None:
    """At any depth, on either route, under ``pass-through``."""
    path = _PATHS[provider]
    with ScriptedUpstream() as upstream, anyio.from_thread.start_blocking_portal() as portal:
        upstream.on(path, _REPLIES.get(provider, wire.chat_stream("Hi")))
        model = "theirs" if pinned or "theirs" in path else None
        backend = create(model_at(upstream.url + "/base", provider, model=model))

        sent: list[object] = []

        @settings(max_examples=40, deadline=None)
        @given(FIELDS, st.sampled_from([AzureDialect(), OpenAIDialect()]))
        def check(fields: dict[str, object], dialect: JsonWire) -> None:
            body = {**fields, "messages": [{"role": "user", "content": "Hi"}]}
            call = HttpCall(
                path="/chat/completions",
                headers={"extra-parameters": "pass-through"},
                body=json.dumps(body).encode(),
            )
            upstream.requests.clear()
            try:
                request = dialect.read_chat(call)
                request, _ = negotiate(request, backend.capabilities, "pass-through")
                portal.call(answer, backend, request)
            except ApiError:
                # Refused, and then nothing left.
                assert not upstream.requests
                return
            sent.append(request)
            _as_configured(upstream.requests[-1], path, upstream.port)

        check()
        assert sent
        portal.call(backend.close)


def _as_configured(request: Request, path: str, port: int) -> None:
    assert request.method == "POST"
    assert request.target.partition("?")[0] == path
    assert set(request.query.items()) <= {
        ("alt", "sse"),
        ("api-version", "2024-05-01-preview"),
        ("api-version", "2024-10-21"),
    }
    headers = dict(request.headers)
    assert headers.pop("host") == f"127.0.0.1:{port}"
    assert headers.pop("extra-parameters", "pass-through") == "pass-through"
    assert headers.pop("anthropic-version", "2023-06-01") == "2023-06-01"
    keys = ("authorization", "api-key", "x-api-key", "x-goog-api-key")
    credentials = {headers.pop(name, None) for name in keys} - {None}
    assert credentials <= {CANARY, f"Bearer {CANARY}"}
    assert set(headers) == {
        "accept", "accept-encoding", "content-length", "content-type", "user-agent",
    }  # fmt: skip


# -- The credential -------------------------------------------------------------------------

ECHOES = [
    f"Your key {CANARY} is bad",
    f"Bearer {CANARY}",
    f"{CANARY[:12]}...{CANARY[-8:]}",
    f"{'x' * 3990}{CANARY}",
    f'{{"detail": [{{"type": "extra_forbidden", "loc": ["body", "{CANARY}"], "input": 1}}]}}',
]


def _echoed(text: str) -> list[wire.Reply]:
    """The same words wherever a provider can put them."""
    errors: list[object] = [
        {"error": {"message": text, "code": text, "param": text}},
        {"error": {"message": text, "code": "Invalid input", "status": 422}},
        {"error": {"code": "extra_parameters", "message": text,
                   "details": [{"loc": ["body", text], "input": {"authorization": text}}]}},
        {"detail": [{"loc": ["header", "api-key"], "msg": text, "input": text}]},
        {"detail": [{"loc": ["body", text, 0], "msg": text, "input": [text]}]},
        {"error": text},
        text,
    ]  # fmt: skip
    replies = [
        wire.json_reply(error, status)
        for error in errors
        for status in (200, 400, 401, 404, 422, 429, 500, 503)
    ]
    streamed = [wire.events(wire.chat_chunk({"content": "Hi"}), error) for error in errors]
    return [*replies, *streamed, wire.events(text), wire.html(500, text)]


@pytest.mark.anyio
@pytest.mark.parametrize("text", ECHOES)
async def test_the_credential_is_in_no_error_log_or_reply(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    replies = _echoed(text)
    with ScriptedUpstream() as upstream:
        upstream.on("/chat/completions", *replies)
        async with opened(upstream.url, "azure") as provider:
            for _ in replies:
                with pytest.raises(ApiError) as caught:
                    await deltas(provider)
                error = caught.value
                said = [
                    str(error), repr(error), repr(error.location), repr(error.value),
                    repr(AzureDialect().write_error(error)),
                    OpenAIDialect().write_error(error).body.decode(),
                    AzureDialect().write_stream_error(error).decode(),
                ]  # fmt: skip
                for each in said:
                    assert CANARY[:12] not in each
                    assert CANARY[-8:] not in each
                    assert len(each) < 20_000
    assert CANARY not in caplog.text
    assert CANARY not in repr(provider)


@pytest.mark.anyio
async def test_embeddings_do_not_tell_the_credential_either() -> None:
    with ScriptedUpstream() as upstream:
        upstream.on("/embeddings", wire.error(400, None, f"Got {CANARY}"))
        async with opened(upstream.url, type="embedding") as provider:
            with pytest.raises(ApiError) as caught:
                await provider.embed(EmbeddingsRequest(inputs=("a",)), CALL)
    assert caught.value.message == "Got [key]"


def test_short_and_missing_keys_hide_what_they_can() -> None:
    assert Retold(("abc",), pinned=True).tell(InvalidValue("abc def")).message == "[key] def"
    assert Retold((), pinned=True).tell(InvalidValue("sk-abcdef12 x")).message == "[key] x"
    names = Retold(("hunter2hunter2hunter2",), pinned=False).tell(
        UnknownParameters(("hunter2hunter2hunter2", "foo"))
    )
    assert isinstance(names, UnknownParameters)
    assert names.names == ("[key]", "foo")


@pytest.mark.anyio
async def test_a_redirect_is_not_followed_with_the_credential() -> None:
    with ScriptedUpstream() as other, ScriptedUpstream() as upstream:
        other.on("/chat/completions", wire.chat_stream("Caught"))
        for status in (301, 302, 307, 308):
            upstream.on(
                "/chat/completions",
                wire.Reply(status=status, headers={"location": f"{other.url}/chat/completions"}),
            )
            async with opened(upstream.url) as provider:
                with pytest.raises(ApiError, match="redirect"):
                    await deltas(provider)
    assert other.requests == []
