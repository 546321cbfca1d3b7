"""LiteLLM as a client of this API: the provider ``azure_ai``."""

import asyncio
import json

import litellm
from cases import KEY, URL, case, run_all

litellm.suppress_debug_info = True
ASK = [{"role": "user", "content": "Name the capital of France."}]
CHAT = {
    "model": "azure_ai/smollm2",
    "api_base": URL,
    "api_key": KEY,
    "messages": ASK,
    "max_tokens": 60,
    "temperature": 0,
}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwAD"
    "hgGAWjR9awAAAABJRU5ErkJggg=="
)


@case("chat", "chat, both ways, at the root and at /models")
async def chats() -> None:
    answer = litellm.completion(**CHAT)
    assert "Paris" in answer.choices[0].message.content
    assert answer.usage.total_tokens > 0
    answer = await litellm.acompletion(**{**CHAT, "api_base": f"{URL}/models"})
    assert "Paris" in answer.choices[0].message.content


@case("stream", "a stream")
def streams() -> None:
    whole = litellm.completion(**CHAT).choices[0].message.content
    chunks = list(litellm.completion(**CHAT, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole


@case("tools", "a forced tool, whole and streamed")
def tools() -> None:
    question = {"messages": [{"role": "user", "content": "What is the weather in Paris?"}]}
    # For a model that it doesn't know, LiteLLM wants to be told that it may send this.
    allowed = ["tool_choice"]
    how = {"tools": [TOOL], "tool_choice": "required", "allowed_openai_params": allowed}
    (call,) = litellm.completion(**{**CHAT, **question}, **how).choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert set(json.loads(call.function.arguments)) == {"city"}
    chunks = list(litellm.completion(**{**CHAT, **question}, **how, stream=True))
    joined = litellm.stream_chunk_builder(chunks)
    (again,) = joined.choices[0].message.tool_calls
    assert json.loads(again.function.arguments) == json.loads(call.function.arguments)


@case("embeddings", "text embeddings")
async def embeds() -> None:
    how = {"model": "azure_ai/minilm", "api_base": URL, "api_key": KEY}
    answer = litellm.embedding(**how, input=["one", "two"])
    assert [len(item["embedding"]) for item in answer.data] == [384, 384]
    answer = await litellm.aembedding(**how, input=["one"])
    assert len(answer.data[0]["embedding"]) == 384


@case("images", "image embeddings")
def images() -> None:
    answer = litellm.embedding(
        model="azure_ai/efficientnet", api_base=URL, api_key=KEY, input=[PIXEL]
    )
    assert len(answer.data[0]["embedding"]) == 1280


@case("errors", "errors have their classes")
def errors() -> None:
    for change, kind in (
        ({"api_key": "wrong"}, litellm.AuthenticationError),
        ({"model": "azure_ai/nothing"}, litellm.BadRequestError),
    ):
        try:
            litellm.completion(**{**CHAT, **change}, num_retries=0)
        except kind:
            continue
        raise AssertionError(f"no {kind.__name__}")


asyncio.run(run_all())
