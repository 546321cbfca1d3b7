"""Keys: made, shown and replaced, and never where they don't belong."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from interlingua.cli.main import run
from interlingua.sdk.environment import read_kept_key

Piped = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def kept(data_dir: Path) -> Path:
    assert run(["keys", "rotate"]) == 0
    return data_dir / "key"


def test_a_new_key_is_256_random_bits_for_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    keys = set()
    for _ in range(20):
        assert run(["keys", "new"]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        keys.add(out.strip())
    assert len(keys) == 20
    assert all(len(key) == 43 and key.replace("-", "").replace("_", "").isalnum() for key in keys)


def test_a_new_key_is_kept_nowhere(data_dir: Path) -> None:
    assert run(["keys", "new"]) == 0
    assert not data_dir.exists()


def test_a_terminal_is_told_how_to_use_a_new_key(terminal: Callable) -> None:
    shown = terminal("keys", "new")
    assert shown.end() == 0
    key = shown.shown.splitlines()[0]
    assert f"export INTERLINGUA_API_KEY='{key}'" in shown.shown
    assert '"${INTERLINGUA_API_KEY}"' in shown.shown


def test_a_new_key_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "new", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["key"]) == 43


def test_the_kept_key_is_its_owners_alone(kept: Path, data_dir: Path) -> None:
    assert kept.stat().st_mode & 0o777 == 0o600
    assert data_dir.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in data_dir.iterdir()] == ["key"]


def test_the_kept_key_is_shown_to_a_terminal(kept: Path, terminal: Callable) -> None:
    shown = terminal("keys", "show")
    assert shown.end() == 0
    assert str(kept) in shown.shown
    assert kept.read_text().strip() in shown.shown


def test_a_pipe_gets_the_kept_key_only_when_asked(kept: Path, piped: Piped) -> None:
    refused = piped(b"", "keys", "show")
    assert refused.returncode == 2
    assert kept.read_text().strip() not in refused.stdout + refused.stderr
    assert piped(b"", "keys", "show", "--yes").stdout == kept.read_text()
    asked = json.loads(piped(b"", "keys", "show", "--yes", "--json").stdout)
    assert asked == {"path": str(kept), "key": kept.read_text().strip()}


def test_where_no_key_is_kept_the_remedy_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "show", "--yes"]) == 1
    assert "interlingua serve" in capsys.readouterr().err


def test_rotating_replaces_the_key_for_the_next_reader(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_kept_key(kept)
    capsys.readouterr()
    assert run(["keys", "rotate", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"path": str(kept)}
    after = read_kept_key(kept)
    assert after not in {before, None}
    assert kept.stat().st_mode & 0o777 == 0o600


def test_rotating_asks_first(kept: Path, piped: Piped) -> None:
    before = kept.read_text()
    assert piped(b"n\n", "keys", "rotate").returncode == 1
    assert kept.read_text() == before
    assert piped(b"y\n", "keys", "rotate").returncode == 0
    assert kept.read_text() != before


def test_another_data_directory_may_be_named(tmp_path: Path, kept: Path) -> None:
    before = kept.read_text()
    assert run(["keys", "rotate", "--data-dir", str(tmp_path / "other")]) == 0
    assert (tmp_path / "other" / "key").is_file()
    assert kept.read_text() == before


def test_the_client_and_the_server_read_the_same_key(kept: Path, data_dir: Path) -> None:
    from interlingua.config.load import server_keys
    from interlingua.config.schema import Config

    keys, path = server_keys(Config(), data_dir)
    assert (keys, path) == ((read_kept_key(kept),), kept)
