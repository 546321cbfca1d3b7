"""Request × capabilities × policy → a request that the backend can honour, and what changed.

Written in full with its tests; the signatures below are what its callers rely on.
"""

from typing import TypeVar

import msgspec

from interlingua.types.chat import ChatRequest
from interlingua.types.completions import CompletionRequest
from interlingua.types.embeddings import EmbeddingsRequest, ImageEmbeddingsRequest
from interlingua.types.models import Capabilities, ExtraParameters

Request = TypeVar(
    "Request", ChatRequest, CompletionRequest, EmbeddingsRequest, ImageEmbeddingsRequest
)


class Changes(msgspec.Struct, frozen=True):
    """What was done to a request's top-level parameters."""

    dropped: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    passed: tuple[str, ...] = ()

    def header(self) -> str | None:
        """The value of ``x-interlingua-changes``; ``None`` when nothing changed."""
        raise NotImplementedError


def negotiate(
    request: Request, can: Capabilities, policy: ExtraParameters | None
) -> tuple[Request, Changes]:
    """The request as this deployment can honour it, and what was changed."""
    raise NotImplementedError
