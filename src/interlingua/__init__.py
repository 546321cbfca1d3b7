"""The open, self-hosted home of the Azure AI Model Inference API."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .sdk.clients import (
        ChatCompletionsClient,
        CompletionsClient,
        EmbeddingsClient,
        ImageEmbeddingsClient,
        load_client,
    )
    from .sdk.one_aclient import AsyncClient
    from .sdk.one_client import Client
    from .sdk.replies import HttpRequest

__version__ = "0.1.0"
__all__ = [
    "AsyncClient",
    "ChatCompletionsClient",
    "Client",
    "CompletionsClient",
    "EmbeddingsClient",
    "HttpRequest",
    "ImageEmbeddingsClient",
    "load_client",
]


def __getattr__(name: str) -> object:
    """The SDK, once it is asked for: the server and the command line never load it (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - what stays unused costs nothing

    homes = {"AsyncClient": "one_aclient", "Client": "one_client", "HttpRequest": "replies"}
    home = import_module(f".sdk.{homes.get(name, 'clients')}", __name__)
    globals()[name] = found = getattr(home, name)
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
