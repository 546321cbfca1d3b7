"""What a GGUF file says of itself, read without trusting a single length in it.

Rules of this file:
- Every count, length and offset is compared with what the file has before it is used;
  nothing is allocated by a number from the file. llama.cpp refuses a bad file without a
  reason: the reason is found here.
- Arrays are walked, not decoded; of a vocabulary only the control tokens are kept.

Source: the GGUF specification (ggml repository, docs/gguf.md), versions 2 and 3.
"""

import math
import mmap
import re
import struct
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from interlingua.errors import ModelFileError

from .gguf_layout import BLOCKS, GgufLayout, GgufTensor

MAX_FIELDS = 1 << 16
MAX_TENSORS = 1 << 17
MAX_STRINGS = 1 << 22
MAX_KEY_BYTES = 1 << 16
MAX_KEPT_STRING_BYTES = 4 << 20
MAX_ALIGNMENT = 1 << 16
MAX_DIMENSIONS = 4

#: Type number of a value → its struct code. 8 is a string, 9 an array.
_SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_UINT32, _STRING, _ARRAY = 4, 8, 9
_SIZES = {kind: struct.calcsize("<" + code) for kind, code in _SCALARS.items()}

_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
#: llama.cpp makes control tokens of ``<|…|>`` names that end a turn, whatever their type.
_LOOKS_SPECIAL = re.compile(r"<.+>|\[.+\]", re.DOTALL)
_POOLINGS = {0: "none", 1: "mean", 2: "cls", 3: "last", 4: "rank"}


class GgufHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a GGUF file that is whole. ``None``: the file doesn't say."""

    architecture: str
    name: str | None
    license: str | None
    context_length: int | None
    block_count: int | None
    embedding_length: int | None
    head_count: int | None
    #: The largest of the layers', where they differ.
    head_count_kv: int | None
    key_length: int | None
    value_length: int | None
    chat_template: str | None
    #: Texts that the tokenizer would turn into control tokens.
    control_tokens: tuple[str, ...]
    vocabulary_size: int | None
    bos_token_id: int | None
    eos_token_id: int | None
    add_bos: bool | None
    #: none, mean, cls, last or rank: set by embedding models.
    pooling: str | None
    version: int
    tensor_count: int
    size_bytes: int


class _Bad(Exception):
    """What is wrong with the file, for the message."""


class _Strings(msgspec.Struct, frozen=True):
    """An array of strings that was walked: where each begins (at its length)."""

    offsets: Sequence[int]


class _Numbers(msgspec.Struct, frozen=True):
    """An array of numbers that was skipped: where it is."""

    kind: int
    count: int
    offset: int


_Value = int | float | bool | str | _Strings | _Numbers | None


def read_gguf(path: Path) -> GgufHeader:
    """The header, once the whole file was found consistent. Takes milliseconds.

    Raises:
        ModelFileError: it can't be opened or isn't a whole GGUF; names the file, what is
            wrong and the remedy.
    """
    with _opened(path) as reader:
        return reader.header()


def read_layout(path: Path) -> GgufLayout:
    """Where the parts of the file are, once it was found consistent.

    Raises:
        ModelFileError: as ``read_gguf``.
    """
    with _opened(path) as reader:
        reader.header()
        return reader.layout()


@contextmanager
def _opened(path: Path) -> "Iterator[_Reader]":
    """A reader of the file; what it finds wrong is told with the file's name."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            # An empty file can't be mapped; the reader tells what is wrong with a short one.
            if size == 0:
                yield _Reader(b"", 0)
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield _Reader(data, size)
    except _Bad as error:
        raise ModelFileError(
            f"{path} isn't a usable GGUF file: {error}. Download it again, or name another file"
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ModelFileError(f"{path} can't be read: {reason}. Check the path") from error


class _Reader:
    """Walks the file once, from the front."""

    def __init__(self, data: mmap.mmap | bytes, size: int) -> None:
        self.data = data
        self.size = size
        self.at = 0
        self.fields: dict[str, _Value] = {}
        self.file_type_at: int | None = None
        self.descriptions_at = self.tensors_at = 0
        self.alignment = 32
        self.tensors: tuple[GgufTensor, ...] = ()

    def header(self) -> GgufHeader:
        version = self._version()
        tensors, fields = self._number("Q"), self._number("Q")
        if fields > MAX_FIELDS or tensors > MAX_TENSORS:
            raise _Bad(f"its header claims {fields} fields and {tensors} tensors")
        for _ in range(fields):
            self._field()
        self.descriptions_at = self.at
        if tensors:
            self._tensors(tensors)
        return self._facts(version, tensors)

    def layout(self) -> GgufLayout:
        """Where what ``header`` walked over is."""
        return GgufLayout(
            file_type_at=self.file_type_at,
            descriptions_at=self.descriptions_at,
            tensors_at=self.tensors_at,
            alignment=self.alignment,
            tensors=self.tensors,
        )

    def _version(self) -> int:
        magic = self.data[:4]
        if magic != b"GGUF":
            raise _Bad(_what_else(self.data[:64]))
        self.at = 4
        version = self._number("I")
        if version & 0xFFFF == 0:
            raise _Bad("it is in big-endian byte order")
        if version not in (2, 3):
            raise _Bad(f"it is of GGUF version {version}, and versions 2 and 3 are understood")
        return version

    def _number(self, code: str) -> int:
        value = self._scalar(code)
        assert isinstance(value, int)
        return value

    def _scalar(self, code: str) -> int | float | bool:
        end = self.at + struct.calcsize("<" + code)
        if end > self.size:
            raise _Bad(_cut(self.size))
        (value,) = struct.unpack_from("<" + code, self.data, self.at)
        self.at = end
        assert isinstance(value, int | float)
        return value

    def _text(self, limit: int, what: str) -> str:
        length = self._number("Q")
        if length > self.size - self.at:
            raise _Bad(_cut(self.size))
        if length > limit:
            raise _Bad(f"{what} has {length} bytes")
        raw = self.data[self.at : self.at + length]
        self.at += length
        return raw.decode("utf-8", "replace")

    def _field(self) -> None:
        key = self._text(MAX_KEY_BYTES, "a field's name")
        if key in self.fields:
            raise _Bad(f"it has the field {key!r} twice")
        kind = self._number("I")
        if key == "general.file_type" and kind == _UINT32:
            self.file_type_at = self.at
        if kind in _SCALARS:
            self.fields[key] = self._scalar(_SCALARS[kind])
        elif kind == _STRING:
            self.fields[key] = self._text(MAX_KEPT_STRING_BYTES, f"its field {key!r}")
        elif kind == _ARRAY:
            self.fields[key] = self._array(key)
        else:
            raise _Bad(f"its field {key!r} is of an unknown type, {kind}")

    def _array(self, key: str) -> _Value:
        kind, count = self._number("I"), self._number("Q")
        if kind == _STRING:
            return self._strings(key, count)
        if kind not in _SIZES:
            raise _Bad(f"its field {key!r} is an array of an unknown type, {kind}")
        if count * _SIZES[kind] > self.size - self.at:
            raise _Bad(_cut(self.size))
        numbers = _Numbers(kind, count, self.at)
        self.at += count * _SIZES[kind]
        return numbers

    def _strings(self, key: str, count: int) -> _Strings | None:
        """Step over an array of strings; only of the tokens are the places kept."""
        if count * 8 > self.size - self.at:
            raise _Bad(_cut(self.size))
        if count > MAX_STRINGS:
            raise _Bad(f"its field {key!r} claims {count} strings")
        keep = key == "tokenizer.ggml.tokens"
        offsets = array("Q")
        unpack = struct.Struct("<Q").unpack_from
        data, at, last = self.data, self.at, self.size - 8
        for _ in range(count):
            if at > last:
                raise _Bad(_cut(self.size))
            if keep:
                offsets.append(at)
            at += 8 + unpack(data, at)[0]
        if at > self.size:
            raise _Bad(_cut(self.size))
        self.at = at
        return _Strings(offsets) if keep else None

    def _tensors(self, count: int) -> None:
        """Check that every tensor lies inside the file."""
        alignment = self.fields.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 1 <= alignment <= MAX_ALIGNMENT:
            raise _Bad(f"its alignment is {alignment!r}")
        if alignment & (alignment - 1):
            raise _Bad(f"its alignment, {alignment}, isn't a power of two")
        self.alignment = alignment
        self.tensors = tuple(self._tensor(alignment) for _ in range(count))
        self.tensors_at = -(-self.at // alignment) * alignment
        need = self.tensors_at + max(each.offset + each.size_bytes for each in self.tensors)
        if need > self.size:
            raise _Bad(f"it is cut short: its tensors end at byte {need}, the file at {self.size}")

    def _tensor(self, alignment: int) -> GgufTensor:
        name = self._text(MAX_KEY_BYTES, "a tensor's name")
        rank = self._number("I")
        if rank > MAX_DIMENSIONS:
            raise _Bad(f"its tensor {name!r} has {rank} dimensions")
        dimensions = tuple(self._number("Q") for _ in range(rank))
        values = math.prod(dimensions)
        kind, offset = self._number("I"), self._number("Q")
        if offset % alignment:
            raise _Bad(
                f"its tensor {name!r} begins at byte {offset}, not a multiple of {alignment}"
            )
        per_block, block_bytes = BLOCKS.get(kind, (1, 0))
        if values % per_block:
            raise _Bad(f"its tensor {name!r} has {values} values, not a multiple of {per_block}")
        return GgufTensor(
            name=name,
            dimensions=dimensions,
            kind=kind,
            offset=offset,
            size_bytes=values // per_block * block_bytes,
        )

    def _facts(self, version: int, tensors: int) -> GgufHeader:
        architecture = self._string("general.architecture")
        if not architecture:
            raise _Bad("it doesn't name its architecture")
        of_model = f"{architecture}.attention."
        tokens = self.fields.get("tokenizer.ggml.tokens")
        pooling = self._integer(f"{architecture}.pooling_type")
        return GgufHeader(
            architecture=architecture,
            name=self._string("general.name"),
            license=self._string("general.license"),
            context_length=self._integer(f"{architecture}.context_length"),
            block_count=self._integer(f"{architecture}.block_count"),
            embedding_length=self._integer(f"{architecture}.embedding_length"),
            head_count=self._integer(f"{of_model}head_count"),
            head_count_kv=self._integer(f"{of_model}head_count_kv"),
            key_length=self._integer(f"{of_model}key_length"),
            value_length=self._integer(f"{of_model}value_length"),
            chat_template=self._string("tokenizer.chat_template"),
            control_tokens=self._control_tokens(),
            vocabulary_size=len(tokens.offsets) if isinstance(tokens, _Strings) else None,
            bos_token_id=self._integer("tokenizer.ggml.bos_token_id"),
            eos_token_id=self._integer("tokenizer.ggml.eos_token_id"),
            add_bos=self._boolean("tokenizer.ggml.add_bos_token"),
            pooling=_POOLINGS.get(pooling) if pooling is not None else None,
            version=version,
            tensor_count=tensors,
            size_bytes=self.size,
        )

    def _string(self, key: str) -> str | None:
        value = self.fields.get(key)
        return value if isinstance(value, str) else None

    def _boolean(self, key: str) -> bool | None:
        value = self.fields.get(key)
        return value if isinstance(value, bool) else None

    def _integer(self, key: str) -> int | None:
        """A number, or the largest of one a layer."""
        value = self.fields.get(key)
        if isinstance(value, _Numbers):
            return max(self._integers(value, MAX_FIELDS), default=None)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def _integers(self, numbers: _Numbers, limit: int) -> tuple[int, ...]:
        code = _SCALARS[numbers.kind]
        if code in "fd?" or numbers.count > limit:
            return ()
        values: tuple[int, ...] = struct.unpack_from(
            f"<{numbers.count}{code}", self.data, numbers.offset
        )
        return values

    def _control_tokens(self) -> tuple[str, ...]:
        tokens = self.fields.get("tokenizer.ggml.tokens")
        types = self.fields.get("tokenizer.ggml.token_type")
        if not isinstance(tokens, _Strings) or not isinstance(types, _Numbers):
            return ()
        if types.count != len(tokens.offsets):
            raise _Bad(f"it has {len(tokens.offsets)} tokens and {types.count} token types")
        found: list[str] = []
        for offset, kind in zip(tokens.offsets, self._integers(types, MAX_STRINGS), strict=False):
            if kind == _NORMAL and self.data[offset + 8 : offset + 10] != b"<|":
                continue
            text = self._token(offset) if kind in (_NORMAL, _CONTROL, _USER_DEFINED) else ""
            if text and (kind == _CONTROL or _LOOKS_SPECIAL.fullmatch(text)):
                found.append(text)
        return tuple(found)

    def _token(self, offset: int) -> str:
        (length,) = struct.unpack_from("<Q", self.data, offset)
        return self.data[offset + 8 : offset + 8 + min(length, 256)].decode("utf-8", "replace")


def _cut(size: int) -> str:
    return f"it is cut short or damaged: its header goes beyond its {size} bytes"


#: First bytes of what is often taken for a model, and what it is.
_IMPOSTORS = (
    (b"version https://git-lfs", "it is a Git LFS pointer, not the file that it points to"),
    (b"<", "it is a text (an error page, perhaps)"),
    (b"{", "it is a text (an error message, perhaps)"),
    (b"PK\x03\x04", "it is a zip archive"),
    (b"FUGG", "it is in big-endian byte order"),
)


def _what_else(first: bytes) -> str:
    """What a file without the magic seems to be."""
    if not first.strip(b"\0"):
        return "it begins with zeros, as a download that never finished" if first else "it is empty"
    for start, what in _IMPOSTORS:
        if first.lstrip().startswith(start):
            return what
    return f"it begins with {first[:4]!r}, not with b'GGUF'"
