"""What the OpenAPI document says to people: names, summaries, examples. No rule is here."""

from typing import Literal

import msgspec

from interlingua.server.routes import Resource
from interlingua.types.models import Operation

Tag = Literal["Chat", "Embeddings", "Models", "OpenAI", "Server"]


class Words(msgspec.Struct, frozen=True):
    """Of one operation or resource."""

    id: str
    summary: str
    description: str
    tag: Tag


TITLE = "Interlingua"
SUMMARY = "The Azure AI Model Inference API, from models that run here."
DESCRIPTION = (
    "Each top-level parameter is honoured, refused by name, dropped or passed through; nothing is "
    "ignored silently. An operation stands here once for each dialect; `x-also-at` lists its other "
    "paths."
)
TAGS: dict[Tag, str] = {
    "Chat": "",
    "Embeddings": "",
    "Models": "",
    "OpenAI": "The same operations as OpenAI's clients call them.",
    "Server": "",
}
OPENAI = " As OpenAI's clients ask: unknown parameters are dropped and listed."

OPERATIONS: dict[Operation, Words] = {
    "chat_completions": Words(
        "chatCompletions",
        "Chat completions",
        "The next message of a conversation, whole or as server-sent events.",
        "Chat",
    ),
    "completions": Words("completions", "Text completions", "The continuation of a text.", "Chat"),
    "embeddings": Words("embeddings", "Text embeddings", "A vector for each text.", "Embeddings"),
    "image_embeddings": Words(
        "imageEmbeddings", "Image embeddings", "A vector for each image.", "Embeddings"
    ),
    "info": Words("info", "Model info", "Which model answers, and of which type it is.", "Models"),
}
RESOURCES: dict[Resource, Words] = {
    "catalog": Words(
        "catalog", "The catalog", "The deployments, as GitHub Models lists its catalog.", "Models"
    ),
    "models": Words(
        "listModels", "The models", "The deployments, as OpenAI lists models.", "OpenAI"
    ),
    "model": Words(
        "showModel", "One model", "A deployment, as OpenAI describes a model.", "OpenAI"
    ),
    "healthy": Words(
        "healthy", "Healthy?", "What managed online endpoints answer at their root.", "Server"
    ),
    "live": Words("live", "Alive?", "200 while the process lives.", "Server"),
    "ready": Words("ready", "Ready?", "200 when calls are taken, else 503.", "Server"),
    "metrics": Words(
        "metrics", "Metrics", "What the server measures, in Prometheus's text format.", "Server"
    ),
}

#: Parameters in paths.
PATHS = {
    "deployment": "A deployment's name or alias.",
    "endpoint": "An endpoint's or a deployment's name.",
    "model": "A deployment's name or alias, with or without a publisher before it.",
}

_IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAFUlEQVR42mN0a9rCgA0w"
    "MeAAg1MCACyRAYw2dRbXAAAAAElFTkSuQmCC"
)
#: Bodies that the echo model answers, by summary.
EXAMPLES: dict[Operation, dict[str, object]] = {
    "chat_completions": {
        "A question": {
            "messages": [
                {"role": "system", "content": "You answer in one sentence."},
                {"role": "user", "content": "Why is the sky blue?"},
            ],
            "max_tokens": 64,
        },
        "Streamed": {
            "messages": [{"role": "user", "content": "Tell me a story."}],
            "max_tokens": 64,
            "stream": True,
        },
    },
    "completions": {"Continue a text": {"prompt": "Once upon a time", "max_tokens": 32}},
    "embeddings": {
        "Two texts": {"input": ["a cat on a mat", "a dog in the fog"]},
        "Compact": {"input": ["a cat on a mat"], "encoding_format": "base64"},
    },
    "image_embeddings": {"A small image": {"input": [{"image": _IMAGE}]}},
}
