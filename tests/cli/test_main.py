"""The command itself: its help, its exit codes, and how it tells failures."""

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from scripted_wire import Wire, chunk, events

from interlingua.cli.main import COMMANDS, EXTRAS, cli, explain, run
from interlingua.errors import ConfigError, ModelFileError, Unavailable


def test_the_help_imports_no_command_and_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from interlingua.cli.main import run\n"
        "assert run(['--help']) == 0\n"
        "loaded = [m for m in sys.modules if m.startswith('interlingua.')]\n"
        "heavy = [m for m in ('httpx2', 'rich', 'msgspec', 'asyncio') if m in sys.modules]\n"
        "print(sorted(loaded), heavy, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    known = ["interlingua.cli", "interlingua.cli.main", "interlingua.errors"]
    assert done.stderr.strip() == f"{known} []"


def test_the_help_teaches_every_command_and_where_the_key_comes_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(line in shown for _, line in COMMANDS.values())
    assert "interlingua serve  " in shown
    assert "INTERLINGUA_API_KEY" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_an_example_and_json(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Example" in shown
    # Groups have it in their commands; the vectors of embed are JSON by themselves.
    assert name in {"embed", "keys", "models"} or "--json" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_names_commands_that_exist(name: str) -> None:
    module, _, attribute = COMMANDS[name][0].partition(":")
    assert isinstance(getattr(importlib.import_module(module), attribute), click.Command)


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("interlingua 0.")


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["embed"], ["info", "extra"]])
def test_a_wrong_command_line_is_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert run(arguments) == 2
    assert "Error" in capsys.readouterr().err


def _failing(error: BaseException) -> click.Command:
    @click.command("failing")
    def failing() -> None:
        raise error

    return failing


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConfigError("port: 70000 is too high"), "Error: port: 70000 is too high\n"),
        (ModelFileError("a.gguf is no GGUF"), "Error: a.gguf is no GGUF\n"),
        (Unavailable("nothing answers"), "Error: nothing answers\n"),
        (FileNotFoundError(2, "No such file", "x.png"), "Error: x.png: No such file\n"),
        (OSError("odd"), "Error: odd\n"),
    ],
)
def test_a_failure_is_one_line_and_code_1(
    error: Exception,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli, "get_command", lambda ctx, name: _failing(error))
    assert run(["failing"]) == 1
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("module", EXTRAS)
def test_a_missing_extra_is_told_with_the_line_that_installs_it(module: str) -> None:
    told = explain(ModuleNotFoundError("gone", name=f"{module}.inner"))
    assert told.endswith(f"pip install 'interlingua[{EXTRAS[module][0]}]'")


def test_a_missing_server_is_told_by_the_command_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn")
    monkeypatch.setattr(cli, "get_command", lambda ctx, name: _failing(gone))
    assert run(["serve"]) == 1
    expected = "Error: this command needs the server: pip install 'interlingua[server]'\n"
    assert capsys.readouterr().err == expected


def test_a_module_that_no_extra_has_is_a_defect() -> None:
    with pytest.raises(ModuleNotFoundError):
        explain(ModuleNotFoundError("gone", name="interlingua.typo"))


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "get_command", lambda ctx, name: _failing(KeyboardInterrupt()))
    assert run(["failing"]) == 130


def test_a_reader_that_goes_away_is_no_traceback(wire: Wire, tmp_path: Path) -> None:
    long = chunk("word " * 50_000)
    wire.answer("/chat/completions", events(long, chunk("", "stop")))
    command = [sys.executable, "-m", "interlingua", "chat", "x"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 1


def test_the_installed_command_is_this_one(piped: Callable) -> None:
    script = Path(sys.executable).with_name("interlingua")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == piped(b"", "--version").stdout
