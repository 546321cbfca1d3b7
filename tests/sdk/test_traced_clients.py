"""Our clients over a real socket: traced beside the official ones, with types and tools."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import azure.ai.inference
import azure.ai.inference.aio
import pytest
from azure.ai.inference.tracing import AIInferenceInstrumentor as AzureInstrumentor
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.settings import settings
from opentelemetry import trace
from opentelemetry.sdk.trace import Event
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from scripted_wire import Reply, Wire, chunk, events, stream

import interlingua
import interlingua.aio
from interlingua.models import JsonSchemaFormat, UserMessage
from interlingua.prompts import PromptTemplate
from interlingua.schemas import format_of
from interlingua.sdk.observe import Observing
from interlingua.tools import run_tools, tool
from interlingua.tracing import AIInferenceInstrumentor

KEY = AzureKeyCredential("k-secret")
TOOL_CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
WHOLE: dict[str, Any] = {
    "id": "r-1",
    "created": 1,
    "model": "phi",
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {"role": "assistant", "content": "hm", "tool_calls": [TOOL_CALL]},
        }
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
}
WHOLE_REPLY = Reply((json.dumps(WHOLE).encode(),))
STREAM_REPLY = events(chunk("", role="assistant"), chunk("a secret"), chunk("", "stop"))


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    exporter.clear()
    settings.tracing_implementation = "opentelemetry"
    yield exporter
    settings.tracing_implementation = None
    Observing.observer = None


def said(**more: object) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hello"}], "temperature": 0.5, **more}


def chat_of(spans: InMemorySpanExporter) -> dict[str, object]:
    """What can be compared of the one span of a chat."""
    (span,) = [s for s in spans.get_finished_spans() if s.name.startswith("chat")]
    spans.clear()
    shown = [
        (e.name, {**(e.attributes or {}), "gen_ai.event.content": content_of(e)})
        for e in span.events
    ]
    return {"name": span.name, "attributes": dict(span.attributes or {}), "events": shown}


def content_of(event: Event) -> object:
    return json.loads(str((event.attributes or {})["gen_ai.event.content"]))


def chat(package: Any, wire: Wire, **arguments: Any) -> None:
    """With the client of one of the two packages."""
    with package.ChatCompletionsClient(wire.url, KEY) as client:
        answer = client.complete(**arguments)
        if arguments.get("stream"):
            with answer:
                list(answer)


@pytest.mark.parametrize("records", [False, True])
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", [None, "phi-3"])
def test_both_clients_make_the_same_span(
    wire: Wire, spans: InMemorySpanExporter, model: str | None, streams: bool, records: bool
) -> None:
    wire.answer("/chat/completions", STREAM_REPLY if streams else WHOLE_REPLY)
    arguments = said(stream=streams, **({"model": model} if model else {}))
    theirs = AzureInstrumentor()
    theirs.instrument(enable_content_recording=records)
    chat(azure.ai.inference, wire, **arguments)
    theirs.uninstrument()
    expected = chat_of(spans)
    AIInferenceInstrumentor().instrument(enable_content_recording=records)
    chat(interlingua, wire, **arguments)
    assert chat_of(spans) == expected


@pytest.mark.anyio
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_asynchronous_clients_make_the_same_span(
    wire: Wire, spans: InMemorySpanExporter, streams: bool
) -> None:
    wire.answer("/chat/completions", STREAM_REPLY if streams else WHOLE_REPLY)

    async def run(package: Any) -> dict[str, object]:
        async with package.ChatCompletionsClient(wire.url, KEY) as client:
            answer = await client.complete(**said(stream=streams, model="phi-3"))
            if streams:
                async with answer:
                    async for _ in answer:
                        pass
        return chat_of(spans)

    theirs = AzureInstrumentor()
    theirs.instrument(enable_content_recording=True)
    expected = await run(azure.ai.inference.aio)
    theirs.uninstrument()
    AIInferenceInstrumentor().instrument(enable_content_recording=True)
    assert await run(interlingua.aio) == expected


def test_message_objects_are_recorded_as_json(wire: Wire, spans: InMemorySpanExporter) -> None:
    wire.answer("/chat/completions", WHOLE_REPLY)
    AIInferenceInstrumentor().instrument(enable_content_recording=True)
    chat(interlingua, wire, messages=[UserMessage("hello")])
    events = chat_of(spans)["events"]
    assert isinstance(events, list)
    name, attributes = events[0]
    assert name == "gen_ai.user.message"
    assert attributes["gen_ai.event.content"] == {"role": "user", "content": "hello"}


def test_the_request_carries_the_trace(wire: Wire, spans: InMemorySpanExporter) -> None:
    wire.answer("/chat/completions", WHOLE_REPLY)
    AIInferenceInstrumentor().instrument()
    with trace.get_tracer("test").start_as_current_span("outer"):
        chat(interlingua, wire, **said())
    span = spans.get_finished_spans()[0]
    assert span.context is not None
    expected = f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-"
    assert wire.heard[0].headers["traceparent"].startswith(expected)


@pytest.mark.parametrize("streams", [False, True])
def test_a_refusal_ends_the_span_with_its_error(
    wire: Wire, spans: InMemorySpanExporter, streams: bool
) -> None:
    body = b'{"error":{"code":"bad_request","message":"no such thing"}}'
    wire.answer("/chat/completions", Reply((body,), status=400))
    AIInferenceInstrumentor().instrument()
    with pytest.raises(HttpResponseError):
        chat(interlingua, wire, **said(stream=streams))
    (span,) = spans.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert str((span.attributes or {})["error.type"]).endswith(".HttpResponseError")
    assert "k-secret" not in span.to_json()


def test_a_stream_that_is_cut_ends_the_span_with_its_error(
    wire: Wire, spans: InMemorySpanExporter
) -> None:
    wire.answer("/chat/completions", stream(chunk("a secret"), end="cut"))
    AIInferenceInstrumentor().instrument()
    with pytest.raises(AzureError):
        chat(interlingua, wire, **said(stream=True))
    (span,) = spans.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert content_of(span.events[-1]) == {"finish_reason": "error", "index": 0}


def test_a_stream_that_is_left_ends_the_span(wire: Wire, spans: InMemorySpanExporter) -> None:
    wire.answer("/chat/completions", stream(chunk("a"), chunk("b"), end="hold"))
    AIInferenceInstrumentor().instrument()
    with interlingua.ChatCompletionsClient(wire.url, KEY) as client:
        answer = client.complete(**said(stream=True))
        with answer:
            next(iter(answer))
    (span,) = spans.get_finished_spans()
    assert span.status.status_code is StatusCode.UNSET


def test_an_unknown_finish_reason_reaches_the_caller(
    wire: Wire, spans: InMemorySpanExporter
) -> None:
    odd = {**WHOLE, "choices": [{**WHOLE["choices"][0], "finish_reason": "model_length"}]}
    wire.answer("/chat/completions", Reply((json.dumps(odd).encode(),)))
    AIInferenceInstrumentor().instrument()
    with interlingua.ChatCompletionsClient(wire.url, KEY) as client:
        assert client.complete(**said()).choices[0].finish_reason == "model_length"
    (span,) = spans.get_finished_spans()
    assert (span.attributes or {})["gen_ai.response.finish_reasons"] == ("model_length",)


def test_embeddings_are_traced(wire: Wire, spans: InMemorySpanExporter) -> None:
    row = {"index": 0, "object": "embedding", "embedding": [0.5]}
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    reply = {"id": "e-1", "object": "list", "model": "minilm", "data": [row], "usage": usage}
    wire.answer("/embeddings", Reply((json.dumps(reply).encode(),)))
    AIInferenceInstrumentor().instrument()
    with interlingua.EmbeddingsClient(wire.url, KEY) as client:
        client.embed(input=["secret"])
    (span,) = spans.get_finished_spans()
    assert span.name == "embeddings"
    assert (span.attributes or {})["gen_ai.usage.input_tokens"] == 3
    assert "secret" not in span.to_json()


def test_a_schema_of_a_type_and_a_tool_of_a_function_travel_as_they_are(wire: Wire) -> None:
    @dataclass
    class Answer:
        text: str

    def weather() -> str:
        return "rain"

    wire.answer("/chat/completions", WHOLE_REPLY)
    with interlingua.ChatCompletionsClient(wire.url, KEY) as client:
        reply = client.complete(
            messages=PromptTemplate.from_string("user:\n{{x}}").create_messages(x="hello"),
            response_format=JsonSchemaFormat(**format_of(Answer)),
            tools=[tool(weather)],
        )
        client.complete(messages=run_tools(reply.choices[0].message, [weather]))
    first, second = (heard.json() for heard in wire.heard)
    assert first["messages"] == [{"role": "user", "content": "hello"}]
    assert first["response_format"] == {"type": "json_schema", "json_schema": format_of(Answer)}
    assert first["tools"] == [tool(weather)]
    assert second["messages"] == [{"role": "tool", "content": "rain", "tool_call_id": "c1"}]
