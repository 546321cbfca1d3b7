"""The rows are data that a server can use."""

from urllib.parse import urlsplit

import pytest

from interlingua.backends.providers.registry import Row, find, rows, suggest
from interlingua.types.models import Capabilities

from .upstreams import model_at

ROWS = rows()


def test_names_are_unique_and_in_order() -> None:
    names = [row.name for row in ROWS]
    assert names == sorted(set(names))
    assert find("nobody") is None
    assert suggest("OpenAi")[0] == "openai"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_an_address_and_its_quirks(row: Row) -> None:
    assert row.title
    assert row.source
    if row.base_url is not None:
        url = urlsplit(row.base_url)
        local = url.hostname == "127.0.0.1"
        assert url.scheme == ("http" if local else "https")
        assert not url.query
        assert not row.base_url.endswith("/")
        # A key that goes to a stranger's machine must have been meant for it.
        assert row.needs_key or local or row.name == "openai"


def test_capabilities_are_merged_from_dialect_row_and_config() -> None:
    can = model_at("http://x", "mistral").capabilities
    assert can.passes_through
    assert can.modalities == {"text", "image", "audio"}
    assert can.renames == {"max_completion_tokens": "max_tokens", "seed": "random_seed"}
    assert model_at("http://x", "azure").capabilities.renames == {
        "max_completion_tokens": "max_tokens"
    }
    stated = Capabilities(renames={"max_tokens": "max_completion_tokens"}, passes_through=False)
    can = model_at("http://x", "mistral", stated=stated).capabilities
    assert (can.renames, can.passes_through) == (stated.renames, False)
