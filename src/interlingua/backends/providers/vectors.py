"""Vectors that come in several replies, or in an encoding of the provider's own."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from msgspec.structs import replace

from interlingua.dialects.encodings import numbers
from interlingua.errors import UpstreamError
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest, ImageEmbeddingsRequest
from interlingua.types.models import EncodingFormat
from interlingua.types.usage import Usage

Request = TypeVar("Request", EmbeddingsRequest, ImageEmbeddingsRequest)

#: Encodings of whole numbers, with their least and most.
_WHOLE: dict[EncodingFormat, tuple[int, int]] = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "binary": (-128, 127),
    "ubinary": (0, 255),
}


def pieces(request: Request, most: int | None) -> Iterator[Request]:
    """The request in calls of at most so many inputs, in order."""
    if most is None or len(request.inputs) <= most:
        yield request
        return
    for place in range(0, len(request.inputs), most):
        yield replace(request, inputs=request.inputs[place : place + most])


def joined(made: Sequence[Embeddings]) -> Embeddings:
    """All vectors in order, and what they used together."""
    if len(made) == 1:
        return made[0]
    vectors = tuple(vector for each in made for vector in each.vectors)
    if len(set(map(len, vectors))) > 1:
        raise UpstreamError("The replies to one request have vectors of several lengths.")
    return Embeddings(
        vectors=vectors, usage=Usage(prompt_tokens=sum(each.usage.prompt_tokens for each in made))
    )


def told(embeddings: Embeddings, encoding: EncodingFormat | None) -> Embeddings:
    """The vectors, which are the provider's own in that encoding where it is one of whole
    numbers.

    Raises:
        UpstreamError: they can't be.
    """
    if encoding not in _WHOLE:
        return embeddings
    least, most = _WHOLE[encoding]
    for vector in embeddings.vectors:
        values = numbers(vector)
        whole = all(map(float.is_integer, values))
        if not whole or min(values) < least or max(values) > most:
            raise UpstreamError(f"A vector of the reply is not {encoding}.")
    return replace(embeddings, encoding=encoding)
