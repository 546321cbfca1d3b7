"""What a type checker makes of the SDK: checked by mypy --strict, never run."""

from typing import TypedDict, assert_type

from interlingua import (
    AsyncClient,
    ChatCompletionsClient,
    Client,
    CompletionsClient,
    EmbeddingsClient,
    aio,
)
from interlingua.credentials import AzureKeyCredential
from interlingua.models import (
    AssistantMessage,
    ChatChoice,
    ChatCompletions,
    ChatCompletionsToolCall,
    ChatCompletionsToolDefinition,
    Completions,
    CompletionsFinishReason,
    EmbeddingsResult,
    FunctionCall,
    FunctionDefinition,
    ImageContentItem,
    ImageUrl,
    JsonSchemaFormat,
    StreamingChatCompletions,
    StreamingChatCompletionsUpdate,
    SystemMessage,
    TextContentItem,
    ToolMessage,
    UserMessage,
)

call = ChatCompletionsToolCall(id="1", function=FunctionCall(name="f", arguments="{}"))
tool = ChatCompletionsToolDefinition(function=FunctionDefinition(name="f"))


class Answer(TypedDict):
    text: str


MESSAGES = [
    SystemMessage("s"),
    UserMessage([TextContentItem(text="t"), ImageContentItem(image_url=ImageUrl(url="u"))]),
    AssistantMessage(tool_calls=[call]),
    ToolMessage("r", tool_call_id="1"),
]


def chats() -> None:
    client = ChatCompletionsClient("http://127.0.0.1", AzureKeyCredential("k"), temperature=0.5)
    whole = client.complete(messages=MESSAGES, tools=[tool], model_extras={"top_k": 1})
    assert_type(whole, ChatCompletions)
    assert_type(whole.choices, list[ChatChoice])
    assert_type(whole.choices[0].message.content, str)
    assert_type(whole.choices[0].finish_reason, str | CompletionsFinishReason)
    assert_type(whole.usage.total_tokens, int)
    streamed = client.complete(messages=MESSAGES, stream=True)
    assert_type(streamed, StreamingChatCompletions)
    for update in streamed:
        assert_type(update, StreamingChatCompletionsUpdate)
        assert_type(update.choices[0].delta.content, str | None)
    schema = JsonSchemaFormat(name="n", schema={"type": "object"})
    client.complete(messages=MESSAGES, response_format=JsonSchemaFormat(Answer, strict=False))
    JsonSchemaFormat(name="n")  # type: ignore[call-overload]  # no schema
    client.complete(messages=[{"role": "user", "content": "x"}], response_format=schema)
    client.complete(messages=MESSAGES, warmth=1)  # type: ignore[call-overload]  # no such name
    ImageUrl(uri="u")  # type: ignore[call-arg]  # no such name


def others() -> None:
    assert_type(EmbeddingsClient("u", "k", dimensions=3).embed(input=["a"]), EmbeddingsResult)
    assert_type(CompletionsClient("u").complete(prompt="p", n=2), Completions)
    with Client() as client:
        assert_type(client.chat("hello").choices[0].message.reasoning_content, str | None)
        assert_type(client.stream_chat("hello"), StreamingChatCompletions)


async def asynchronously() -> None:
    async with aio.ChatCompletionsClient("u", "k") as client:
        assert_type(await client.complete(messages=MESSAGES), ChatCompletions)
        async for update in await client.complete(messages=MESSAGES, stream=True):
            assert_type(update, StreamingChatCompletionsUpdate)
    async with AsyncClient() as one:
        assert_type(await one.embed("a"), EmbeddingsResult)
