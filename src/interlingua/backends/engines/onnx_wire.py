"""What goes over the private socket between the server and an ONNX engine: msgpack.

Rules of this file:
- Only these structs cross; a reply of 200 is an :class:`Embeddings`, any other a
  :class:`Failure`.
- A failure keeps its class over the boundary if it is the caller's; whatever else goes wrong
  in an engine is, for the caller, a model that isn't ready.
"""

import msgspec

from interlingua.errors import (
    ApiError,
    ContextLengthExceeded,
    InvalidValue,
    ModelNotReady,
    ParameterNotSupported,
    RateLimited,
)
from interlingua.types.embeddings import ImageInput
from interlingua.types.models import InputType

EMBED = "/embed"
EMBED_IMAGES = "/embed_images"

_Scalar = str | int | float | bool | None
_CROSSING: dict[str, type[ApiError]] = {
    kind.__name__: kind
    for kind in (ContextLengthExceeded, InvalidValue, ParameterNotSupported, RateLimited)
}


class TextCall(msgspec.Struct, frozen=True, kw_only=True):
    """Texts, or lists of token ids, to be embedded; one of the two is empty."""

    texts: tuple[str, ...] = ()
    ids: tuple[tuple[int, ...], ...] = ()
    input_type: InputType | None = None
    dimensions: int | None = None


class ImageCall(msgspec.Struct, frozen=True, kw_only=True):
    """Images as ``data:`` URLs, with or without texts, to be embedded."""

    inputs: tuple[ImageInput, ...]
    input_type: InputType | None = None
    dimensions: int | None = None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An error of the tree: the name of its class and what its author said."""

    kind: str
    message: str
    location: tuple[str | int, ...] = ()
    value: _Scalar = None
    retry_after_s: int | None = None


def write_failure(error: ApiError) -> bytes:
    """The error as the reply's body."""
    value = error.value if isinstance(error.value, _Scalar) else None
    return msgspec.msgpack.encode(
        Failure(
            kind=type(error).__name__,
            message=error.message,
            location=error.location,
            value=value,
            retry_after_s=error.retry_after_s,
        )
    )


def read_failure(body: bytes) -> ApiError:
    """The error that a reply other than 200 states; never raises."""
    try:
        failure = msgspec.msgpack.decode(body, type=Failure)
    except msgspec.DecodeError:
        return ModelNotReady("The model's engine failed at this call. Try it again.")
    kind = _CROSSING.get(failure.kind)
    if kind is None:
        return ModelNotReady(failure.message)
    if kind is RateLimited:
        return RateLimited(failure.message, retry_after_s=failure.retry_after_s or 1)
    return kind(failure.message, location=failure.location, value=failure.value)
