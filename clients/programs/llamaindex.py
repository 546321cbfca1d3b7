"""LlamaIndex: its Azure inference models for chat and for embeddings."""

import asyncio

from cases import KEY, URL, case, run_all
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.azure_inference import AzureAIEmbeddingsModel
from llama_index.llms.azure_inference import AzureAICompletionsModel

ASK = [
    ChatMessage(role="system", content="You answer briefly."),
    ChatMessage(role="user", content="Name the capital of France."),
]


def get_weather(city: str) -> str:
    """Get the weather of a city."""
    return f"Sunny in {city}"


def model(**options: object) -> AzureAICompletionsModel:
    return AzureAICompletionsModel(
        endpoint=URL, credential=KEY, temperature=0, max_tokens=100, **options
    )


@case("info", "/info makes it a chat model")
def info() -> None:
    metadata = model().metadata
    assert metadata.is_chat_model
    assert metadata.model_name == "smollm2"


@case("chat", "chat and complete, both ways")
async def chats() -> None:
    assert "Paris" in model(model_name="smollm2").chat(ASK).message.content
    assert "Paris" in (await model().achat(ASK)).message.content
    assert "Paris" in model().complete("Name the capital of France.").text


@case("stream", "streams, both ways")
async def streams() -> None:
    whole = model().chat(ASK).message.content
    pieces = [piece.delta or "" for piece in model().stream_chat(ASK)]
    assert "".join(pieces) == whole
    assert len(pieces) > 3
    stream = await model().astream_chat(ASK)
    assert "".join([piece.delta or "" async for piece in stream]) == whole


@case("tools", "a tool that is required")
def tools() -> None:
    made = FunctionTool.from_defaults(fn=get_weather)
    llm = model()
    said = llm.chat_with_tools([made], "What is the weather in Paris?", tool_required=True)
    (call,) = llm.get_tool_calls_from_response(said)
    assert call.tool_name == "get_weather"
    assert set(call.tool_kwargs) == {"city"}


@case("embeddings", "embeddings, both ways")
async def embeds() -> None:
    texts = AzureAIEmbeddingsModel(endpoint=f"{URL}/endpoints/minilm", credential=KEY)
    assert len(texts.get_text_embedding("one")) == 384
    assert len(texts.get_text_embedding_batch(["one", "two"])) == 2
    assert len(await texts.aget_query_embedding("one")) == 384
    named = AzureAIEmbeddingsModel(endpoint=URL, credential=KEY, model_name="minilm")
    assert len(named.get_text_embedding("one")) == 384


asyncio.run(run_all())
