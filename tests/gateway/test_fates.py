"""What is said of a parameter before anybody asks is what negotiation does with it."""

from typing import Any

import pytest

from interlingua.errors import ParameterNotSupported
from interlingua.gateway.fates import PARAMETERS, Fate, fates
from interlingua.gateway.negotiate import negotiate
from interlingua.types.chat import ChatRequest, UserMessage
from interlingua.types.embeddings import EmbeddingsRequest
from interlingua.types.models import Capabilities

from .test_negotiate import CHAT_VALUES, EMBEDDER, ENGINE, KINDS

KINDS_OF_CHATS = KINDS | {
    "renaming": Capabilities(
        passes_through=True,
        renames={"max_tokens": "max_completion_tokens", "seed": "random_seed"},
        refuses=frozenset({"temperature", "n", "max_tokens"}),
    )
}


@pytest.mark.parametrize("kind", KINDS_OF_CHATS)
@pytest.mark.parametrize("name", [name for name in CHAT_VALUES if name != "modalities"])
def test_a_chats_parameter_meets_its_fate(kind: str, name: str) -> None:
    can = KINDS_OF_CHATS[kind]
    fate = fates(can, "chat_completions").get(name)
    if fate is None:
        return  # an engine's own, which is no parameter of the API
    fields: dict[str, Any] = {name: CHAT_VALUES[name]}
    request = ChatRequest(messages=(UserMessage(content="Hello"),), **fields)
    if fate.state == "refused":
        with pytest.raises(ParameterNotSupported):
            negotiate(request, can, "error")
        return
    try:
        _, changes = negotiate(request, can, "error")
    except ParameterNotSupported:
        # Of its values it takes some.
        assert fate.values
    else:
        assert dict(changes.renamed).get(name) == fate.to


def test_the_values_that_are_left_are_told() -> None:
    told = fates(EMBEDDER, "embeddings")
    assert told["dimensions"] == Fate("honoured", values=("2", "4"))
    assert told["encoding_format"].values == ("base64", "float")
    assert told["input_type"].values == ("query",)
    assert fates(ENGINE, "chat_completions")["response_format"].values == ("json_object", "text")
    negotiate(EmbeddingsRequest(inputs=("a",), dimensions=2), EMBEDDER, "error")


def test_both_names_of_the_limit_are_told() -> None:
    told = fates(Capabilities(renames={"max_completion_tokens": "max_tokens"}), "chat_completions")
    assert told["max_completion_tokens"] == Fate("renamed", to="max_tokens")
    assert told["max_tokens"] == Fate("honoured")
    # Text completions are never renamed, and know one name.
    assert "max_completion_tokens" not in PARAMETERS["completions"]
    assert fates(Capabilities(), "info") == {}
