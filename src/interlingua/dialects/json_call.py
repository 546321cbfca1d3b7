"""A call with a JSON body, to an operation of a target."""

from collections.abc import Mapping

import msgspec

from interlingua.errors import InvalidValue
from interlingua.http import HttpCall

from .base import Target


def post(
    path: str, fields: Mapping[str, object], extra: Mapping[str, object], target: Target
) -> HttpCall:
    """The call with what the wire writes, and beside it what was passed through.

    Raises:
        InvalidValue: a name is passed through that another parameter has been written under.
    """
    for name in extra:
        if name in fields:
            raise InvalidValue(
                f"{name} says again what other parameters of this request say: leave it out.",
                location=("body", name),
            )
    return HttpCall(
        path=target.base_path + path,
        headers={
            "accept": "application/json",
            "content-type": "application/json",
            **target.headers,
        },
        body=msgspec.json.encode({**extra, **fields}),
    )
