"""Vectors in the encodings that ``encoding_format`` names, from packed float32 and back.

The shapes of the last four are Cohere's: the API's specification says only that the element
type follows the format. Pure Python: the server loads no numeric library.
"""

import base64
import binascii
import sys
from array import array
from collections.abc import Sequence
from math import isfinite
from typing import Annotated, assert_never

from msgspec import Meta

from interlingua.errors import UpstreamError
from interlingua.types.models import EncodingFormat

#: What stands for one vector in JSON; msgspec writes bytes as base64.
Encoded = Annotated[
    Sequence[float] | bytes,
    Meta(description="Numbers, whole ones but for float; a text, for base64, of float32."),
]


def encode_vector(vector: bytes, encoding: EncodingFormat) -> Encoded:
    """One vector of little-endian float32 as JSON says it."""
    match encoding:
        case "float":
            return numbers(vector)
        case "base64":
            return vector
        case "int8":
            return _scaled(vector, 0)
        case "uint8":
            return _scaled(vector, 128)
        case "ubinary":
            return list(_bits(vector))
        case "binary":
            return [byte - 128 for byte in _bits(vector)]
        case _:
            assert_never(encoding)


def decode_vector(wire: str | list[float]) -> bytes:
    """The packed vector that a provider sent as numbers or base64.

    Raises:
        UpstreamError: not a vector.
    """
    if isinstance(wire, list):
        packed = array("f", wire)
        if not all(map(isfinite, packed)):
            raise UpstreamError("A vector of the reply holds a number out of range.")
        if sys.byteorder == "big":
            packed.byteswap()
        return packed.tobytes()
    try:
        vector = base64.b64decode(wire, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UpstreamError("A vector of the reply is not base64.") from error
    if len(vector) % 4:
        raise UpstreamError("A vector of the reply is not a whole number of float32.")
    return vector


def numbers(vector: bytes) -> list[float]:
    packed = array("f", vector)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tolist()


def _scaled(vector: bytes, offset: int) -> list[int]:
    """Whole numbers from -127 to 127, the farthest value at one end, moved by ``offset``."""
    values = numbers(vector)
    peak = max(map(abs, values), default=0.0)
    scale = 127 / peak if peak else 0.0
    return [round(value * scale) + offset for value in values]


def _bits(vector: bytes) -> bytes:
    """One bit a value, 1 where it is positive, the first in the highest place."""
    values = numbers(vector)
    size = -(-len(values) // 8)
    bits = "".join(["1" if value > 0 else "0" for value in values]).ljust(size * 8, "0")
    return int(bits or "0", 2).to_bytes(size, "big")
