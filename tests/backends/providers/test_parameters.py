"""Every parameter reaches every provider under the name that was told, or doesn't leave."""

import json
from typing import Any

import msgspec
import pytest

from interlingua.backends.providers.http import create
from interlingua.backends.providers.registry import Row, dialect, rows
from interlingua.dialects.base import Target
from interlingua.dialects.json_wire import JsonWire
from interlingua.errors import ParameterNotSupported
from interlingua.gateway.fates import Fate, fates
from interlingua.gateway.negotiate import negotiate
from interlingua.types.chat import ChatRequest, JsonSchemaFormat, Tool, UserMessage

from ...gateway.test_negotiate import CHAT_VALUES
from .upstreams import model_at

EMPTY = ChatRequest(messages=(UserMessage(content="Hi"),))
#: As the caller may have spelled them.
VALUES: dict[str, dict[str, Any]] = {name: {name: value} for name, value in CHAT_VALUES.items()} | {
    "max_completion_tokens": {"max_tokens": 5, "limit_name": "max_completion_tokens"}
}
#: Rows of OpenAI's JSON, and rows that chat on a wire of their own shape.
ALIKE = [row for row in rows() if issubclass(dialect(row.dialect), JsonWire)]
OTHERS = [
    row
    for row in rows()
    if row not in ALIKE
    and "chat_completions" in (dialect(row.dialect).CAPABILITIES.operations or ())
]


#: What says nothing by itself, with what it speaks of; JSON of any form isn't everywhere.
BESIDES: dict[str, dict[str, Any]] = {
    "top_logprobs": {"logprobs": True},
    "tool_choice": {"tools": (Tool(name="f"),)},
    "parallel_tool_calls": {"tools": (Tool(name="f"),)},
}
SCHEMA = {"response_format": JsonSchemaFormat(name="x", schema={"type": "object"})}


@pytest.mark.parametrize("row", OTHERS, ids=lambda row: row.name)
def test_on_another_wire_a_parameter_changes_the_body_or_is_refused_by_its_name(row: Row) -> None:
    can = create(model_at("http://127.0.0.1:9", row.name)).capabilities
    wire = dialect(row.dialect)()
    for name, fields in (VALUES | {"response_format": SCHEMA}).items():
        besides = BESIDES.get(name, {})
        plain = msgspec.structs.replace(EMPTY, **besides)
        try:
            settled, _ = negotiate(msgspec.structs.replace(plain, **fields), can, "error")
        except ParameterNotSupported as error:
            assert error.status == 422
            assert error.param in {name, *besides}
            assert error.param not in (can.parameters or ())
            continue
        target = Target(renames=can.renames or {})
        bodies = [wire.write_chat_call(each, target).body for each in (plain, settled)]
        assert bodies[0] != bodies[1], name


@pytest.mark.parametrize("row", OTHERS, ids=lambda row: row.name)
def test_a_value_out_of_a_wires_own_range_is_refused_by_its_name(row: Row) -> None:
    can = create(model_at("http://127.0.0.1:9", row.name)).capabilities
    for name, (least, most) in (can.ranges or {}).items():
        for value in (least, most):
            negotiate(msgspec.structs.replace(EMPTY, **{name: value}), can, "error")
        with pytest.raises(ParameterNotSupported) as caught:
            negotiate(msgspec.structs.replace(EMPTY, **{name: most * 1.01}), can, "error")
        assert (caught.value.status, caught.value.param) == (422, name)


@pytest.mark.parametrize("row", ALIKE, ids=lambda row: row.name)
def test_a_parameter_goes_on_under_its_name_or_the_one_that_is_told(row: Row) -> None:
    can = create(model_at("http://127.0.0.1:9", row.name)).capabilities
    wire = dialect(row.dialect)()
    target = Target(renames=can.renames or {})
    known = fates(can, "chat_completions")
    for name, fields in VALUES.items():
        request = msgspec.structs.replace(EMPTY, **fields)
        listed = can.parameters is None or name in can.parameters
        fate = known.get(name, Fate("honoured" if listed else "refused"))
        if fate.state == "refused":
            with pytest.raises(ParameterNotSupported) as caught:
                negotiate(request, can, "error")
            assert (caught.value.status, caught.value.param) == (422, name)
            continue
        settled, changes = negotiate(request, can, "error")
        told = dict(changes.renamed).get(name, name)
        assert told == (fate.to or name)
        body = json.loads(wire.write_chat_call(settled, target).body)
        assert set(body) == {"messages", told}, name
        assert set(dict(changes.renamed)) <= {name}
