"""``prompt`` and ``input``: a text, texts, token ids, or lists of token ids."""

from typing import Annotated

from msgspec import Meta

from interlingua.types.completions import Prompt
from interlingua.types.explain import wrong

MAX_TEXTS = 2048
#: A long document's ids; longer than any context there is.
_MAX_IDS = 2**22

_Id = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_Ids = Annotated[tuple[_Id, ...], Meta(min_length=1)]

#: What one list may hold is said here, since :func:`read_texts` refuses to mix kinds.
_ID = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
_IDS = {"type": "array", "items": _ID, "minItems": 1}
_MANY = {"type": "array", "minItems": 1, "maxItems": MAX_TEXTS}

Texts = Annotated[
    str | Annotated[tuple[str | _Id | _Ids, ...], Meta(min_length=1, max_length=_MAX_IDS)],
    Meta(
        extra_json_schema={
            "oneOf": [
                {"type": "string"},
                {**_MANY, "items": {"type": "string"}},
                {**_IDS, "maxItems": _MAX_IDS, "description": "Token ids."},
                {**_MANY, "items": _IDS, "description": "Lists of token ids."},
            ]
        }
    ),
]


def read_texts(wire: Texts, name: str) -> tuple[Prompt, ...]:
    """One prompt for each text or list of ids.

    Raises:
        InvalidValue: kinds are mixed, or there are too many.
    """
    if isinstance(wire, str):
        return (wire,)
    kind = type(wire[0])
    for place, item in enumerate(wire):
        if type(item) is not kind:
            raise wrong(("body", name, place), f"{_KINDS[kind]} as the first is")
    if kind is int:
        return (tuple(item for item in wire if isinstance(item, int)),)
    if len(wire) > MAX_TEXTS:
        raise wrong(("body", name), f"a list of 1 to {MAX_TEXTS} items", list(wire))
    return tuple(item for item in wire if not isinstance(item, int))


def write_texts(prompts: tuple[Prompt, ...]) -> Texts:
    """The plainest spelling: one text, or one list of ids, stands by itself."""
    return prompts[0] if len(prompts) == 1 else prompts


_KINDS: dict[type, str] = {str: "a string", int: "a token id", tuple: "a list of token ids"}
