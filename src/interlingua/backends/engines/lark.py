"""JSON schemas in llguidance's grammar language, which takes them as they are.

Its regular expressions take linear time, and local references and recursion are within its
reach. A schema that it can't hold is only found out by trying: ask
:meth:`~.llamacpp_client.LlamaServer.holds`.

Source: llguidance, docs/syntax.md and docs/json_schema.md.
"""

import json
from collections.abc import Mapping

_HEADER = "%llguidance {}\n"
#: Without a bound, small models go on in white space for ever.
_GUIDANCE = {"whitespace_pattern": "[ \\t\\n]{0,40}"}


def any_object() -> str:
    """See :class:`~.grammar.Language`, whose other functions follow."""
    return document({"type": "object"})


def document(schema: Mapping[str, object]) -> str:
    return f"{_HEADER}start: {_json(schema)}"


def one_of(documents: Mapping[str, Mapping[str, object]]) -> str:
    calls = " | ".join(
        f'"{{\\"name\\": \\"{name}\\", \\"arguments\\": " {_json(schema)} "}}"'
        for name, schema in documents.items()
    )
    return f"{_HEADER}start: {calls}"


def or_text(grammar: str, text: str) -> str:
    return f"{grammar} | {json.dumps(text)}"


def _json(schema: Mapping[str, object]) -> str:
    return "%json " + json.dumps({**schema, "x-guidance": _GUIDANCE})
