"""What an ONNX graph takes, gives and reads besides itself, without the onnx package.

Rules of this file:
- The protobuf is walked, never decoded: lengths are compared with what the file has, and
  weights are stepped over.
- Tensors kept in other files are the one way by which a graph reaches beyond its own file,
  so each such place is judged before a runtime opens the graph.

Source: onnx.proto of the ONNX project (field numbers), docs/ExternalData.md.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import msgspec

from interlingua.errors import ModelFileError

#: Message → field number → the message in that field. Only what can lead to a tensor.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_GRAPH, _INPUT, _OUTPUT, _EXTERNAL = 7, 11, 12, 13
_LENGTH_DELIMITED = 2


class OnnxValue(msgspec.Struct, frozen=True):
    """An input or output. A length that the graph leaves open is ``None``."""

    name: str
    shape: tuple[int | None, ...]


class ExternalData(msgspec.Struct, frozen=True):
    """A piece of another file that the graph reads."""

    location: str
    offset: int
    length: int


class OnnxFacts(msgspec.Struct, frozen=True):
    inputs: tuple[OnnxValue, ...]
    outputs: tuple[OnnxValue, ...]
    external: tuple[ExternalData, ...]


class _Bad(Exception):
    """What is wrong with the file, for the message."""


_Span = tuple[int, int]


def check_onnx(path: Path) -> OnnxFacts:
    """The graph's facts, once every file that it would read was found harmless and whole.

    Raises:
        ModelFileError: it isn't an ONNX graph, or data that it names is absolute, outside
            its directory, a link, missing or too short.
    """
    facts = read_onnx(path)
    for piece in facts.external:
        _check_external(path, piece)
    return facts


def read_onnx(path: Path) -> OnnxFacts:
    """The graph's facts; what it reads besides itself is named and not judged.

    Raises:
        ModelFileError: it can't be opened or isn't an ONNX graph.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size == 0:
                return _facts(b"", 0)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _facts(data, size)
    except _Bad as error:
        raise ModelFileError(
            f"{path} isn't a usable ONNX graph: {error}. Download it again, or name another file"
        ) from error
    except OSError as error:
        raise ModelFileError(f"{path} can't be read: {error.strerror}. Check the path") from error


def _facts(data: mmap.mmap | bytes, size: int) -> OnnxFacts:
    inputs: list[OnnxValue] = []
    outputs: list[OnnxValue] = []
    graphs = [span for number, span in _messages(data, (0, size)) if number == _GRAPH]
    if len(graphs) != 1:
        raise _Bad("it is empty" if size == 0 else "it holds no graph")
    for number, span in _messages(data, graphs[0]):
        if number == _INPUT:
            inputs.append(_value(data, span))
        elif number == _OUTPUT:
            outputs.append(_value(data, span))
    external = tuple(dict.fromkeys(_external(data, (0, size))))
    return OnnxFacts(tuple(inputs), tuple(outputs), external)


def _external(data: mmap.mmap | bytes, whole: _Span) -> Iterator[ExternalData]:
    """Every piece of another file, in subgraphs and functions too."""
    waiting = [("model", whole)]
    while waiting:
        kind, span = waiting.pop()
        if kind != "tensor":
            children = _CHILDREN[kind]
            waiting += [
                (children[number], inner)
                for number, inner in _messages(data, span)
                if number in children
            ]
            continue
        entries = [_entry(data, inner) for number, inner in _messages(data, span) if number == 13]
        if entries:
            yield _piece(dict(entries))


def _piece(entries: dict[str, str]) -> ExternalData:
    numbers = [entries.get("offset") or "0", entries.get("length") or "0"]
    if "location" not in entries or not all(n.isascii() and n.isdecimal() for n in numbers):
        raise _Bad("a tensor's place in another file is malformed")
    return ExternalData(entries["location"], int(numbers[0][:20]), int(numbers[1][:20]))


def _entry(data: mmap.mmap | bytes, span: _Span) -> tuple[str, str]:
    parts = {number: _text(data, inner) for number, inner in _messages(data, span)}
    return parts.get(1, ""), parts.get(2, "")


def _value(data: mmap.mmap | bytes, span: _Span) -> OnnxValue:
    """ValueInfoProto: name 1, type 2 → tensor 1 → shape 2 → dimension 1 → value 1."""
    name = ""
    shape: tuple[int | None, ...] = ()
    for number, inner in _messages(data, span):
        if number == 1:
            name = _text(data, inner)
        elif number == 2:
            shape = _shape(data, inner)
    return OnnxValue(name, shape)


def _shape(data: mmap.mmap | bytes, span: _Span) -> tuple[int | None, ...]:
    for wanted in (1, 2):
        inner = [found for number, found in _messages(data, span) if number == wanted]
        if not inner:
            return ()
        span = inner[0]
    lengths: list[int | None] = []
    for number, dimension in _messages(data, span):
        if number == 1:
            stated = [value for field, value in _integers(data, dimension) if field == 1]
            lengths.append(stated[0] if stated else None)
    return tuple(lengths)


def _text(data: mmap.mmap | bytes, span: _Span) -> str:
    return data[span[0] : min(span[1], span[0] + 4096)].decode("utf-8", "replace")


def _messages(data: mmap.mmap | bytes, span: _Span) -> Iterator[tuple[int, _Span]]:
    """The length-delimited fields of a message: number and place."""
    for number, wire, inner, _number in _fields(data, span):
        if wire == _LENGTH_DELIMITED:
            yield number, inner


def _integers(data: mmap.mmap | bytes, span: _Span) -> Iterator[tuple[int, int]]:
    for number, wire, _inner, value in _fields(data, span):
        if wire == 0:
            yield number, value


def _fields(data: mmap.mmap | bytes, span: _Span) -> Iterator[tuple[int, int, _Span, int]]:
    at, end = span
    while at < end:
        tag, at = _varint(data, at, end)
        number, wire, value = tag >> 3, tag & 7, 0
        start = at
        if wire == 0:
            value, at = _varint(data, at, end)
        elif wire == _LENGTH_DELIMITED:
            value, start = _varint(data, at, end)
            at = start + value
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise _Bad("its contents aren't those of a graph")
        if at > end:
            raise _Bad("it is cut short or damaged")
        yield number, wire, (start, at), value


def _varint(data: mmap.mmap | bytes, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise _Bad("it is cut short or damaged")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _Bad("its contents aren't those of a graph")


def _check_external(path: Path, piece: ExternalData) -> None:
    wrong = _wrong_with(path, piece)
    if wrong:
        raise ModelFileError(
            f"{path} reads {piece.location!r}, which {wrong}. External data must be a plain file "
            "in the graph's own directory: copy it there (cp -L follows links)"
        )


def _wrong_with(path: Path, piece: ExternalData) -> str | None:
    posix, windows = PurePosixPath(piece.location), PureWindowsPath(piece.location)
    if posix.is_absolute() or windows.drive or windows.root:
        return "is an absolute path"
    if ".." in windows.parts or not piece.location.strip(". /\\") or "\0" in piece.location:
        return "leads out of its directory"
    folder = path.parent.resolve()
    target = folder / piece.location
    if not target.is_file():
        return "isn't there"
    if target.resolve() != target or target.stat().st_nlink != 1:
        return "is a link"
    if piece.offset + piece.length > target.stat().st_size:
        return f"is cut short, at {target.stat().st_size} bytes: download it again"
    return None
