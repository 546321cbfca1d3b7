# mypy: disable-error-code="explicit-override"
# (typing has `override` from Python 3.12)
"""Values of the wire that are read as attributes and as mappings, as Microsoft's are.

Rules of this file:
- What came stays as it came: ``value["x"]`` and ``as_dict()`` are the wire's JSON, members that
  no class names included; ``value.x`` is the typed view of it, made on the first reading.
- An absent member reads as ``None``, and ``None`` in a constructor means absent.
- These values can be changed, unlike the rest of this project's: their callers rely on it.
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, ClassVar, Self, dataclass_transform, overload

Read = Callable[[Any], Any]


class Member:
    """An attribute that reads and writes one member of the JSON object behind it."""

    __slots__ = ("_keeps", "_name", "_read", "_write", "default")

    def __init__(self, read: Read | None, write: Read | None, *, keeps: bool, default: Any) -> None:
        self._name = ""
        self._read = read
        self._write = write
        #: Whether what was read replaces the raw value, so that it is made once.
        self._keeps = keeps
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: "Mapped", owner: type) -> Any: ...
    def __get__(self, instance: "Mapped | None", owner: type) -> Any:
        if instance is None:
            return self
        data = instance._data  # noqa: SLF001 - the descriptor is a part of the class
        value = data.get(self._name)
        if value is None or self._read is None:
            return value
        seen = self._read(value)
        if self._keeps:
            data[self._name] = seen
        return seen

    def __set__(self, instance: "Mapped", value: Any) -> None:
        data = instance._data  # noqa: SLF001 - the descriptor is a part of the class
        if value is None:
            data.pop(self._name, None)
        else:
            data[self._name] = self._write(value) if self._write else value


# Each returns `Any`: to a type checker it is the member's declared type.


def member(*, default: Any = ..., init: bool = True) -> Any:
    """A member read as it is. Without a default it is required, for a type checker."""
    del init  # said to type checkers alone
    return Member(None, None, keeps=False, default=default)


def one(kind: "type[Mapped]", *, default: Any = ...) -> Any:
    """An object."""
    return Member(kind.view, None, keeps=True, default=default)


def many(kind: "type[Mapped]", *, default: Any = ...) -> Any:
    """A list of objects; a text in its place is left alone."""

    def read(value: Any) -> Any:
        if not isinstance(value, list) or all(isinstance(each, Mapped) for each in value):
            return value
        return [kind.view(each) for each in value]

    return Member(read, None, keeps=True, default=default)


def known(kind: type[Enum], *, default: Any = ...) -> Any:
    """A name of an enumeration; one that it lacks stays a text."""
    names = kind._value2member_map_
    return Member(lambda value: names.get(value, value), _raw, keeps=False, default=default)


def moment(*, default: Any = ...) -> Any:
    """Seconds since 1970, read as a time in UTC."""
    return Member(_time, _seconds, keeps=False, default=default)


def _time(value: Any) -> Any:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else value


def _seconds(value: Any) -> Any:
    return int(value.timestamp()) if isinstance(value, datetime) else value


def _raw(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


@dataclass_transform(kw_only_default=True, field_specifiers=(member, one, many, known, moment))
class Mapped(MutableMapping[str, Any]):
    """A JSON object with typed attributes. ``Kind({…})`` and ``Kind(x=…)`` both make one."""

    __slots__ = ("_data",)
    #: Members that every value of the class has, as ``type``.
    _always: ClassVar[Mapping[str, Any]] = {}
    #: The member that tells which subclass an object is, as ``role``.
    _told_by: ClassVar[str | None] = None
    _members: ClassVar[Mapping[str, Member]] = {}

    def __init_subclass__(cls) -> None:
        own = {name: each for name, each in vars(cls).items() if isinstance(each, Member)}
        cls._members = {**cls._members, **own}
        fixed = {name: each.default for name, each in own.items() if isinstance(each.default, str)}
        cls._always = {**cls._always, **fixed}

    def __init__(self, *args: Any, **members: Any) -> None:
        if len(args) > 1 or (args and members):
            given = len(args) + 1
            raise TypeError(f"{type(self).__name__} takes one mapping or keywords, not {given}")
        told = self._told_by
        self._data: dict[str, Any] = {}
        if args:
            self._data.update(args[0])
        elif told and told in self._always:
            self._data[told] = self._always[told]
        for name, value in members.items():
            if name not in self._members:
                kind = type(self).__name__
                raise TypeError(f"{kind}.__init__() got an unexpected keyword argument {name!r}")
            setattr(self, name, value)
        for name, value in self._always.items():
            self._data.setdefault(name, value)

    @classmethod
    def view(cls, raw: Any) -> Any:
        """The typed view of a JSON object, without a copy; what is no object stays as it is."""
        if not isinstance(raw, dict):
            return raw
        kind = cls._kind(raw) if cls._told_by else cls
        seen = kind.__new__(kind)
        seen._data = raw  # noqa: SLF001 - its own class
        return seen

    @classmethod
    def _kind(cls, raw: Mapping[str, Any]) -> type["Mapped"]:
        told = cls._told_by or ""
        for kind in cls.__subclasses__():
            if kind._always.get(told) == raw.get(told):  # noqa: SLF001 - its own subclass
                return kind
        return cls

    def as_dict(self, *, exclude_readonly: bool = False) -> dict[str, Any]:
        """The JSON object behind, as plain dicts and lists."""
        del exclude_readonly  # none is read-only; kept for callers that say it
        return {name: _plain(value) for name, value in self._data.items()}

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._data[key] = value

    def __delitem__(self, key: str) -> None:
        del self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __contains__(self, key: object) -> bool:
        return key in self._data

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Mapped):
            return self._data == other._data
        return self._data == other if isinstance(other, Mapping) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # what can change has no hash

    def __repr__(self) -> str:
        return str(self._data)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapped):
        return value.as_dict()
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return _raw(value)


def encode(value: object) -> bytes:
    """JSON of plain values and of these."""
    import msgspec  # noqa: PLC0415 - with the first call, see settings.py

    return msgspec.json.encode(value, enc_hook=_hook)


def decode(data: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: it is no JSON.
        TypeError: it is no object.
    """
    import msgspec  # noqa: PLC0415 - with the first call, see settings.py

    found = msgspec.json.decode(data)
    if not isinstance(found, dict):
        raise TypeError(f"not an object but {type(found).__name__}")
    return found


def _hook(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
