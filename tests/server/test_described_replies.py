"""What the server writes is what the OpenAPI document says, down to what models seldom say."""

import json
from collections.abc import Iterator

import jsonschema_rs
import pytest

from interlingua import errors, headers
from interlingua.backends.echo import EchoBackend
from interlingua.dialects.azure import AzureDialect
from interlingua.dialects.base import Reply, ServerDialect
from interlingua.dialects.error_wire import (
    write_azure_error,
    write_azure_event,
    write_openai_error,
    write_openai_event,
)
from interlingua.dialects.openai import OpenAIDialect
from interlingua.errors import ApiError
from interlingua.gateway.limits import Limit
from interlingua.server.pages import openapi
from interlingua.types.chat import (
    ChatChoice,
    ChatCompletion,
    ChatDelta,
    ChatRequest,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    UserMessage,
)
from interlingua.types.completions import (
    Completion,
    CompletionChoice,
    CompletionDelta,
    CompletionRequest,
)
from interlingua.types.embeddings import Embeddings
from interlingua.types.models import EncodingFormat, ModelInfo
from interlingua.types.usage import Usage

from .service import app_of, client_of

pytestmark = pytest.mark.anyio
DOCUMENT = json.loads(openapi({}))
DIALECTS: list[ServerDialect] = [AzureDialect(), OpenAIDialect()]
OLD, NEW = (
    Reply(id="0" * 32, created=1, model="m", api_version=version)
    for version in ("2024-05-01-preview", "2025-04-01")
)
TOKENS = (TokenLogprob("a", -0.5, (97,), (TokenLogprob("b", -1.0),)),)
USAGE = Usage(3, 2, cached_tokens=1, reasoning_tokens=1)


def check(name: str, value: object) -> None:
    """Judge by a component, and refuse members that it doesn't name."""
    closed = close(DOCUMENT["components"]["schemas"])
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": closed}}
    jsonschema_rs.Draft202012Validator(schema).validate(value)


def close(schema: object) -> object:
    """With nothing allowed that isn't listed."""
    if isinstance(schema, list):
        return [close(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: close(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def events(written: bytes) -> Iterator[object]:
    for event in written.decode().split("\n\n"):
        if event and event != "data: [DONE]":
            yield json.loads(event.removeprefix("data: "))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("reply", [OLD, NEW])
def test_a_chat_completion_is_as_described(dialect: ServerDialect, reply: Reply) -> None:
    call = ToolCall(id="c", name="f", arguments="{}")
    choices = (
        ChatChoice(text="a", reasoning="hm", finish_reason="stop", logprobs=TOKENS),
        ChatChoice(index=1, tool_calls=(call,), finish_reason="tool_calls"),
        ChatChoice(index=2, refusal="no", finish_reason="length"),
    )
    check("ChatCompletion", json.loads(dialect.write_chat(ChatCompletion(choices=choices), reply)))
    whole = ChatCompletion(choices=choices[:1], usage=USAGE)
    check("ChatCompletion", json.loads(dialect.write_chat(whole, reply)))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("reply", [OLD, NEW])
@pytest.mark.parametrize("asked", [None, True])
def test_a_chats_chunks_are_as_described(
    dialect: ServerDialect, reply: Reply, asked: bool | None
) -> None:
    request = ChatRequest(messages=(UserMessage("hi"),), stream=True, include_usage=asked)
    writer = dialect.chat_writer(request, reply)
    deltas = (
        ChatDelta(reasoning="hm"),
        ChatDelta(text="a", logprobs=TOKENS),
        ChatDelta(text="b"),
        ChatDelta(index=1, refusal="no"),
        ChatDelta(tool_calls=(ToolCallDelta(id="c", name="f", arguments="{"),)),
        ChatDelta(tool_calls=(ToolCallDelta(arguments="}"),)),
        ChatDelta(finish_reason="tool_calls"),
        ChatDelta(index=1, finish_reason="stop"),
        ChatDelta(usage=USAGE),
    )
    written = b"".join(map(writer.write, deltas)) + writer.finish()
    chunks = list(events(written))
    assert len(chunks) > len(deltas)
    for chunk in chunks:
        check("ChatCompletionChunk", chunk)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_text_completion_and_its_chunks_are_as_described(dialect: ServerDialect) -> None:
    choice = CompletionChoice(text="a", finish_reason="length", logprobs=TOKENS)
    completion = Completion(choices=(choice,), usage=USAGE)
    check("Completion", json.loads(dialect.write_completion(completion, NEW)))
    request = CompletionRequest(prompts=("x",), stream=True, include_usage=True)
    writer = dialect.completion_writer(request, NEW)
    deltas = (
        CompletionDelta(text="a", logprobs=TOKENS),
        CompletionDelta(text="b"),
        CompletionDelta(finish_reason="stop"),
        CompletionDelta(usage=USAGE),
    )
    for chunk in events(b"".join(map(writer.write, deltas)) + writer.finish()):
        check("Completion", chunk)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("encoding", [None, "base64", "int8", "ubinary"])
def test_embeddings_are_as_described(
    dialect: ServerDialect, encoding: EncodingFormat | None
) -> None:
    vectors = Embeddings(vectors=(bytes(32), bytes(32)), usage=USAGE)
    check("Embeddings", json.loads(dialect.write_embeddings(vectors, encoding, NEW)))


@pytest.mark.parametrize("spelling", ["service", "documentation", "enum"])
@pytest.mark.parametrize(
    "kind", ["chat-completion", "text-generation", "embedding", "image-embedding"]
)
def test_model_info_is_as_described(spelling: str, kind: str) -> None:
    info = ModelInfo(model_name="m", model_type=kind, model_provider_name="p")
    check("ModelInfo", json.loads(DIALECTS[0].write_info(info, spelling)))


def failures() -> list[ApiError]:
    """One of each kind, with a place and without."""
    special = (
        errors.UnknownParameters(("foo", "bar")),
        errors.InvalidPolicy("ignore"),
        errors.ExtraForbidden("foo", {"a": [1]}),
    )
    plain = [kind for kind in errors.kinds() if kind not in {type(each) for each in special}]
    placed = errors.InvalidValue("no", location=("body", "messages", 0, "role"), value="robot")
    return [*special, placed, *(kind("The reason.") for kind in plain)]


@pytest.mark.parametrize("error", failures(), ids=lambda error: type(error).__name__)
def test_every_error_is_as_described_with_its_headers(error: ApiError) -> None:
    for write, name in ((write_azure_error, "Error"), (write_openai_error, "OpenAIError")):
        reply = write(error)
        check(name, json.loads(reply.body))
        if reply.status == 405:
            continue
        described = DOCUMENT["components"]["responses"][
            f"{'OpenAI' if name == 'OpenAIError' else ''}Error{error.status}"
        ]
        assert f"`{error.code}`" in described["description"]
        assert set(reply.headers) - {"content-type"} <= set(described["headers"])
    for event, name in (
        (write_azure_event(error), "ErrorEvent"),
        (write_openai_event(error), "OpenAIErrorEvent"),
    ):
        check(name, next(events(event)))


def test_there_are_no_other_codes_and_each_has_a_remedy() -> None:
    def below(kind: type[ApiError]) -> Iterator[type[ApiError]]:
        yield kind
        for narrower in kind.__subclasses__():
            yield from below(narrower)

    listed = {(kind.status, kind.code) for kind in errors.kinds()}
    assert {(kind.status, kind.code) for kind in below(ApiError)} == listed
    assert all(kind.remedy and errors.meaning(kind) for kind in errors.kinds())


async def test_every_header_of_a_reply_is_in_the_table_and_every_one_there_is_sent() -> None:
    """Whatever HTTP itself needs aside."""
    chat = {"messages": [{"role": "user", "content": "hi"}]}
    bad = [{"foo": 1, **chat}, {**chat, "temperature": 9}]
    seen: set[str] = set()
    app = app_of(EchoBackend(), limit=Limit(requests_per_minute=60, tokens_per_minute=60_000))
    async with client_of(app) as client:
        client.headers["x-ms-client-request-id"] = "mine"
        answers = [
            await client.post("/chat/completions", json=chat | {"stream": True}),
            await client.post(
                "/chat/completions", json=bad[0], headers={"extra-parameters": "drop"}
            ),
            *[await client.post("/chat/completions", json=body) for body in bad],
            await client.get("/chat/completions"),
            await client.get("/health/live"),
            await client.get("/v1/models"),
            await client.get("/nowhere"),
            await client.get("/info", headers={"api-key": "wrong"}),
        ]
    for answer in answers:
        seen |= set(answer.headers)
    for error in (errors.RateLimited("x"), errors.ExtraForbidden("foo")):
        seen |= set(write_azure_error(error).headers)
    assert seen - {"content-type", "content-length"} == {h.name for h in headers.REPLY}
