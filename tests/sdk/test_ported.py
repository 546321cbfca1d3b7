"""The same code with Microsoft's package and with ours: the same requests, results, failures."""

import importlib
import inspect
import json
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

import azure.core.credentials
import azure.core.exceptions
import azure.core.rest
import pytest
from scripted_wire import Reply, Wire, chunk, events

KEY = "k-123"


class Sdk(NamedTuple):
    clients: Any
    models: Any

    def chat(self, wire: Wire, **options: Any) -> Any:
        return self.clients.ChatCompletionsClient(wire.url, _key(), **options)

    def embeddings(self, wire: Wire, **options: Any) -> Any:
        return self.clients.EmbeddingsClient(wire.url, _key(), **options)

    def images(self, wire: Wire, **options: Any) -> Any:
        return self.clients.ImageEmbeddingsClient(wire.url, _key(), **options)


def _key() -> Any:
    return azure.core.credentials.AzureKeyCredential(KEY)


def sdk(name: str) -> Sdk:
    return Sdk(importlib.import_module(name), importlib.import_module(f"{name}.models"))


THEIRS, OURS = sdk("azure.ai.inference"), sdk("interlingua")
Case = Callable[[Sdk, Wire], Any]


def whole(**message: Any) -> Reply:
    body = {
        "id": "7a4b2d9c",
        "object": "chat.completion",
        "created": 1730000000,
        "model": "mistral-large-2411",
        "choices": [
            {
                "index": 0,
                "finish_reason": message.pop("finish_reason", "stop"),
                "message": {"role": "assistant", "content": "An answer.", **message},
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30},
    }
    return Reply((json.dumps(body).encode(),))


def vectors(*rows: Any) -> Reply:
    data = [{"index": i, "object": "embedding", "embedding": row} for i, row in enumerate(rows)]
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    body = {"id": "0f8c", "object": "list", "model": "m", "data": data, "usage": usage}
    return Reply((json.dumps(body).encode(),))


CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}


def refused(status: int, body: Any) -> Reply:
    return Reply((body if isinstance(body, bytes) else json.dumps(body).encode(),), status=status)


#: Classes with a form of their own.
PRINTED = {"ChatCompletions", "EmbeddingsResult"}


def seen(value: Any) -> Any:
    """What a program can read from a value, in a form that both packages share."""
    if isinstance(value, Enum):
        return ("enum", type(value).__name__, value.name, value.value)
    if isinstance(value, str | int | float | datetime) or value is None:
        return value
    if isinstance(value, list):
        return [seen(each) for each in value]
    if isinstance(value, dict):
        return {name: seen(each) for name, each in value.items()}
    names = getattr(THEIRS.models, type(value).__name__).__annotations__
    names = names or inspect.get_annotations(
        getattr(THEIRS.models, type(value).__name__).__mro__[1]
    )
    return {
        "class": type(value).__name__,
        "text": str(value) if type(value).__name__ in PRINTED else "",
        "keys": sorted(value.keys()),
        "as_dict": value.as_dict(),
        "attributes": {name: seen(getattr(value, name)) for name in sorted(names)},
    }


def outcome(case: Case, package: Sdk, wire: Wire) -> Any:
    wire.heard.clear()
    result: Any
    try:
        result = seen(case(package, wire))
    except azure.core.exceptions.AzureError as error:
        stated = getattr(error, "error", None)
        result = {
            "class": type(error).__name__,
            "message": error.message,
            "text": str(error),
            "status": getattr(error, "status_code", None),
            "reason": getattr(error, "reason", None),
            "stated": stated and (stated.code, stated.message, stated.target, len(stated.details)),
            "body": error.response.text() if getattr(error, "response", None) else None,
        }
    except (TypeError, ValueError) as error:
        result = (type(error).__name__, str(error))
    return result, [_heard(each) for each in wire.heard]


def _heard(each: Any) -> Any:
    own = {
        "content-length",
        "host",
        "user-agent",
        "x-ms-client-request-id",
        "connection",
        "accept-encoding",
    }
    headers = {name: value for name, value in each.headers.items() if name not in own}
    path, _, query = each.path.partition("?")
    target = path, sorted(query.split("&"))
    return each.method, target, headers, json.loads(each.body) if each.body else None


def same(case: Case, wire: Wire) -> Any:
    theirs, ours = outcome(case, THEIRS, wire), outcome(case, OURS, wire)
    assert ours == theirs
    return ours


def hello(package: Sdk) -> list[Any]:
    return [package.models.SystemMessage("s"), package.models.UserMessage("u")]


def chat(package: Sdk, wire: Wire, **given: Any) -> Any:
    with package.chat(wire, retry_total=0) as client:
        return client.complete(messages=hello(package), **given)


ARGUMENTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "sampling": lambda m: {
        "temperature": 0.0,
        "top_p": 0.9,
        "max_tokens": 5,
        "seed": 7,
        "stop": ["x"],
        "frequency_penalty": 0.5,
        "presence_penalty": -0.5,
        "model": "phi",
        "stream": False,
    },
    "text": lambda m: {"response_format": "text"},
    "json": lambda m: {"response_format": "json_object"},
    "schema": lambda m: {
        "response_format": m.JsonSchemaFormat(name="n", schema={"type": "object"}, strict=True)
    },
    "no format": lambda m: {"response_format": "xml"},
    "tools": lambda m: {
        "tools": [
            m.ChatCompletionsToolDefinition(
                function=m.FunctionDefinition(name="f", description="d", parameters={"type": "o"})
            )
        ],
        "tool_choice": m.ChatCompletionsNamedToolChoice(
            function=m.ChatCompletionsNamedToolChoiceFunction(name="f")
        ),
    },
    "preset": lambda m: {"tool_choice": m.ChatCompletionsToolChoicePreset.REQUIRED},
    "extras": lambda m: {"model_extras": {"n": 2, "safe_mode": True}},
    "no extras": lambda m: {"model_extras": {}},
    "headers": lambda m: {"headers": {"azureml-model-deployment": "d"}, "params": {"a": "b c"}},
    "a header that is None": lambda m: {"headers": {"azureml-model-deployment": None, "a": "b"}},
    "content type": lambda m: {"content_type": "application/merge-patch+json"},
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_become_the_same_request(wire: Wire, name: str) -> None:
    wire.answer("/chat/completions", whole())

    def case(package: Sdk, wire: Wire) -> Any:
        with package.chat(wire) as client:
            return client.complete(messages=hello(package), **ARGUMENTS[name](package.models))

    same(case, wire)


MESSAGES: dict[str, Callable[[Any], Any]] = {
    "parts": lambda m: m.UserMessage(
        content=[
            m.TextContentItem(text="t"),
            m.ImageContentItem(image_url=m.ImageUrl(url="u", detail=m.ImageDetailLevel.HIGH)),
            m.ImageContentItem(image_url=m.ImageUrl(url="u")),
            m.AudioContentItem(
                input_audio=m.InputAudio(data="AA==", format=m.AudioContentFormat.MP3)
            ),
        ]
    ),
    "parts without a keyword": lambda m: m.UserMessage([m.TextContentItem(text="t")]),
    "tool call": lambda m: m.AssistantMessage(
        tool_calls=[
            m.ChatCompletionsToolCall(id="1", function=m.FunctionCall(name="f", arguments="{}"))
        ]
    ),
    "tool": lambda m: m.ToolMessage("r", tool_call_id="1"),
    "tool by keywords": lambda m: m.ToolMessage(tool_call_id="1", content="r"),
    "developer": lambda m: m.DeveloperMessage("d"),
    "assistant": lambda m: m.AssistantMessage("a"),
    "mapping": lambda m: m.UserMessage({"content": "c", "name": "n", "role": "user"}),
    "dict": lambda m: {"role": "user", "content": "c"},
    "unknown keyword": lambda m: m.FunctionCall(name="f", arguments="", nothing=1),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_are_written_and_read_alike(wire: Wire, name: str) -> None:
    wire.answer("/chat/completions", whole())

    def case(package: Sdk, wire: Wire) -> Any:
        message = MESSAGES[name](package.models)
        with package.chat(wire) as client:
            client.complete(messages=[message])
        return message

    same(case, wire)


REPLIES = {
    "plain": whole(),
    "tool calls": whole(content=None, tool_calls=[CALL], finish_reason="tool_calls"),
    "unknown names": whole(role="robot", finish_reason="model_length", extra={"a": [1]}),
    "missing": Reply((b'{"id": "x", "choices": [{"message": {}}]}',)),
    "nothing": Reply((b"{}",)),
    "unicode": whole(content="é\n日本"),
}


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_is_read_alike(wire: Wire, name: str) -> None:
    wire.answer("/chat/completions", REPLIES[name])
    same(chat, wire)


def test_values_are_changed_and_compared_alike(wire: Wire) -> None:
    def case(package: Sdk, wire: Wire) -> Any:
        m = package.models
        value = m.ImageUrl(url="u")
        value.detail = "low"
        value["more"] = 1
        changed = dict(value), value == {"url": "u", "detail": "low", "more": 1}, value != {}
        value.detail = None
        return [
            *changed,
            "detail" in value,
            value.get("url"),
            value.get("none", 2),
            value.pop("more"),
            repr(value),
            value == m.ImageUrl(url="u"),
            m.ChatRole.user is m.ChatRole.USER,
            str(m.ChatRole("user")),
            len(m.UserMessage("x")),
        ]

    same(case, wire)


FAILURES = {
    "stated": refused(400, {"error": {"code": "unknown_model", "message": "Unknown model: X"}}),
    "detailed": refused(
        422,
        {
            "error": {
                "code": "Invalid input",
                "message": "bad",
                "target": "t",
                "details": [{"code": "a", "message": "b"}, {"loc": ["body"]}],
                "innererror": {"x": 1},
            }
        },
    ),
    "unauthorized": refused(401, {"error": {"code": "401", "message": "no"}}),
    "not found": refused(404, {"error": {"code": "404", "message": "Resource not found"}}),
    "conflict": refused(409, {"error": {"code": "409", "message": "no"}}),
    "flat": refused(422, {"status": 422, "code": "parameter_not_supported", "message": "m"}),
    "detail": refused(400, {"detail": "Extra parameters ['n'] are not allowed"}),
    "a text as error": refused(403, {"status": 403, "error": "Forbidden", "message": "m"}),
    "page": Reply((b"<html>bad gateway</html>",), status=502, content_type="text/html"),
    "empty": refused(500, b""),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_raised_alike(wire: Wire, name: str) -> None:
    wire.answer("/chat/completions", FAILURES[name])
    same(chat, wire)


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_without_messages_is_refused_alike(wire: Wire, stream: bool) -> None:
    def case(package: Sdk, wire: Wire) -> Any:
        with package.chat(wire) as client:
            return client.complete(stream=stream)

    result, heard = same(case, wire)
    assert result == ("TypeError", "missing required argument: messages")
    assert heard == []


def test_nothing_that_answers_is_a_service_request_error() -> None:
    for package in (THEIRS, OURS):
        client = package.clients.ChatCompletionsClient("http://127.0.0.1:1", _key())
        with client, pytest.raises(azure.core.exceptions.ServiceRequestError):
            client.complete(messages=hello(package))


def test_a_token_is_not_sent_over_plain_http(wire: Wire) -> None:
    class Credential:
        def get_token(self, *scopes: str, **_: Any) -> Any:
            return azure.core.credentials.AccessToken("t", 2**31)

    def case(package: Sdk, wire: Wire) -> Any:
        with package.clients.ChatCompletionsClient(wire.url, Credential()) as client:
            return client.complete(messages=hello(package))

    result, heard = same(case, wire)
    assert result["class"] == "ServiceRequestError"
    assert heard == []


def test_defaults_hold_where_a_call_says_nothing(wire: Wire) -> None:
    wire.answer("/chat/completions", whole())

    def case(package: Sdk, wire: Wire) -> Any:
        options = {"temperature": 0.0, "seed": 1, "model_extras": {"a": 1}, "headers": {"X-A": "b"}}
        with package.chat(wire, **options, response_format="json_object") as client:
            client.complete(messages=hello(package))
            client.complete(messages=hello(package), seed=2, model_extras={"b": 2})
            client.complete({"messages": [{"role": "user", "content": "c"}]})
            client.complete(b'{"messages": []}')

    same(case, wire)


def test_embeddings_are_alike(wire: Wire) -> None:
    wire.answer("/embeddings", vectors([1.0, 2.0], "AAAA"))

    def case(package: Sdk, wire: Wire) -> Any:
        m = package.models
        with package.embeddings(wire, dimensions=3) as client:
            return [
                client.embed(input=["a", "b"]),
                client.embed(input=["a"], encoding_format=m.EmbeddingEncodingFormat.BASE64),
                client.embed(input=["a"], input_type=m.EmbeddingInputType.QUERY, dimensions=1),
                client.embed({"input": ["x"]}),
            ]

    same(case, wire)


def test_image_embeddings_are_alike(wire: Wire, tmp_path: Any) -> None:
    wire.answer("/images/embeddings", vectors([1.0]))
    file = tmp_path / "a.png"
    file.write_bytes(b"\x89PNG")

    def case(package: Sdk, wire: Wire) -> Any:
        image = package.models.ImageEmbeddingInput.load(
            image_file=str(file), image_format="png", text="t"
        )
        with package.images(wire, model="clip") as client:
            return [client.embed(input=[image]), image]

    same(case, wire)


@pytest.mark.parametrize("kind", ["chat-completion", "embedding", "image_embeddings", "", "other"])
def test_clients_are_loaded_alike(wire: Wire, kind: str) -> None:
    info = {"model_name": "m", "model_type": kind, "model_provider_name": "p"}
    wire.answer("/info", Reply((json.dumps(info).encode(),)))

    def case(package: Sdk, wire: Wire) -> Any:
        with package.clients.load_client(wire.url, _key()) as client:
            return [type(client).__name__, client.get_model_info(), client.get_model_info()]

    same(case, wire)


def test_an_endpoint_without_info_is_told_alike(wire: Wire) -> None:
    same(lambda p, w: p.clients.load_client(w.url, _key()), wire)

    def case(package: Sdk, wire: Wire) -> Any:
        with package.chat(wire) as client:
            return client.get_model_info()

    same(case, wire)


TOOL_STREAM = [
    chunk("", role="assistant"),
    json.dumps(
        {
            "id": "1",
            "created": 1729000000,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": None,
                    "delta": {"tool_calls": [{**CALL, "index": 0}]},
                }
            ],
        }
    ),
    json.dumps({"id": "1", "choices": [], "prompt_filter_results": []}),
    chunk("", "tool_calls"),
]


@pytest.mark.parametrize(
    "chunks", [[chunk("", role="assistant"), chunk(" é"), chunk("", "stop")], TOOL_STREAM]
)
def test_a_stream_is_read_alike(wire: Wire, chunks: list[str]) -> None:
    wire.answer("/chat/completions", events(*chunks))

    def case(package: Sdk, wire: Wire) -> Any:
        client = package.chat(wire)
        with client, client.complete(messages=hello(package), stream=True) as stream:
            assert isinstance(stream, package.models.StreamingChatCompletions)
            return list(stream)

    same(case, wire)


def test_a_hook_sees_the_same_reply(wire: Wire) -> None:
    wire.answer("/chat/completions", whole())

    def case(package: Sdk, wire: Wire) -> Any:
        heard: list[Any] = []

        def hook(response: Any) -> None:
            reply = response.http_response
            heard.extend([reply.status_code, reply.reason, reply.headers["Content-Type"]])
            heard.extend([response.http_request.method, response.http_request.url])

        with package.chat(wire) as client:
            client.complete(messages=hello(package), raw_response_hook=hook)
        return heard

    same(case, wire)


def test_a_request_of_ones_own_is_sent_alike(wire: Wire) -> None:
    wire.answer("/info", Reply((b'{"a": 1}',)))

    def case(package: Sdk, wire: Wire) -> Any:
        request = azure.core.rest.HttpRequest("GET", f"{wire.url}/info?x=1")
        with package.chat(wire) as client:
            reply = client.send_request(request)
        return [reply.status_code, reply.json()]

    same(case, wire)


def test_every_public_name_of_the_models_is_here() -> None:
    assert set(THEIRS.models.__all__) <= set(OURS.models.__all__)
    assert set(THEIRS.clients.__all__) - {"PatchedClient"} <= set(OURS.clients.__all__)
