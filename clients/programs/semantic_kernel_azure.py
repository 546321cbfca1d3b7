"""Semantic Kernel: its azure_ai_inference connector, which takes https addresses only."""

import asyncio

from cases import KEY, URL, case, run_all
from semantic_kernel import Kernel
from semantic_kernel.connectors.ai.azure_ai_inference import (
    AzureAIInferenceChatCompletion,
    AzureAIInferenceChatPromptExecutionSettings,
    AzureAIInferenceTextEmbedding,
)
from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
from semantic_kernel.contents import ChatHistory, FunctionCallContent
from semantic_kernel.functions import kernel_function


class Weather:
    @kernel_function(description="Get the weather of a city")
    def get_weather(self, city: str) -> str:
        return f"Sunny in {city}"


def model() -> AzureAIInferenceChatCompletion:
    return AzureAIInferenceChatCompletion(
        ai_model_id="smollm2", endpoint=f"{URL}/models", api_key=KEY
    )


def asking(text: str = "Name the capital of France.") -> ChatHistory:
    history = ChatHistory(system_message="You answer briefly.")
    history.add_user_message(text)
    return history


def settings(**more: object) -> AzureAIInferenceChatPromptExecutionSettings:
    return AzureAIInferenceChatPromptExecutionSettings(max_tokens=100, temperature=0.01, **more)


@case("chat", "chat")
async def chats() -> None:
    (answer,) = await model().get_chat_message_contents(asking(), settings())
    assert "Paris" in answer.content


@case("stream", "a stream")
async def streams() -> None:
    text, pieces = "", 0
    async for (piece,) in model().get_streaming_chat_message_contents(asking(), settings()):
        text += piece.content or ""
        pieces += 1
    assert "Paris" in text
    assert pieces > 3


@case("tools", "a required tool")
async def tools() -> None:
    kernel = Kernel()
    kernel.add_plugin(Weather(), "weather")
    required = FunctionChoiceBehavior.Required(auto_invoke=False)
    (answer,) = await model().get_chat_message_contents(
        asking("What is the weather in Paris?"),
        settings(function_choice_behavior=required),
        kernel=kernel,
    )
    (call,) = (item for item in answer.items if isinstance(item, FunctionCallContent))
    assert call.name == "weather-get_weather"
    assert set(call.parse_arguments()) == {"city"}


@case("extras", "extra parameters are passed through")
async def extras() -> None:
    passed = settings(extra_parameters={"top_k": 1})
    (answer,) = await model().get_chat_message_contents(asking(), passed)
    assert answer.content


@case("embeddings", "embeddings")
async def embeds() -> None:
    texts = AzureAIInferenceTextEmbedding(
        ai_model_id="minilm", endpoint=f"{URL}/models", api_key=KEY
    )
    vectors = await texts.generate_embeddings(["one", "two"])
    assert vectors.shape == (2, 384)


asyncio.run(run_all())
