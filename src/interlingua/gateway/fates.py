"""What becomes of each parameter at a deployment, told before anybody asks.

It says what :mod:`.negotiate` would do, from the same data; a test holds them together.
"""

from typing import Literal

import msgspec

from interlingua.types.chat import ChatRequest
from interlingua.types.completions import CompletionRequest
from interlingua.types.embeddings import EmbeddingsRequest, ImageEmbeddingsRequest
from interlingua.types.models import Capabilities, Operation

from .negotiate import NOT_PARAMETERS

#: Engines' own, which reach providers only as names that nobody here knows.
_ENGINES_OWN = ("top_k", "min_p", "repetition_penalty")


class Fate(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happens to one parameter."""

    state: Literal["honoured", "renamed", "refused"]
    #: The provider's own name for it.
    to: str | None = None
    #: The values that it may have, where not all.
    values: tuple[str, ...] = ()


def _names(kind: type[msgspec.Struct], *more: str) -> tuple[str, ...]:
    left_out = (*NOT_PARAMETERS, *_ENGINES_OWN)
    return (*(name for name in kind.__struct_fields__ if name not in left_out), *more)


#: The parameters that the API knows, by operation.
PARAMETERS: dict[Operation, tuple[str, ...]] = {
    "chat_completions": _names(ChatRequest, "max_completion_tokens"),
    "completions": _names(CompletionRequest),
    "embeddings": _names(EmbeddingsRequest),
    "image_embeddings": _names(ImageEmbeddingsRequest),
}


def fates(can: Capabilities, operation: Operation) -> dict[str, Fate]:
    """What happens to each parameter of an operation, by its name on the wire."""
    return {name: _fate(can, operation, name) for name in PARAMETERS.get(operation, ())}


def _fate(can: Capabilities, operation: Operation, name: str) -> Fate:
    renames = (can.renames or {}) if operation == "chat_completions" else {}
    known = "max_tokens" if name == "max_completion_tokens" else name
    listed = can.parameters is None or known in can.parameters or known in (can.extensions or ())
    if name in renames:
        return Fate("renamed", to=renames[name]) if listed else Fate("refused")
    if not listed or name in (can.refuses or ()):
        return Fate("refused")
    return Fate("honoured", values=_values(can, name))


def _values(can: Capabilities, name: str) -> tuple[str, ...]:
    match name:
        case "response_format":
            return tuple(sorted(can.response_formats or ()))
        case "dimensions" if can.dimensions is not None:
            own = {can.embedding_length} if can.embedding_length else set[int]()
            return tuple(str(length) for length in sorted(can.dimensions | own))
        case "encoding_format":
            return tuple(sorted(can.encoding_formats or ()))
        case "input_type":
            return tuple(sorted(can.input_types or ()))
        case _:
            return ()
