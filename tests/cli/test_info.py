"""What answers at an endpoint."""

import json

import pytest
from scripted_wire import Reply, Wire

from interlingua.cli.main import run

INFO = Reply(
    (b'{"model_name":"phi","model_type":"chat-completion","model_provider_name":"Microsoft"}',)
)
LIST = Reply((b'{"object":"list","data":[{"id":"phi","owned_by":"Microsoft"},{"id":"minilm"}]}',))


def test_info_shows_the_model_and_the_deployments(
    wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    wire.answer("/info", INFO)
    wire.answer("/v1/models", LIST)
    assert run(["info"]) == 0
    shown = capsys.readouterr().out
    assert wire.url in shown
    assert "chat-completion" in shown
    assert "  phi  (Microsoft)\n  minilm\n" in shown


def test_info_as_json(wire: Wire, capsys: pytest.CaptureFixture[str]) -> None:
    wire.answer("/info", INFO)
    wire.answer("/v1/models", LIST)
    assert run(["info", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["endpoint"] == wire.url
    assert told["info"]["model_name"] == "phi"
    assert [model["id"] for model in told["models"]] == ["phi", "minilm"]


def test_an_endpoint_without_info_shows_its_list(
    wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    wire.answer("/v1/models", LIST)
    assert run(["info", "--endpoint", f"{wire.url}/v1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["info"] is None
    assert len(told["models"]) == 2


def test_an_endpoint_without_a_list_shows_its_info(
    wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    wire.answer("/models/info", INFO)
    assert run(["info", "--endpoint", f"{wire.url}/models"]) == 0
    assert "deployments" not in capsys.readouterr().out


def test_an_address_with_neither_is_told(wire: Wire, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info"]) == 1
    assert "is its path right?" in capsys.readouterr().err


def test_where_nothing_answers_the_server_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", "--endpoint", "http://127.0.0.1:9"]) == 1
    err = capsys.readouterr().err
    assert "http://127.0.0.1:9" in err
    assert "interlingua serve" in err
    assert "Traceback" not in err
