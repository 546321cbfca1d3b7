"""What a config would serve, and what stands in the way, all of it at once."""

import json
from pathlib import Path

import pytest

from interlingua.cli import check as command
from interlingua.cli.main import run

GOOD = """
[server]
port = 9000
keys = ["${INTERLINGUA_API_KEY}"]

[[deployment]]
name = "chat"
model = "smollm2-135m-instruct"
compute = "managed"
context_length = 1024
aliases = ["gpt-4o-mini", "small"]
fallback = ["vectors"]

[[deployment]]
name = "vectors"
model = "sentence-transformers/all-MiniLM-L6-v2"

[[endpoint]]
name = "support"
traffic = { chat = 3, vectors = 1 }
"""

BAD = """
[[deployment]]
name = "typo"
model = "smollm2-135m-instruc"

[[deployment]]
name = "broken"
model = "{path}"

[[deployment]]
name = "fine"
model = "all-minilm-l6-v2"
"""


def report(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_without_a_config_it_is_the_embedded_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--json"]) == 0
    told = report(capsys)
    assert told["config"] == "the embedded default"
    assert told["address"] == "http://127.0.0.1:8080"
    names = [row["name"] for row in told["deployments"]]
    assert names == ["smollm2-135m-instruct", "all-minilm-l6-v2", "efficientnet-lite0"]
    assert {row["files"] for row in told["deployments"]} == {"absent"}
    assert "interlingua models pull efficientnet-lite0" in told["remarks"][2]["message"]


def test_a_config_becomes_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INTERLINGUA_API_KEY", "top-secret")
    (tmp_path / "interlingua.toml").write_text(GOOD)
    assert run(["check"]) == 0
    shown = capsys.readouterr().out
    assert "interlingua.toml" in shown
    assert "http://127.0.0.1:9000" in shown
    assert "1 from the environment" in shown
    assert "top-secret" not in shown
    chat = next(line for line in shown.splitlines() if line.startswith("chat "))
    assert chat.split() == [
        "chat",
        "smollm2-135m-instruct",
        "llamacpp",
        "managed",
        "1024",
        "absent",
        "/endpoints/chat",
        "gpt-4o-mini",
        "small",
    ]
    assert "weighted  chat 75 %, vectors 25 %" in shown
    assert "chat        vectors\n" in shown
    assert shown.endswith("It can be served.\n")


def test_the_same_config_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INTERLINGUA_API_KEY", "top-secret")
    (tmp_path / "mine.toml").write_text(GOOD)
    assert run(["check", "--config", "mine.toml", "--json"]) == 0
    told = report(capsys)
    assert told["servable"] is True
    assert told["deployments"][0]["aliases"] == ["gpt-4o-mini", "small"]
    assert [row["fallback"] for row in told["deployments"]] == [["vectors"], []]
    assert told["endpoints"] == [
        {
            "name": "support",
            "address": "http://127.0.0.1:9000/endpoints/support",
            "traffic": {"chat": 75.0, "vectors": 25.0},
            "choose": "weighted",
        }
    ]


def test_a_provider_is_told_without_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROVIDER_KEY", "top-secret")
    deployment = '[[deployment]]\nname = "far"\nprovider = "groq"\nkey = "${PROVIDER_KEY}"\n'
    (tmp_path / "interlingua.toml").write_text(deployment)
    assert run(["check", "--offline"]) == 0
    shown = capsys.readouterr().out
    assert "top-secret" not in shown
    assert "far: groq at https://api.groq.com/openai/v1: not asked" in shown
    assert "chat completions: refused  n, logit_bias, logprobs, top_logprobs" in shown
    row = next(line for line in shown.splitlines() if line.startswith("far "))
    assert row.split() == [*["far", "-", "groq", "serverless", "-", "none", "/endpoints/far", "-"]]


def test_every_deployment_that_cant_be_served_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not a model at all")
    (tmp_path / "bad.toml").write_text(BAD.format(path=broken))
    assert run(["check", "-c", "bad.toml", "--json"]) == 1
    told = report(capsys)
    assert told["servable"] is False
    assert [row["files"] for row in told["deployments"]] == ["unknown", "unknown", "absent"]
    first, second = told["problems"]
    assert first["where"] == 'deployment "typo"'
    assert "did you mean smollm2-135m-instruct" in first["message"]
    assert second["where"] == 'deployment "broken"'
    assert "broken.gguf" in second["message"]


def test_problems_are_told_below_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.toml").write_text(BAD.format(path="/nowhere/model.gguf"))
    assert run(["check", "-c", "bad.toml"]) == 1
    shown = capsys.readouterr().out
    assert '  deployment "broken": ' in shown
    assert shown.endswith("It can't be served as it is.\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[server", "isn't TOML"),
        ("[server]\nprot = 1", "did you mean 'port'"),
        ("[server]\n", "no deployment"),
        ('[server]\nkeys = ["literal"]\n[[deployment]]\nname="a"\nmodel="b"', "environment"),
    ],
)
def test_a_config_that_cant_be_read_is_one_problem(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.toml").write_text(text)
    assert run(["check", "-c", "bad.toml", "--json"]) == 1
    told = report(capsys)
    assert told["deployments"] == []
    assert [says in problem["message"] for problem in told["problems"]] == [True]


def test_a_config_that_isnt_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "-c", "gone.toml"]) == 1
    assert "gone.toml" in capsys.readouterr().out


def test_an_engine_that_isnt_installed_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert run(["check", "--json"]) == 1
    messages = [problem["message"] for problem in report(capsys)["problems"]]
    assert "pip install 'interlingua[llamacpp]'" in messages[0]
    assert "pip install 'interlingua[onnx]'" in messages[1]


def test_more_context_than_the_model_has_is_remarked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    big = '[[deployment]]\nname = "a"\nmodel = "smollm2-135m-instruct"\ncontext_length = 999999\n'
    (tmp_path / "big.toml").write_text(big)
    assert run(["check", "-c", "big.toml", "--json"]) == 0
    assert "999999 is more than" in report(capsys)["remarks"][1]["message"]


def test_an_address_of_ipv6_is_bracketed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = '[server]\nhost = "::1"\n[[deployment]]\nname = "a"\nmodel = "all-minilm-l6-v2"\n'
    (tmp_path / "six.toml").write_text(text)
    assert run(["check", "-c", "six.toml", "--json"]) == 0
    assert report(capsys)["address"] == "http://[::1]:8080"


def test_a_port_that_is_free_to_choose_is_not_told_as_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = '[server]\nport = 0\n[[deployment]]\nname = "a"\nmodel = "all-minilm-l6-v2"\n'
    (tmp_path / "any.toml").write_text(text)
    assert run(["check", "-c", "any.toml", "--json"]) == 0
    assert report(capsys)["address"] == "http://127.0.0.1:PORT"


def test_nothing_is_made_where_a_server_would_keep_its_things(data_dir: Path) -> None:
    assert run(["check"]) == 0
    assert not data_dir.exists()


def test_limits_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEAM_KEY", "of-the-team")
    text = (
        '[[key]]\nname = "team"\nkey = "${TEAM_KEY}"\ntokens_per_day = 2000000\n'
        '[[deployment]]\nname = "a"\nmodel = "echo"\nrequests_per_minute = 60\n'
    )
    (tmp_path / "limits.toml").write_text(text)
    assert run(["check", "-c", "limits.toml", "--json"]) == 0
    assert report(capsys)["limits"] == [
        {"name": 'key "team"', "limit": "2,000,000 tokens a day"},
        {"name": 'deployment "a"', "limit": "60 requests a minute"},
    ]
    assert run(["check", "-c", "limits.toml"]) == 0
    shown = capsys.readouterr().out
    assert "keys     1 from the environment" in shown
    assert 'key "team"      2,000,000 tokens a day' in shown
