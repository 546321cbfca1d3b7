"""Spans of calls: what they hold, and that they are as azure-ai-inference's own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.ai.inference import ChatCompletionsClient
from azure.ai.inference.tracing import AIInferenceInstrumentor as AzureInstrumentor
from azure.core.credentials import AzureKeyCredential
from azure.core.settings import settings
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from scripted_wire import Reply, Wire, events

from interlingua.errors import RateLimited
from interlingua.sdk.observe import Call, Observing, watch
from interlingua.tracing import AIInferenceInstrumentor

HELLO = [
    {"role": "system", "content": "be kind"},
    {"role": "user", "content": "secret question"},
]
TOOL_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "secret"}'},
}
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    exporter.clear()
    yield exporter
    Observing.observer = None


@pytest.fixture
def azure() -> Iterator[AzureInstrumentor]:
    settings.tracing_implementation = "opentelemetry"
    instrumentor = AzureInstrumentor()
    yield instrumentor
    instrumentor.uninstrument()
    settings.tracing_implementation = None


def choice(index: int = 0, finish: str | None = "stop", **message: object) -> dict[str, object]:
    message = {"role": "assistant", "content": "secret answer", **message}
    return {"index": index, "finish_reason": finish, "message": message}


def delta(finish: str | None = None, index: int = 0, **said: object) -> dict[str, object]:
    return {"index": index, "finish_reason": finish, "delta": said}


def whole(*choices: dict[str, object]) -> dict[str, object]:
    return {
        "id": "r-1",
        "created": 1,
        "model": "phi",
        "object": "chat.completion",
        "choices": list(choices),
        "usage": USAGE,
    }


def chunks(*choices: dict[str, object]) -> list[dict[str, object]]:
    """One chunk a choice; the last has the usage."""
    all_chunks = [{"id": "r-1", "created": 1, "model": "phi", "choices": [c]} for c in choices]
    all_chunks[-1]["usage"] = USAGE
    return all_chunks


def call(url: str = "http://127.0.0.1:8080", **parameters: object) -> Call:
    parts = urlsplit(url)
    body = {"messages": HELLO, **parameters}
    return Call(
        operation="chat",
        method="POST",
        path="/chat/completions",
        parameters=body,
        model=str(body["model"]) if "model" in body else None,
        host=parts.hostname or "",
        port=parts.port or 443,
    )


def replied(call: Call, reply: object) -> None:
    watching = watch(call)
    assert watching is not None
    watching.headers()
    watching.replied(reply)
    watching.ended(None)


def streamed(call: Call, updates: list[object], error: BaseException | None = None) -> None:
    watching = watch(call)
    assert watching is not None
    watching.headers()
    watching.opened()
    for update in updates:
        watching.updated(update)
    watching.ended(error)


def seen(span: ReadableSpan) -> dict[str, object]:
    """What can be compared of a span."""
    return {
        "name": span.name,
        "kind": span.kind,
        "attributes": dict(span.attributes or {}),
        "status": span.status.status_code,
        "events": [(event.name, *event_parts(event.attributes or {})) for event in span.events],
    }


def event_parts(attributes: Mapping[str, object]) -> tuple[Any, dict[str, object]]:
    rest = dict(attributes)
    return json.loads(str(rest.pop("gen_ai.event.content"))), rest


def only(spans: InMemorySpanExporter) -> ReadableSpan:
    (span,) = spans.get_finished_spans()
    return span


# -- Beside the official instrumentor -------------------------------------------------------

REPLIES = {
    "an answer": whole(choice()),
    "calls of tools": whole(choice(finish="tool_calls", content=None, tool_calls=[TOOL_CALL])),
    "two choices": whole(choice(), choice(1, "length")),
    "a filter": whole(choice(finish="content_filter", content="")),
}
STREAMS = {
    "an answer": chunks(
        delta(role="assistant", content=""),
        delta(content="secret "),
        delta(content="answer"),
        delta("stop", content=""),
    ),
    "calls of tools": chunks(
        delta(role="assistant", tool_calls=[{**TOOL_CALL, "index": 0}]),
        delta(tool_calls=[{"index": 0, "id": "", "function": {"name": "", "arguments": " "}}]),
        delta("tool_calls", content=""),
    ),
}
PARAMETERS = {"model": "phi-3", "max_tokens": 9, "temperature": 0.5, "top_p": 0.25}


@pytest.mark.parametrize("records", [False, True])
@pytest.mark.parametrize("parameters", [{}, PARAMETERS], ids=["bare", "with parameters"])
@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_a_whole_answer_makes_the_official_span(
    wire: Wire,
    spans: InMemorySpanExporter,
    azure: AzureInstrumentor,
    reply: dict[str, object],
    parameters: dict[str, object],
    records: bool,
) -> None:
    wire.answer("/chat/completions", Reply((json.dumps(reply).encode(),)))
    azure.instrument(enable_content_recording=records)
    with ChatCompletionsClient(wire.url, AzureKeyCredential("k")) as client:
        client.complete(messages=list(HELLO), **parameters)
    theirs = seen(next(s for s in spans.get_finished_spans() if s.name.startswith("chat")))
    spans.clear()
    AIInferenceInstrumentor().instrument(enable_content_recording=records)
    replied(call(wire.url, **parameters), reply)
    assert seen(only(spans)) == theirs
    assert ("secret" in only(spans).to_json()) is records


@pytest.mark.parametrize("records", [False, True])
@pytest.mark.parametrize("updates", STREAMS.values(), ids=STREAMS)
def test_a_streamed_answer_makes_the_official_span(
    wire: Wire,
    spans: InMemorySpanExporter,
    azure: AzureInstrumentor,
    updates: list[object],
    records: bool,
) -> None:
    wire.answer("/chat/completions", events(*(json.dumps(each) for each in updates)))
    azure.instrument(enable_content_recording=records)
    with (
        ChatCompletionsClient(wire.url, AzureKeyCredential("k")) as client,
        client.complete(messages=list(HELLO), stream=True, **PARAMETERS) as stream,
    ):
        for _ in stream:
            pass
    theirs = seen(next(s for s in spans.get_finished_spans() if s.name.startswith("chat")))
    spans.clear()
    AIInferenceInstrumentor().instrument(enable_content_recording=records)
    streamed(call(wire.url, **PARAMETERS), updates)
    assert seen(only(spans)) == theirs
    assert ("secret" in only(spans).to_json()) is records


# -- What the official one doesn't do -------------------------------------------------------


@pytest.mark.parametrize("reason", ["model_length", None, 7, {"odd": True}])
def test_an_unknown_finish_reason_is_taken_as_it_is(
    spans: InMemorySpanExporter, reason: object
) -> None:
    AIInferenceInstrumentor().instrument()
    replied(call(), whole({**choice(), "finish_reason": reason}))
    streamed(call(), [*chunks(delta(content="a"), {**delta(), "finish_reason": reason})])
    for span in spans.get_finished_spans():
        assert span.attributes is not None
        expected = "none" if reason is None else str(reason)
        assert span.attributes["gen_ai.response.finish_reasons"] == (expected,)


@pytest.mark.parametrize(
    "reply",
    [None, "text", [], {}, {"choices": 1}, {"choices": [1, None, {}]}, {"usage": [], "id": {}},
     {"choices": [{"message": {"tool_calls": [{}, {"function": "f"}]}, "index": "x"}]},
     {"choices": [{"delta": {"tool_calls": [{"function": 1}, {"index": 0}], "content": 4}}]}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("records", [False, True])
def test_replies_of_an_unknown_shape_are_survived(
    spans: InMemorySpanExporter, reply: object, records: bool
) -> None:
    AIInferenceInstrumentor().instrument(records)
    replied(call(messages="what", temperature="hot"), reply)
    streamed(call(messages=[{"role": 3, "x": object()}, 4]), [reply, reply])
    assert len(spans.get_finished_spans()) == 2


def test_a_failure_is_the_spans_status(spans: InMemorySpanExporter) -> None:
    AIInferenceInstrumentor().instrument()
    watching = watch(call())
    assert watching is not None
    watching.ended(RateLimited("too many calls"))
    span = only(spans)
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "too many calls"
    assert span.attributes is not None
    assert span.attributes["error.type"] == "interlingua.errors.RateLimited"
    assert span.events == ()


def test_an_error_of_python_itself_has_no_module(spans: InMemorySpanExporter) -> None:
    AIInferenceInstrumentor().instrument()
    watching = watch(call())
    assert watching is not None
    watching.ended(TimeoutError())
    assert (only(spans).attributes or {})["error.type"] == "TimeoutError"


@pytest.mark.parametrize("records", [False, True])
def test_a_stream_that_breaks_off_says_so_and_keeps_what_is_not_recorded(
    spans: InMemorySpanExporter, records: bool
) -> None:
    AIInferenceInstrumentor().instrument(records)
    said = delta(content="secret", tool_calls=[TOOL_CALL])
    streamed(call(), [*chunks(said)], ConnectionError("gone"))
    span = only(spans)
    assert span.status.status_code is StatusCode.ERROR
    assert event_parts(span.events[-1].attributes or {})[0]["finish_reason"] == "error"
    assert ("secret" in span.to_json()) is records


def test_a_stream_that_breaks_off_at_once_has_one_event(spans: InMemorySpanExporter) -> None:
    AIInferenceInstrumentor().instrument()
    streamed(call(), [], ConnectionError("gone"))
    assert seen(only(spans))["events"] == [
        ("gen_ai.choice", {"finish_reason": "error", "index": 0}, {"gen_ai.system": SYSTEM})
    ]


SYSTEM = "az.ai.inference"


def test_a_reader_who_leaves_is_no_failure(spans: InMemorySpanExporter) -> None:
    AIInferenceInstrumentor().instrument()
    streamed(call(), [*chunks(delta(content="a"))], GeneratorExit())
    span = only(spans)
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in (span.attributes or {})


def test_usage_in_a_chunk_of_its_own_counts(spans: InMemorySpanExporter) -> None:
    AIInferenceInstrumentor().instrument()
    last = {"id": "r-1", "model": "phi", "choices": [], "usage": USAGE}
    streamed(call(), [{"id": "r-1", "model": "phi", "choices": [delta("stop", content="a")]}, last])
    attributes = only(spans).attributes or {}
    assert attributes["gen_ai.usage.output_tokens"] == 3
    assert attributes["gen_ai.response.finish_reasons"] == ("stop",)


def test_choices_and_tool_calls_of_a_stream_are_kept_apart(spans: InMemorySpanExporter) -> None:
    AIInferenceInstrumentor().instrument(enable_content_recording=True)
    second = {**TOOL_CALL, "id": "call_2", "index": 1}
    rest = {"index": 1, "function": {"arguments": "!"}}
    streamed(
        call(),
        chunks(
            delta(content="a"),
            delta(index=1, tool_calls=[{**TOOL_CALL, "index": 0}]),
            delta(index=1, tool_calls=[second]),
            delta(index=1, tool_calls=[rest]),
            delta("stop"),
            delta("tool_calls", index=1),
        ),
    )
    events = [event_parts(e.attributes or {})[0] for e in only(spans).events[len(HELLO) :]]
    assert [e["finish_reason"] for e in events] == ["stop", "tool_calls"]
    assert events[0]["message"] == {"content": "a"}
    first, other = events[1]["message"]["tool_calls"]
    assert first == TOOL_CALL
    assert other["id"] == "call_2"
    assert other["function"]["arguments"] == TOOL_CALL["function"]["arguments"] + "!"


def test_tool_calls_without_an_index_are_told_apart_by_their_ids(
    spans: InMemorySpanExporter,
) -> None:
    AIInferenceInstrumentor().instrument()
    updates = chunks(
        delta(tool_calls=[TOOL_CALL]),
        delta(tool_calls=[{"function": {"arguments": " "}}]),
        delta("tool_calls", tool_calls=[{**TOOL_CALL, "id": "call_2"}]),
    )
    streamed(call(), [*updates])
    (event,) = only(spans).events
    said, _ = event_parts(event.attributes or {})
    assert [c["id"] for c in said["message"]["tool_calls"]] == ["call_1", "call_2"]
    assert "weather" not in only(spans).to_json()


def test_events_are_in_order_even_where_only_microseconds_are_kept(
    spans: InMemorySpanExporter,
) -> None:
    AIInferenceInstrumentor().instrument(enable_content_recording=True)
    replied(call(), whole(*(choice(i) for i in range(20))))
    times = [event.timestamp for event in only(spans).events]
    assert all(after - before >= 1000 for before, after in pairwise(times))


@pytest.mark.parametrize(
    ("operation", "reply", "name"),
    [
        ("embeddings", {"model": "minilm", "usage": {"prompt_tokens": 4}}, "embeddings phi-3"),
        ("image_embeddings", {"model": "clip", "usage": {"prompt_tokens": 4}}, "embeddings phi-3"),
        (
            "completions",
            whole({"index": 0, "text": "secret", "finish_reason": "stop"}),
            "text_completion phi-3",
        ),
    ],
)
def test_other_operations_are_traced_too(
    spans: InMemorySpanExporter, operation: str, reply: object, name: str
) -> None:
    AIInferenceInstrumentor().instrument()
    made = Call(
        operation=operation,  # type: ignore[arg-type]  # one of the parameters above
        method="POST",
        path="/",
        parameters={"input": ["secret"]},
        model="phi-3",
        host="h",
    )
    replied(made, reply)
    span = only(spans)
    assert (span.name, span.kind) == (name, SpanKind.CLIENT)
    assert "gen_ai.usage.input_tokens" in (span.attributes or {})
    assert "server.port" not in (span.attributes or {})
    assert "secret" not in span.to_json()


def test_questions_about_the_model_are_not_traced(spans: InMemorySpanExporter) -> None:
    AIInferenceInstrumentor().instrument()
    assert watch(Call(operation="info", method="GET", path="/info")) is None
    assert watch(Call(operation=None, method="GET", path="/x")) is None


def test_the_request_carries_the_span(spans: InMemorySpanExporter) -> None:
    AIInferenceInstrumentor().instrument()
    with trace.get_tracer("test").start_as_current_span("outer") as outer:
        watching = watch(call())
        assert watching is not None
        parent = watching.headers()["traceparent"]
        watching.ended(None)
    span = spans.get_finished_spans()[0]
    assert span.context is not None
    assert f"{span.context.trace_id:032x}-{span.context.span_id:016x}" in parent
    assert span.parent == outer.get_span_context()


# -- On and off -----------------------------------------------------------------------------

VARIABLE = "AZURE_TRACING_GEN_AI_CONTENT_RECORDING_ENABLED"


@pytest.mark.parametrize(
    ("variable", "said", "records"),
    [
        (None, None, False),
        ("true", None, True),
        ("TRUE", None, True),
        ("1", None, False),
        ("true", False, False),
        ("false", True, True),
    ],
)
def test_content_is_recorded_when_asked_for(
    spans: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
    variable: str | None,
    said: bool | None,
    records: bool,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if variable is not None:
        monkeypatch.setenv(VARIABLE, variable)
    AIInferenceInstrumentor().instrument(said)
    assert AIInferenceInstrumentor().is_content_recording_enabled() is records


def test_every_instrumentor_switches_the_same_thing(spans: InMemorySpanExporter) -> None:
    one, other = AIInferenceInstrumentor(), AIInferenceInstrumentor()
    assert not other.is_instrumented()
    one.instrument(enable_content_recording=True)
    assert other.is_instrumented()
    other.instrument(enable_content_recording=False)
    assert not one.is_content_recording_enabled()
    other.uninstrument()
    assert not one.is_instrumented()
    assert not one.is_content_recording_enabled()
    one.uninstrument()
    assert watch(call()) is None


def test_the_message_without_opentelemetry_names_what_to_install() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from interlingua.tracing import AIInferenceInstrumentor\n"
        "try: AIInferenceInstrumentor()\n"
        "except ModuleNotFoundError as error: print(error)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={**os.environ}
    )
    assert "pip install 'interlingua[otel]'" in run.stdout
