"""The openai package as published, in its Azure and v1 modes, both ways."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Literal

import openai
from cases import KEY, URL, case, run_all
from pydantic import BaseModel

ASK = [{"role": "user", "content": "Name the capital of France."}]
SHORT = {"model": "smollm2", "messages": ASK, "max_tokens": 24, "temperature": 0}
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}},
            "required": ["a"],
        },
    },
}
MODES = ("/v1", "/openai/v1", "AzureOpenAI")


class Capital(BaseModel):
    capital: Literal["Paris", "Rome"]
    sure: bool


def client(mode: str, key: str = KEY) -> openai.OpenAI:
    if mode == "AzureOpenAI":
        return openai.AzureOpenAI(azure_endpoint=URL, api_key=key, api_version="2024-10-21")
    return openai.OpenAI(base_url=URL + mode, api_key=key)


def in_each_mode(operation: str, name: str) -> Callable[[Callable[[str], object]], None]:
    """Add a case for each of the client's modes."""

    def add(run: Callable[[str], object]) -> None:
        for mode in MODES:
            case(operation, f"{name}, {mode}")(partial(run, mode))

    return add


@in_each_mode("chat", "chat, both ways")
async def chats(mode: str) -> None:
    answer = client(mode).chat.completions.create(**SHORT)
    assert "Paris" in answer.choices[0].message.content
    assert answer.id.startswith("chatcmpl-")
    if mode == "AzureOpenAI":
        waiting = openai.AsyncAzureOpenAI(
            azure_endpoint=URL,
            azure_deployment="smollm2",
            api_key=KEY,
            api_version="2024-06-01",
        )
    else:
        waiting = openai.AsyncOpenAI(base_url=URL + mode, api_key=KEY)
    async with waiting:
        again = await waiting.chat.completions.create(**SHORT)
    assert again.choices[0].message.content == answer.choices[0].message.content


@in_each_mode("stream", "a stream with and without include_usage")
def streams(mode: str) -> None:
    whole = client(mode).chat.completions.create(**SHORT)
    chunks = list(client(mode).chat.completions.create(**SHORT, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert all(chunk.usage is None for chunk in chunks)
    options = {"include_usage": True}
    *_, last = client(mode).chat.completions.create(**SHORT, stream=True, stream_options=options)
    assert last.choices == []
    assert last.usage.completion_tokens == whole.usage.completion_tokens


@in_each_mode("tools", "a tool call in a stream")
def tools(mode: str) -> None:
    asked = {**SHORT, "max_tokens": 100, "messages": [{"role": "user", "content": "Add 3"}]}
    with client(mode).chat.completions.stream(
        **asked, tools=[ADD], tool_choice="required"
    ) as stream:
        (choice,) = stream.get_final_completion().choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert call.function.name == "add"
    assert isinstance(json.loads(call.function.arguments)["a"], int)


@in_each_mode("structured", "structured output with parse")
def structured(mode: str) -> None:
    answer = client(mode).chat.completions.parse(
        **{**SHORT, "max_tokens": 100}, response_format=Capital
    )
    assert isinstance(answer.choices[0].message.parsed, Capital)


@in_each_mode("embeddings", "embeddings, base64 by default and floats")
def embeds(mode: str) -> None:
    embeddings = client(mode).embeddings
    packed = embeddings.create(model="minilm", input=["one", "two"])
    assert [len(item.embedding) for item in packed.data] == [384, 384]
    floats = embeddings.create(model="minilm", input="one", encoding_format="float")
    assert abs(floats.data[0].embedding[0] - packed.data[0].embedding[0]) < 1e-3


@in_each_mode("completions", "text completions, whole and streamed")
def completes(mode: str) -> None:
    asked = {"model": "smollm2", "prompt": "The capital of France is", "max_tokens": 6}
    completions = client(mode).completions
    one = completions.create(**asked, temperature=0)
    assert "Paris" in one.choices[0].text
    stream = completions.create(**asked, temperature=0, stream=True)
    text = "".join(chunk.choices[0].text for chunk in stream if chunk.choices)
    assert text == one.choices[0].text


@in_each_mode("errors", "errors have their classes")
def errors(mode: str) -> None:
    unknown = openai.BadRequestError if mode == "/v1" else openai.NotFoundError
    for change, key, kind in (
        ({"temperature": 9}, KEY, openai.UnprocessableEntityError),
        ({}, "wrong", openai.AuthenticationError),
        ({"model": "gpt-5"}, KEY, unknown),
    ):
        try:
            client(mode, key).chat.completions.create(**{**SHORT, **change})
        except kind:
            continue
        raise AssertionError(f"no {kind.__name__}")


@in_each_mode("models", "the list of models")
def models(mode: str) -> None:
    names = {model.id for model in client(mode).models.list()}
    assert names >= {"smollm2", "minilm", "efficientnet"}
    assert client(mode).models.retrieve("smollm2").id == "smollm2"


@contextmanager
def busy_once() -> Iterator[tuple[str, list[str]]]:
    """A server that is busy once and then sends callers on; and what was asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            asked.append(self.path)
            self.send_response(429 if len(asked) == 1 else 307)
            self.send_header("retry-after", "1")
            self.send_header("location", URL + self.path)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


@case("errors", "a call that meets 429 with Retry-After is tried again")
def retries() -> None:
    with busy_once() as (url, asked):
        # A key in its own header, since Authorization isn't sent on to another host.
        made = openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, default_headers={"api-key": KEY})
        answer = made.chat.completions.create(**SHORT)
    assert "Paris" in answer.choices[0].message.content
    assert len(asked) == 2


asyncio.run(run_all())
