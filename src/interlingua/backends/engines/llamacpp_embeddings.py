"""Text embeddings by llama.cpp's server."""

import base64
import math
import re
import sys
from array import array
from collections.abc import Sequence

from interlingua.catalog.card import TextEmbedding
from interlingua.errors import (
    ContextLengthExceeded,
    InvalidValue,
    ParameterNotSupported,
    UpstreamError,
)
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest
from interlingua.types.usage import Usage

from .llamacpp_client import LlamaServer

#: Inputs of one engine call: a call can be cancelled between two.
_AT_ONCE = 32
#: The opening and closing tokens that a text may get.
_ENDS = 2


class EmbeddingEngine:
    """Embeds texts with one model, as its card says."""

    def __init__(
        self,
        server: LlamaServer,
        *,
        how: TextEmbedding,
        control: re.Pattern[str] | None,
        vocabulary: int | None,
    ) -> None:
        self._server = server
        self._how = how
        self._control = control
        self._vocabulary = vocabulary

    async def answer(self, request: EmbeddingsRequest) -> Embeddings:
        """One vector an input.

        Raises:
            ParameterNotSupported: an input type that the model has no prefix for.
            ContextLengthExceeded: an input is too long, and the card says refuse.
            InvalidValue: an input is empty, or isn't of this model's token ids.
        """
        prefix = self._prefix(request)
        vectors: list[bytes] = []
        used = 0
        for start in range(0, len(request.inputs), _AT_ONCE):
            part: Sequence[str | tuple[int, ...]] = request.inputs[start : start + _AT_ONCE]
            ready = [await self._ready(text, prefix, start + i) for i, text in enumerate(part)]
            reply = await self._server.embed(ready)
            used += reply.usage.prompt_tokens
            if len(reply.data) != len(ready):
                raise UpstreamError("The engine gave another number of vectors than of inputs.")
            found = sorted(reply.data, key=lambda vector: vector.index)
            vectors += [base64.b64decode(vector.embedding) for vector in found]
        if request.dimensions is not None:
            vectors = [shortened(vector, request.dimensions) for vector in vectors]
        return Embeddings(vectors=tuple(vectors), usage=Usage(prompt_tokens=used))

    def _prefix(self, request: EmbeddingsRequest) -> str:
        kind = request.input_type
        if kind is None or (kind == "text" and kind not in self._how.prefixes):
            return ""
        prefix = self._how.prefixes.get(kind)
        if prefix is None:
            raise ParameterNotSupported(
                f"This model makes no difference for input_type '{kind}'; 'text' is supported.",
                location=("body", "input_type"),
                value=kind,
            )
        return prefix

    async def _ready(
        self, given: str | tuple[int, ...], prefix: str, place: int
    ) -> str | list[int]:
        """The input as the engine takes it: short enough, and without control tokens."""
        if isinstance(given, str):
            text = prefix + given
            # A token is at least one byte, so most texts need no counting.
            fits = len(text.encode()) + _ENDS <= self._how.max_tokens
            if fits and not (self._control and self._control.search(text)):
                return text
            ids = await self._server.tokenize(text, control=False, begin=True)
        else:
            ids = self._checked(given, place)
        if not ids:
            raise InvalidValue("An input is empty.", location=("body", "input", place))
        if len(ids) <= self._how.max_tokens:
            return ids
        if self._how.too_long == "refuse":
            raise ContextLengthExceeded(
                f"The input has {len(ids)} tokens, and this model takes at most "
                f"{self._how.max_tokens}.",
                location=("body", "input", place),
            )
        # The last one closes the text where the model has such a token.
        return [*ids[: self._how.max_tokens - 1], ids[-1]]

    def _checked(self, ids: tuple[int, ...], place: int) -> list[int]:
        for token in ids:
            if token < 0 or (self._vocabulary is not None and token >= self._vocabulary):
                raise InvalidValue(
                    f"{token} is not a token id of this model, which has {self._vocabulary}.",
                    location=("body", "input", place),
                )
        return list(ids)


def shortened(vector: bytes, length: int) -> bytes:
    """The first ``length`` values of a little-endian float32 vector, at length 1 again."""
    values = array("f", vector[: 4 * length])
    if sys.byteorder == "big":
        values.byteswap()
    norm = math.sqrt(sum(value * value for value in values))
    if norm > 0:
        values = array("f", [value / norm for value in values])
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()
