"""Where the parts of a GGUF file are, for whoever rewrites it.

Source: the GGUF specification (ggml repository, docs/gguf.md), and ggml.h for the types.
"""

import msgspec

#: Type number of a tensor → values in a block, bytes of a block. One that isn't here is
#: newer than this table: its place is checked, its size is left to llama.cpp.
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    9: (32, 40), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4),
    27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66),
    39: (32, 17), 40: (64, 36), 41: (128, 18),
}  # fmt: skip


class GgufTensor(msgspec.Struct, frozen=True, kw_only=True):
    """Where one tensor is."""

    name: str
    #: The innermost first, as the file has them.
    dimensions: tuple[int, ...]
    #: The type's number, as in ``BLOCKS``.
    kind: int
    #: Its first byte, counted from the start of the tensors.
    offset: int
    #: 0 where the type isn't in ``BLOCKS``.
    size_bytes: int


class GgufLayout(msgspec.Struct, frozen=True, kw_only=True):
    """Where the parts of a GGUF file are, in bytes from its start, for whoever rewrites it."""

    #: The value of ``general.file_type``; ``None``: the file has no such field.
    file_type_at: int | None
    #: The descriptions of the tensors; before them are the fields.
    descriptions_at: int
    tensors_at: int
    alignment: int
    tensors: tuple[GgufTensor, ...]
