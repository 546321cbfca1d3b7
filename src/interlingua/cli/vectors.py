"""Vectors as they came, as JSON, or in NumPy's own format without NumPy.

Source of the format: NumPy, ``numpy.lib.format``, version 1.0.
"""

import base64
import struct
from collections.abc import Sequence

import msgspec

from interlingua.errors import UpstreamError
from interlingua.models import EmbeddingsResult
from interlingua.types.embeddings import Embeddings
from interlingua.types.usage import Usage

_MAGIC = b"\x93NUMPY\x01\x00"


def read(result: EmbeddingsResult, inputs: int) -> Embeddings:
    """The vectors of a reply, one an input, in order, as float32.

    Raises:
        UpstreamError: not the reply to a call with this many inputs.
    """
    try:
        items = sorted(result.data, key=lambda item: item.index)
        vectors = tuple(_packed(item.embedding) for item in items)
        used = Usage(prompt_tokens=result.usage.prompt_tokens)
    except (TypeError, ValueError, AttributeError, struct.error) as error:
        raise UpstreamError(f"the vectors make no sense: {error}") from error
    if len(vectors) != inputs:
        raise UpstreamError(f"{len(vectors)} vectors came back for {inputs} inputs")
    return Embeddings(vectors=vectors, usage=used)


def _packed(embedding: str | Sequence[float]) -> bytes:
    if isinstance(embedding, str):
        return base64.b64decode(embedding, validate=True)
    return struct.pack(f"<{len(embedding)}f", *embedding)


def as_json(embeddings: Embeddings, model: str | None) -> bytes:
    """One line: the vectors in the order of their inputs, and what they used."""
    answer = {
        "model": model,
        "embeddings": [struct.unpack(f"<{len(v) // 4}f", v) for v in embeddings.vectors],
        "usage": {
            "prompt_tokens": embeddings.usage.prompt_tokens,
            "total_tokens": embeddings.usage.total_tokens,
        },
    }
    return msgspec.json.encode(answer) + b"\n"


def as_npy(vectors: Sequence[bytes]) -> bytes:
    """A float32 array, one row a vector.

    Raises:
        UpstreamError: the vectors are not of one length.
    """
    lengths = {len(vector) for vector in vectors}
    if len(lengths) > 1:
        raise UpstreamError(
            f"the vectors are of different lengths ({sorted(n // 4 for n in lengths)}), "
            "which a .npy file can't hold: write .json instead"
        )
    shape = (len(vectors), lengths.pop() // 4 if lengths else 0)
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    # The data begin at a multiple of 64, so that the file can be mapped into memory.
    header += " " * (-(len(_MAGIC) + 2 + len(header) + 1) % 64) + "\n"
    return _MAGIC + struct.pack("<H", len(header)) + header.encode("latin-1") + b"".join(vectors)
