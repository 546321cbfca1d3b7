"""langchain-azure-ai: its models of the inference API, and those of the OpenAI API."""

import asyncio
import json

from cases import KEY, URL, case, run_all
from langchain_azure_ai.chat_models import AzureAIOpenAIApiChatModel
from langchain_azure_ai.chat_models.inference import AzureAIChatCompletionsModel
from langchain_azure_ai.embeddings import AzureAIOpenAIApiEmbeddingsModel
from langchain_azure_ai.embeddings.inference import AzureAIEmbeddingsModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

ASK = [SystemMessage("You answer briefly."), HumanMessage("Name the capital of France.")]


@tool
def get_weather(city: str) -> str:
    """Get the weather of a city."""
    return f"Sunny in {city}"


class Capital(BaseModel):
    """The capital of a country."""

    country: str
    capital: str


def chat(path: str = "", **options: object) -> AzureAIChatCompletionsModel:
    # A temperature of 0 is left out by this client, as if it were none.
    return AzureAIChatCompletionsModel(
        endpoint=URL + path, credential=KEY, temperature=0.01, max_tokens=100, **options
    )


@case("chat", "chat, named and by /info")
def chats() -> None:
    assert "Paris" in chat(model="smollm2").invoke(ASK).content
    by_info = chat("/models").invoke(ASK)
    assert "Paris" in by_info.content
    assert by_info.usage_metadata["total_tokens"] > 0
    assert by_info.response_metadata["model"] == "smollm2"


@case("chat", "chat, asynchronous")
async def chats_async() -> None:
    assert "Paris" in (await chat(model="smollm2").ainvoke(ASK)).content


@case("stream", "a stream, and an asynchronous one")
async def streams() -> None:
    model = chat(model="smollm2")
    whole = model.invoke(ASK).content
    pieces = [piece.content for piece in model.stream(ASK)]
    assert "".join(pieces) == whole
    assert len(pieces) > 3
    assert "".join([piece.content async for piece in model.astream(ASK)]) == whole


@case("tools", "a forced tool, whole and streamed, its result given back")
def tools() -> None:
    question = HumanMessage("What is the weather in Paris?")
    forced = chat(model="smollm2").bind_tools([get_weather], tool_choice="any")
    (call,) = forced.invoke([question]).tool_calls
    assert call["name"] == "get_weather"
    assert set(call["args"]) == {"city"}
    pieces = list(forced.stream([question]))
    joined = pieces[0]
    for piece in pieces[1:]:
        joined += piece
    assert joined.tool_calls[0]["args"] == call["args"]
    history = [
        question,
        AIMessage("", tool_calls=[call]),
        ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"], name="get_weather"),
    ]
    assert chat(model="smollm2").invoke(history).content


@case("structured", "structured output by a JSON schema and by a function")
def structured() -> None:
    for method in ("json_schema", "function_calling"):
        bound = chat(model="smollm2").with_structured_output(Capital, method=method)
        assert isinstance(bound.invoke(ASK), Capital), method


@case("extras", "model_kwargs are passed through to the engine")
def extras() -> None:
    assert chat(model="smollm2", model_kwargs={"top_k": 1}).invoke(ASK).content


@case("embeddings", "embeddings of documents and of a query")
async def embeds() -> None:
    model = AzureAIEmbeddingsModel(endpoint=URL, credential=KEY, model="minilm")
    assert [len(v) for v in model.embed_documents(["one", "two"])] == [384, 384]
    assert len(model.embed_query("one")) == 384
    assert len(await model.aembed_query("one")) == 384
    by_info = AzureAIEmbeddingsModel(endpoint=f"{URL}/endpoints/minilm", credential=KEY)
    assert len(by_info.embed_query("one")) == 384


@case("chat", "chat, stream and a forced tool of AzureAIOpenAIApiChatModel")
def openai_chats() -> None:
    model = AzureAIOpenAIApiChatModel(
        endpoint=f"{URL}/openai/v1",
        credential=KEY,
        model="smollm2",
        temperature=0,
        max_tokens=100,
        use_responses_api=False,
    )
    whole = model.invoke(ASK).content
    assert "Paris" in whole
    assert "".join(piece.content for piece in model.stream(ASK)) == whole
    forced = model.bind_tools([get_weather], tool_choice="any")
    (call,) = forced.invoke("What is the weather in Paris?").tool_calls
    assert set(json.loads(json.dumps(call["args"]))) == {"city"}


@case("embeddings", "embeddings of AzureAIOpenAIApiEmbeddingsModel")
def openai_embeds() -> None:
    model = AzureAIOpenAIApiEmbeddingsModel(
        endpoint=f"{URL}/openai/v1",
        credential=KEY,
        model="minilm",
        # Counting tokens as OpenAI does would fetch a table of theirs.
        check_embedding_ctx_length=False,
    )
    assert len(model.embed_query("one")) == 384


asyncio.run(run_all())
