"""Every parameter reaches every provider under the name that was told, or doesn't leave."""

import json
from typing import Any

import msgspec
import pytest

from interlingua.backends.providers.http import create
from interlingua.backends.providers.registry import Row, rows
from interlingua.dialects.azure import AzureDialect
from interlingua.dialects.base import Target
from interlingua.dialects.openai import OpenAIDialect
from interlingua.errors import ParameterNotSupported
from interlingua.gateway.fates import Fate, fates
from interlingua.gateway.negotiate import negotiate
from interlingua.types.chat import ChatRequest, UserMessage

from ...gateway.test_negotiate import CHAT_VALUES
from .upstreams import model_at

#: As the caller may have spelled them.
VALUES: dict[str, dict[str, Any]] = {name: {name: value} for name, value in CHAT_VALUES.items()} | {
    "max_completion_tokens": {"max_tokens": 5, "limit_name": "max_completion_tokens"}
}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_a_parameter_goes_on_under_its_name_or_the_one_that_is_told(row: Row) -> None:
    backend = create(model_at("http://127.0.0.1:9", row.name))
    dialect = AzureDialect() if row.dialect == "azure" else OpenAIDialect()
    target = Target(renames=backend.capabilities.renames or {})
    empty = ChatRequest(messages=(UserMessage(content="Hi"),))
    for name, fields in VALUES.items():
        request = msgspec.structs.replace(empty, **fields)
        fate = fates(backend.capabilities, "chat_completions").get(name, Fate("honoured"))
        if fate.state == "refused":
            with pytest.raises(ParameterNotSupported):
                negotiate(request, backend.capabilities, "error")
            continue
        settled, changes = negotiate(request, backend.capabilities, "error")
        told = dict(changes.renamed).get(name, name)
        assert told == (fate.to or name)
        body = json.loads(dialect.write_chat_call(settled, target).body)
        assert set(body) == {"messages", told}, name
        assert set(dict(changes.renamed)) <= {name}
