"""What ``check`` learns from the providers that a config names, over real sockets."""

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.support.scripted_providers import Providers, deployments
from tests.support.scripted_upstream import (
    Reply,
    Request,
    ScriptedUpstream,
    chat_stream,
    embeddings,
    error,
    html,
    json_reply,
)
from tests.support.wires import script

from interlingua.backends.providers.registry import rows
from interlingua.cli.main import run

KEY = "the-key-of-the-provider-0815"
MODELS = json_reply({"object": "list", "data": [{"id": "gpt-4o"}, {"id": "o1-2024-12-17"}]})


def guarded(reply: Reply):
    def answer(request: Request) -> Reply:
        if request.headers.get("authorization") == f"Bearer {KEY}":
            return reply
        return error(401, "invalid_api_key", f"Incorrect API key: {KEY}.")

    return answer


class Check:
    def __init__(self, capsys: pytest.CaptureFixture[str], path: Path) -> None:
        self._capsys = capsys
        self._path = path

    def __call__(self, config: str, *options: str) -> tuple[int, str]:
        self._path.write_text(config)
        code = run(["check", "-c", str(self._path), *options])
        return code, self._capsys.readouterr().out

    def told(self, config: str, *options: str) -> dict:
        report = json.loads(self(config, "--json", *options)[1])
        (provider,) = report.pop("providers")
        return {**provider, **report}


@pytest.fixture
def check(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Check:
    monkeypatch.setenv("PROVIDER_KEY", KEY)
    monkeypatch.setenv("WRONG_KEY", "another")
    return Check(capsys, tmp_path / "x.toml")


def at(url: str, model: str = "o1-2024-12-17", *, key: str = "PROVIDER_KEY", **more: str) -> str:
    fields = {"provider": "openai", "base_url": url, "model": model, **more}
    lines = [f'{name} = "{value}"' for name, value in fields.items()]
    return "\n".join(["[[deployment]]", 'name = "far"', *lines, f'key = "${{{key}}}"'])


def test_a_provider_that_would_serve_is_told_in_full(check: Check) -> None:
    with ScriptedUpstream() as upstream:
        upstream.on("/models", guarded(MODELS))
        code, shown = check(at(upstream.url))
        told = check.told(at(upstream.url))
        assert {request.method for request in upstream.requests} == {"GET"}
    assert code == 0
    assert "reachable, credential accepted, model known" in shown
    assert "OpenAI reasoning models > o1" in shown
    assert "renamed  max_tokens as max_completion_tokens" in shown
    assert KEY not in shown
    assert (told["reachable"], told["credential"], told["model_is"]) == (True, "accepted", "known")
    assert told["parameters"]["chat_completions"]["temperature"] == {"state": "refused"}
    assert told["servable"] is True


def test_a_refused_key_is_a_problem_with_a_remedy(check: Check) -> None:
    with ScriptedUpstream() as upstream:
        upstream.on("/models", guarded(MODELS))
        code, shown = check(at(upstream.url, key="WRONG_KEY"))
    assert code == 1
    assert "credential refused" in shown
    assert "check the key in the environment" in shown
    assert KEY not in shown


def test_a_model_that_is_not_listed_is_remarked_with_the_nearest(check: Check) -> None:
    with ScriptedUpstream() as upstream:
        upstream.on("/models", guarded(MODELS))
        told = check.told(at(upstream.url, "gpt-4"))
    assert (told["model_is"], told["servable"]) == ("unlisted", True)
    assert "near to it: gpt-4o" in told["remarks"][0]["message"]


@pytest.mark.parametrize(
    ("body", "model"),
    [
        ({"models": [{"name": "models/gemini-2.5-pro"}]}, "gemini-2.5-pro"),
        ([{"id": "meta-llama/Llama-3-8b"}], "meta-llama/Llama-3-8b"),
        ({"data": [{"id": "phi4:latest"}]}, "phi4"),
    ],
)
def test_lists_of_other_shapes_are_read(check: Check, body: object, model: str) -> None:
    with ScriptedUpstream() as upstream:
        upstream.on("/models", json_reply(body))
        assert check.told(at(upstream.url, model))["model_is"] == "known"


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (error(404, None, "no"), "nothing at /models"),
        (html(200), "no list of models"),
        (json_reply({}), "no list of models"),
        (error(500, None, "no"), "status 500"),
    ],
)
def test_what_a_reply_leaves_open_is_remarked(check: Check, reply: Reply, says: str) -> None:
    with ScriptedUpstream() as upstream:
        upstream.on("/models", reply)
        told = check.told(at(upstream.url))
    assert (told["credential"], told["servable"]) == ("unchecked", True)
    assert says in told["remarks"][0]["message"]


def test_who_is_not_there_or_has_no_list_is_told(check: Check) -> None:
    code, shown = check(at("http://127.0.0.1:9"))
    assert code == 1
    assert "not reachable" in shown
    told = check.told(at("http://127.0.0.1:9", "sonar", provider="perplexity"))
    assert told["reachable"] is None
    assert "--try" in told["remarks"][0]["message"]


def test_azure_says_what_it_serves_at_info(check: Check) -> None:
    with ScriptedUpstream() as upstream:
        info = {"model_name": "Phi-4", "model_type": "chat-completion", "model_provider_name": "M"}
        upstream.on("/info", json_reply(info))
        told = check.told(at(upstream.url, "Phi-4", provider="azure"))
    assert (told["model_is"], told["families"]) == ("known", ["Phi-4"])


def test_a_try_makes_one_smallest_call(check: Check) -> None:
    with ScriptedUpstream() as upstream:
        upstream.on("/chat/completions", guarded(chat_stream("OK")))
        upstream.on("/embeddings", embeddings([[0.5, 0.5]]))
        told = check.told(at(upstream.url), "--try")
        assert (told["credential"], told["model_is"]) == ("accepted", "known")
        sent = upstream.requests[0].json()
        assert sent["max_completion_tokens"] == 16
        assert check.told(at(upstream.url, "text-embedding-3-small"), "--try")["servable"]
        upstream.on("/chat/completions", error(404, "model_not_found", "No such model."))
        code, shown = check(at(upstream.url), "--try")
        assert len(upstream.requests) == 3
    assert code == 1
    assert "No such model" in shown


def test_what_every_row_of_the_registry_would_serve_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVIDER_KEY", script.KEY)
    with Providers() as providers:
        config = ""
        for name, (row, model) in deployments().items():
            path = urlsplit(row.base_url or "").path
            config += (
                f'[[deployment]]\nname = "{name}"\nprovider = "{row.name}"\nmodel = "theirs"\n'
                f'base_url = "{providers.url}/{row.name}{path}"\ntype = "{model.type}"\n'
                'key = "${PROVIDER_KEY}"\n'
            )
        (tmp_path / "rows.toml").write_text(config)
        assert run(["check", "-c", str(tmp_path / "rows.toml"), "--try", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["problems"] == []
    told = {each["name"]: each for each in report["providers"]}
    assert told.keys() == deployments().keys()
    assert {each["provider"] for each in told.values()} == {row.name for row in rows()}
    for name, each in told.items():
        assert each["reachable"], name
        assert each["credential"] == "accepted", name
        assert each["capabilities"]["operations"], name
        assert each["parameters"], name
