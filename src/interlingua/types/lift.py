"""An extra parameter that becomes a known one, validated as on the OpenAI route."""

from typing import TypeVar

import msgspec

from interlingua.errors import InvalidValue

Request = TypeVar("Request", bound=msgspec.Struct)


def lift(request: Request, name: str, value: object) -> Request:
    """The request with its typed field ``name`` set from decoded JSON; null leaves it out.

    Raises:
        InvalidValue: the value is not of the field's type or out of its range.
    """
    kinds = {field.name: field.type for field in msgspec.structs.fields(request)}
    try:
        typed = msgspec.convert(value, kinds[name])
    except msgspec.ValidationError as error:
        shown = value if isinstance(value, int | float | bool) else None
        raise InvalidValue(f"{name}: {error}", location=("body", name), value=shown) from error
    return msgspec.structs.replace(request, **{name: typed})
