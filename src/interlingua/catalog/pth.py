"""Reads the tensors of a torch checkpoint in its old format, executing nothing.

The format is five pickles (magic, protocol, system, the dictionary of tensors, the keys of
the storages) and then the storages as ``int64 count, values``.

Rules of this file:
- A pickle is a program. This one is not run: its opcodes are read one by one, and just
  those that build tuples, lists, dictionaries, numbers and strings are understood.
- A global is an inert name. Two of them may be "called", and both only make a value here:
  an ordered dictionary and a tensor's description. Any other opcode or name is refused.
"""

import io
import pickletools
import struct
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from interlingua.errors import ModelFileError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001

Array = npt.NDArray[np.generic]

_DTYPES: dict[str, np.dtype[np.generic]] = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch DoubleStorage": np.dtype("<f8"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
}
_ORDERED_DICT = "collections OrderedDict"
_REBUILD = "torch._utils _rebuild_tensor_v2"


class _Global(msgspec.Struct, frozen=True):
    """A name in a pickle. Nothing is imported for it."""

    name: str


class _Storage(msgspec.Struct, frozen=True):
    dtype: str
    key: str
    count: int


class _Tensor(msgspec.Struct, frozen=True):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Refused(Exception):
    """The pickle holds what this reader doesn't understand."""


def read_pth(path: Path) -> dict[str, Array]:
    """The checkpoint's tensors by name.

    Raises:
        ModelFileError: it isn't such a checkpoint, or it holds anything but tensors.
    """
    try:
        return _read(io.BytesIO(path.read_bytes()))
    except (_Refused, ValueError, TypeError, KeyError, IndexError, struct.error) as error:
        raise ModelFileError(
            f"{path} isn't a torch checkpoint of plain tensors ({error}): pull it again"
        ) from error


def _read(file: io.BytesIO) -> dict[str, Array]:
    if _load(file) != MAGIC or _load(file) != PROTOCOL:
        raise _Refused("its first bytes are of another format")
    _load(file)
    tensors = _load(file)
    keys = _load(file)
    if not isinstance(tensors, dict) or not isinstance(keys, list):
        raise _Refused("it holds no dictionary of tensors")
    sizes = {t.storage.key: t.storage for t in tensors.values() if isinstance(t, _Tensor)}
    storages = {str(key): _read_storage(file, sizes[str(key)]) for key in keys}
    return {
        str(name): _view(tensor, storages)
        for name, tensor in tensors.items()
        if isinstance(tensor, _Tensor)
    }


def _read_storage(file: io.BytesIO, storage: _Storage) -> Array:
    (count,) = struct.unpack("<q", file.read(8))
    dtype = _DTYPES[storage.dtype]
    if count != storage.count:
        raise _Refused(f"storage {storage.key} has {count} values, not {storage.count}")
    raw = file.read(count * dtype.itemsize)
    if len(raw) != count * dtype.itemsize:
        raise _Refused("it is cut short")
    return np.frombuffer(raw, dtype)


def _view(tensor: _Tensor, storages: dict[str, Array]) -> Array:
    """The tensor as a copy; its strides (the weights are transposed views) stay in bounds."""
    values = storages[tensor.storage.key]
    steps = tensor.strides
    last = tensor.offset + sum(
        (length - 1) * step for length, step in zip(tensor.shape, steps, strict=True)
    )
    if 0 in tensor.shape or not 0 <= tensor.offset <= last < len(values):
        raise _Refused("a tensor reaches beyond its storage")
    return np.lib.stride_tricks.as_strided(
        values[tensor.offset :], tensor.shape, [step * values.itemsize for step in steps]
    ).copy()


def _load(file: io.BytesIO) -> object:
    """The value of one pickle."""
    reader = _Reader()
    for opcode, argument, _position in pickletools.genops(file):
        if opcode.name == "STOP":
            return reader.pop()
        step = _STEPS.get(opcode.name)
        if step is None:
            raise _Refused(f"opcode {opcode.name} is refused")
        step(reader, argument)
    raise _Refused("a pickle doesn't end")


class _Reader:
    """The stack and the memo of one pickle."""

    def __init__(self) -> None:
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[object, object] = {}

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> object:
        return self.stack.pop()

    def top(self) -> object:
        return self.stack[-1]

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def since_mark(self) -> list[object]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def take(self, count: int) -> tuple[object, ...]:
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        return values

    def set_items(self, pairs: list[object]) -> None:
        target = self.top()
        if not isinstance(target, dict):
            raise _Refused("items are set on something other than a dictionary")
        for index in range(0, len(pairs), 2):
            target[pairs[index]] = pairs[index + 1]

    def append_all(self, values: list[object]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise _Refused("values are appended to something other than a list")
        target.extend(values)

    def reduce(self) -> None:
        function, arguments = self.take(2)
        self.push(_made(function, arguments))

    def build(self) -> None:
        """Attributes of an ordered dictionary (torch keeps versions there): left out."""
        self.pop()
        if not isinstance(self.top(), dict):
            raise _Refused("a state is set on something other than a dictionary")


def _made(function: object, arguments: object) -> object:
    match function, arguments:
        case _Global(name=name), () if name == _ORDERED_DICT:
            return {}
        case (
            _Global(name=name),
            (_Storage() as storage, int(offset), tuple(shape), tuple(strides), *_rest),
        ) if name == _REBUILD:
            return _Tensor(storage, offset, _integers(shape), _integers(strides))
    raise _Refused(f"a call of {function!r} is refused")


def _integers(values: tuple[object, ...]) -> tuple[int, ...]:
    numbers = tuple(value for value in values if isinstance(value, int) and value >= 0)
    if len(numbers) != len(values):
        raise _Refused("a shape holds something other than lengths")
    return numbers


def _global(name: object) -> _Global:
    if name not in (*_DTYPES, _ORDERED_DICT, _REBUILD):
        raise _Refused(f"the name {name!r} is refused")
    return _Global(str(name))


def _storage(identity: object) -> _Storage:
    match identity:
        case ("storage", _Global(name=dtype), str(key), str(), int(count), *_rest):
            if dtype in _DTYPES and count >= 0:
                return _Storage(dtype, key, count)
    raise _Refused("a persistent id isn't a storage's")


_Step = Callable[[_Reader, object], None]

_STEPS: dict[str, _Step] = {
    "PROTO": lambda _r, _a: None,
    "MARK": lambda r, _a: r.mark(),
    "NONE": lambda r, _a: r.push(None),
    "NEWTRUE": lambda r, _a: r.push(True),
    "NEWFALSE": lambda r, _a: r.push(False),
    "EMPTY_TUPLE": lambda r, _a: r.push(()),
    "EMPTY_LIST": lambda r, _a: r.push([]),
    "EMPTY_DICT": lambda r, _a: r.push({}),
    "TUPLE": lambda r, _a: r.push(tuple(r.since_mark())),
    "TUPLE1": lambda r, _a: r.push(r.take(1)),
    "TUPLE2": lambda r, _a: r.push(r.take(2)),
    "TUPLE3": lambda r, _a: r.push(r.take(3)),
    "SETITEM": lambda r, _a: r.set_items(list(r.take(2))),
    "SETITEMS": lambda r, _a: r.set_items(r.since_mark()),
    "APPEND": lambda r, _a: r.append_all(list(r.take(1))),
    "APPENDS": lambda r, _a: r.append_all(r.since_mark()),
    "GLOBAL": lambda r, a: r.push(_global(a)),
    "BINPERSID": lambda r, _a: r.push(_storage(r.pop())),
    "REDUCE": lambda r, _a: r.reduce(),
    "BUILD": lambda r, _a: r.build(),
    **{name: lambda r, a: r.memo.__setitem__(a, r.top()) for name in ("BINPUT", "LONG_BINPUT")},
    **{name: lambda r, a: r.push(r.memo[a]) for name in ("BINGET", "LONG_BINGET")},
    **{
        name: lambda r, a: r.push(a)
        for name in ("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1")
    },
}
