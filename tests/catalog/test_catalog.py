import hashlib
import re
from collections import Counter

import pytest

from interlingua.catalog.card import HubSource, PackagedSource, WheelSource
from interlingua.catalog.catalog import (
    CATALOG_DIR,
    DEFAULT_MODELS,
    find,
    load_cards,
    names_of,
    require,
    suggest,
)
from interlingua.errors import ModelFileError

#: The Azure catalogue's spelling.
PHI = [
    "Phi-3-mini-4k-instruct",
    "Phi-3-mini-128k-instruct",
    "Phi-3-small-8k-instruct",
    "Phi-3-small-128k-instruct",
    "Phi-3-medium-4k-instruct",
    "Phi-3-medium-128k-instruct",
    "Phi-3-vision-128k-instruct",
    "Phi-3.5-mini-instruct",
    "Phi-3.5-MoE-instruct",
    "Phi-3.5-vision-instruct",
    "Phi-4",
    "Phi-4-mini-instruct",
    "Phi-4-multimodal-instruct",
    "Phi-4-reasoning",
    "Phi-4-mini-reasoning",
]


def test_no_name_finds_two_cards() -> None:
    counts = Counter(name for card in load_cards() for name in names_of(card))
    assert [name for name, count in counts.items() if count > 1] == []


def test_a_card_names_are_lower_case_and_safe_as_directories() -> None:
    for card in load_cards():
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*", card.name)
        for file in card.files:
            assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", file.name)
            assert file.name != "manifest.json"


def test_a_card_either_runs_here_or_says_what_it_needs() -> None:
    for card in load_cards():
        assert (card.engine is None) == (card.needs is not None), card.name
        assert (card.engine is None) == (not card.files), card.name


@pytest.mark.parametrize("name", DEFAULT_MODELS)
def test_the_defaults_are_pinned_to_the_byte(name: str) -> None:
    for file in require(name).files:
        assert file.size_bytes
        assert re.fullmatch("[0-9a-f]{64}", file.sha256 or "")
        if isinstance(file.source, WheelSource):
            assert re.fullmatch("[0-9a-f]{64}", file.source.wheel_sha256)


def test_packaged_files_are_what_their_cards_say() -> None:
    for card in load_cards():
        for file in card.files:
            if isinstance(file.source, PackagedSource):
                raw = (CATALOG_DIR / file.source.path).read_bytes()
                assert len(raw) == file.size_bytes
                assert hashlib.sha256(raw).hexdigest() == file.sha256


@pytest.mark.parametrize("name", PHI)
def test_the_phi_family_is_found_by_its_azure_names(name: str) -> None:
    card = require(name)
    assert name in card.aliases
    assert (card.publisher, card.license) == ("Microsoft", "MIT")
    assert find(f"microsoft/{name.upper()}") is card
    for file in card.files:
        assert isinstance(file.source, HubSource)
        assert file.source.path.endswith(".gguf")


def test_what_a_call_gets_is_within_the_models_own_limit() -> None:
    for card in load_cards():
        if card.call_context and card.context_length:
            assert card.call_context <= card.context_length


def test_only_models_that_think_aloud_say_so() -> None:
    assert [card.name for card in load_cards() if card.capabilities.reasoning] == [
        "phi-4-reasoning"
    ]


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    assert suggest("Phi4-mini-instruct")[0] == "phi-4-mini-instruct"
    assert suggest("minilm") == ("all-minilm-l6-v2",)
    with pytest.raises(ModelFileError, match="did you mean smollm2-135m-instruct"):
        require("smolm2-135m")


def test_a_name_like_no_other_is_answered_with_where_to_look() -> None:
    assert find("gpt-9") is None
    with pytest.raises(ModelFileError, match="models list"):
        require("qwertz")
