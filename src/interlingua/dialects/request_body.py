"""A request's body: bytes → a wire struct and the fields that the wire doesn't know.

Rules of this file:
- Unknown names are judged first, then values, the first found (contract of ServerDialect).
- Whatever the bytes are, what is raised is an error of the caller.
- Unknown members below the top level are left out: that is the service's own behaviour.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

import msgspec

from interlingua.errors import (
    InvalidPolicy,
    InvalidValue,
    Location,
    MalformedBody,
    TooManyUnknownParameters,
    UnknownParameters,
)
from interlingua.headers import EXTRA_PARAMETERS
from interlingua.http import HttpCall
from interlingua.types.explain import explain, first_step, name
from interlingua.types.models import ExtraParameters

MAX_UNKNOWN_NAMES = 64
MAX_DEPTH = 64

_Wire = TypeVar("_Wire", bound=msgspec.Struct)
_NOTHING: Mapping[str, object] = MappingProxyType({})
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_POLICIES: dict[str, ExtraParameters] = {
    "error": "error",
    "drop": "drop",
    "pass-through": "pass-through",
}


def read_policy(call: HttpCall) -> ExtraParameters | None:
    """What the header ``extra-parameters`` says (Azure: ExtraParameters).

    Raises:
        InvalidPolicy: it says something else.
    """
    value = call.headers.get(EXTRA_PARAMETERS.name)
    if value is None:
        return None
    policy = _POLICIES.get(value.strip())
    if policy is None:
        raise InvalidPolicy(value)
    return policy


class BodyReader(Generic[_Wire]):
    """Reads the bodies of one operation in one dialect. Stateless; safe to share."""

    def __init__(self, wire: type[_Wire]) -> None:
        self._wire = wire
        self._decoder = msgspec.json.Decoder(wire)
        # Nearly every body has known names alone, and is decoded once.
        strict = msgspec.defstruct(
            wire.__name__, (), bases=(wire,), frozen=True, kw_only=True, forbid_unknown_fields=True
        )
        self._strict: msgspec.json.Decoder[_Wire] = msgspec.json.Decoder(strict)
        self.known = frozenset(wire.__struct_encode_fields__)

    def read(
        self, call: HttpCall, default: ExtraParameters | None
    ) -> tuple[_Wire, Mapping[str, object]]:
        """The known fields of a call's body, and the unknown ones as decoded JSON. ``default``
        holds where the call states no policy.

        Raises:
            MalformedBody: not JSON.
            UnknownParameters: unknown names, and the policy is ``error``.
            TooManyUnknownParameters: more of them than a reply could list.
            InvalidValue: a known field is wrong.
        """
        policy, body = read_policy(call) or default, call.body
        try:
            return self._strict.decode(body), _NOTHING
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._judged(body, policy)

    def _judged(
        self, body: bytes, policy: ExtraParameters | None
    ) -> tuple[_Wire, Mapping[str, object]]:
        fields = self._fields(body)
        unknown = [field for field in fields if field not in self.known]
        if unknown:
            _judge(unknown, policy)
        try:
            wire = self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise self._explained(error, fields) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _malformed(error) from error
        return wire, {field: decode(fields[field], ("body", field)) for field in unknown}

    def _fields(self, body: bytes) -> dict[str, msgspec.Raw]:
        try:
            return _FIELDS.decode(body)
        except msgspec.ValidationError as error:
            raise InvalidValue("The body must be a JSON object.", location=("body",)) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _malformed(error) from error

    def _explained(
        self, error: msgspec.ValidationError, fields: Mapping[str, msgspec.Raw]
    ) -> InvalidValue:
        field = first_step(error)
        value: object = {}
        if field is not None and field in fields:
            try:
                value = {field: msgspec.json.decode(fields[field])}
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                # What can't be decoded can't be repeated either; the place is known.
                value = {}
        return explain(error, self._wire, value, ("body",))


def decode(raw: msgspec.Raw, location: Location, max_depth: int = MAX_DEPTH) -> object:
    """A value that the wire gives no type, as plain data.

    Raises:
        InvalidValue: out of range, or nested deeper than ``max_depth``.
    """
    try:
        value = msgspec.json.decode(raw)
    except msgspec.ValidationError as error:
        raise InvalidValue(
            f"{name(location)} holds a number that is out of range.", location=location
        ) from error
    except RecursionError as error:
        raise _too_deep(location, max_depth) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(error) from error
    check_depth(value, location, max_depth)
    return value


def check_depth(value: object, location: Location, max_depth: int = MAX_DEPTH) -> None:
    """Bound the work of whoever walks the value later.

    Raises:
        InvalidValue: nested deeper than ``max_depth``.
    """
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(max_depth):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise _too_deep(location, max_depth)


def _judge(unknown: list[str], policy: ExtraParameters | None) -> None:
    if len(unknown) > MAX_UNKNOWN_NAMES:
        raise TooManyUnknownParameters(
            f"The body has {len(unknown)} fields that this API doesn't know; at most "
            f"{MAX_UNKNOWN_NAMES} can be dropped or passed through.",
            location=("body",),
        )
    if policy == "error":
        raise UnknownParameters(tuple(unknown))


def _too_deep(location: Location, max_depth: int) -> InvalidValue:
    return InvalidValue(
        f"{name(location)} is nested deeper than {max_depth} levels.", location=location
    )


def _malformed(error: Exception) -> MalformedBody:
    match error:
        case RecursionError():
            reason = f"it is nested deeper than {MAX_DEPTH} levels"
        case UnicodeDecodeError():
            reason = "a string is not UTF-8"
        case _:
            reason = str(error).removeprefix("JSON is malformed: ")
    return MalformedBody(f"The body is not valid JSON: {reason}.", location=("body",))
