"""The clients, asynchronous, under the names of azure.ai.inference.aio."""

from .sdk.aclients import (
    ChatCompletionsClient,
    CompletionsClient,
    EmbeddingsClient,
    ImageEmbeddingsClient,
    load_client,
)
from .sdk.one_aclient import AsyncClient as Client

__all__ = [
    "ChatCompletionsClient",
    "Client",
    "CompletionsClient",
    "EmbeddingsClient",
    "ImageEmbeddingsClient",
    "load_client",
]
