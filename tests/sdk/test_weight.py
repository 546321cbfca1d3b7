"""What importing the SDK brings along, and what it leaves for the first call."""

import copy
import json
import pickle
import subprocess
import sys

import pytest

import interlingua
from interlingua.models import ChatCompletions, UserMessage


def loaded(code: str) -> set[str]:
    """The modules that a fresh interpreter has after this."""
    printed = subprocess.check_output(
        [sys.executable, "-c", f"{code}\nimport json, sys; print(json.dumps(list(sys.modules)))"]
    )
    return set(json.loads(printed))


def test_importing_the_package_imports_nothing_of_the_sdk() -> None:
    assert {name for name in loaded("import interlingua") if name.startswith("interlingua.")} == (
        set()
    )


def test_the_server_and_the_command_line_do_not_import_the_clients() -> None:
    modules = loaded("import interlingua.cli.main, interlingua.server.app, interlingua.cli.serve")
    assert {"interlingua.sdk.clients", "interlingua.sdk.mapped"} & modules == set()


def test_a_client_is_made_without_what_only_calls_need() -> None:
    modules = loaded("import interlingua; interlingua.ChatCompletionsClient('http://h', 'k')")
    assert {"httpx2", "msgspec", "ssl", "asyncio", "azure"} & modules == set()


def test_every_public_name_is_found_and_no_other() -> None:
    for name in interlingua.__all__:
        assert getattr(interlingua, name).__name__ == name
    assert set(interlingua.__all__) < set(dir(interlingua))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = interlingua.Nothing  # type: ignore[attr-defined]


def test_values_can_be_copied_and_pickled() -> None:
    answer = ChatCompletions({"choices": [{"message": {"content": "x"}}]})
    for twin in (copy.deepcopy(answer), pickle.loads(pickle.dumps(answer))):
        assert twin == answer
        twin.choices[0].message.content = "y"
        assert answer.choices[0].message.content == "x"
    assert copy.copy(UserMessage("x")) == UserMessage("x")
