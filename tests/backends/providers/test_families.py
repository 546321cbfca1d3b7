"""What is known of a model by its name."""

import pytest

from interlingua.backends.providers.families import combined, families, families_of
from interlingua.types.models import Capabilities

from .upstreams import model_at


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("gpt-4o-2024-11-20", "GPT-4o"),
        ("ft:gpt-4o-mini-2024-07-18:org::id", "GPT-4o"),
        ("GPT-35-Turbo", "GPT-3.5 Turbo"),
        ("openai/o1-mini", "o1-mini, o1-preview"),
        ("gpt-5-mini-2025-08-07", "GPT-5"),
        ("text-embedding-3-large", "text-embedding-3-large"),
        ("microsoft/Phi-4-mini-instruct", "Phi-4-mini"),
        ("Phi-3-mini-4k-instruct", "Phi-3 with a short context"),
        ("Meta-Llama-3.1-8B-Instruct", "Llama 3.1"),
        ("accounts/fireworks/models/llama-v3p1-8b-instruct", "Llama 3.1"),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", "Claude"),
        ("Cohere-embed-v3-english", "Embed 3"),
        ("cohere-command-r-plus-08-2024", "Command R"),
        ("deepseek-ai/DeepSeek-R1-0528", "DeepSeek R1"),
        ("Mistral-Large-2411", "Mistral Large 2411"),
        ("gemma3:4b", "Gemma 1 to 3"),
        ("grok-4-0709", "Grok without reasoning_effort"),
    ],
)
def test_a_name_tells_its_family_with_publisher_date_or_tag(model: str, family: str) -> None:
    assert families_of(model)[-1].name == family


def test_other_names_tell_nothing() -> None:
    for name in (None, "", "gpt-4.9", "my-own", "tiny-phi-3", "theirs", "gpt-oss-20b"):
        assert families_of(name) == ()


def test_families_are_data_with_a_source() -> None:
    names = [family.name for family in families()]
    assert len(set(names)) == len(names)
    for family in families():
        assert family.source
        assert family.capabilities != Capabilities()
        assert all(pattern == pattern.lower() for pattern in family.models)
        assert family.type == ("embedding" if "mbed" in family.name else "chat-completion")


def test_dialect_row_family_and_config_are_merged_in_that_order() -> None:
    can = model_at("http://x", "openai", model="o1-mini-2024-09-12").capabilities
    assert can.renames == {"max_tokens": "max_completion_tokens"}
    assert can.roles == {"user", "assistant"}
    assert {"temperature", "tools"} <= (can.refuses or frozenset())
    assert can.fetches_images
    # The wire's own rename gives way to the model's.
    assert model_at("http://x", "azure", model="o1").capabilities.renames == {
        "max_tokens": "max_completion_tokens"
    }
    # What row and family refuse adds up; the config's word replaces it.
    can = model_at("http://x", "groq", model="llama-3.3-70b-versatile").capabilities
    assert can.refuses == {"logprobs", "top_logprobs", "logit_bias", "n", "reasoning_effort"}
    free = Capabilities(refuses=frozenset())
    assert model_at("http://x", "groq", stated=free).capabilities.refuses == frozenset()


def test_a_familiar_name_may_be_told_and_some_hold_at_some_providers() -> None:
    at_azure = model_at("http://x", "azure-openai", model="prod-7", family="o1")
    assert at_azure.capabilities.streams is False
    assert model_at("http://x", "openai", model="o1").capabilities.streams is None


def test_renames_of_layers_are_put_together() -> None:
    first = Capabilities(renames={"a": "b", "c": "d"})
    assert combined((first, Capabilities(renames={"b": "a"}))).renames == {"c": "d", "b": "a"}
