"""Slots follow from memory."""

import msgspec
import pytest

from interlingua.backends.engines.memory import (
    available_bytes,
    cores,
    slots_that_fit,
    token_bytes,
)
from interlingua.catalog.gguf import GgufHeader

HEADER = GgufHeader(
    architecture="llama", name=None, license=None, context_length=8192, block_count=30,
    embedding_length=576, head_count=9, head_count_kv=3, key_length=None, value_length=None,
    chat_template=None, control_tokens=(), vocabulary_size=None, bos_token_id=None,
    eos_token_id=None, add_bos=None, pooling=None, version=3, tensor_count=1, size_bytes=1,
)  # fmt: skip
TOKEN = 30 * 3 * (64 + 64) * 2


def test_a_token_takes_keys_and_values_of_every_layer():
    assert token_bytes(HEADER) == TOKEN
    wide = msgspec.structs.replace(HEADER, key_length=128, value_length=32)
    assert token_bytes(wide) == 30 * 3 * 160 * 2
    assert token_bytes(msgspec.structs.replace(HEADER, block_count=None)) is None


@pytest.mark.parametrize(
    ("slots_worth", "expected"), [(0.5, 1), (1, 1), (2.5, 2), (4, 4), (100, 4)]
)
def test_a_quarter_of_the_available_memory_is_filled(slots_worth, expected):
    available = int(4 * slots_worth * TOKEN * 4096)
    assert slots_that_fit(HEADER, 4096, available) == expected


def test_what_is_not_known_makes_one_slot():
    assert slots_that_fit(HEADER, 4096, None) == 1
    nothing = msgspec.structs.replace(HEADER, head_count=None, head_count_kv=None)
    assert slots_that_fit(nothing, 4096, 2**40) == 1


def test_this_machine_tells():
    assert (available_bytes() or 0) > 2**20
    assert cores() >= 1
