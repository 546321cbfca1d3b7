"""Where the client finds its endpoint and its key."""

from pathlib import Path

import pytest

from interlingua.errors import ConfigError
from interlingua.sdk.environment import (
    API_KEY,
    DEFAULT_ENDPOINT,
    ENDPOINT,
    access,
    is_loopback,
    read_kept_key,
    with_key,
)


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENDPOINT, raising=False)
    monkeypatch.delenv(API_KEY, raising=False)


@pytest.fixture
def kept_key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("kept\n")
    return path


def test_by_itself_it_is_the_server_of_this_machine_and_its_key(kept_key: Path) -> None:
    found = access(None, None, kept_key=kept_key)
    assert (found.endpoint, found.key) == (DEFAULT_ENDPOINT, "kept")


def test_the_environment_goes_before_the_default(
    monkeypatch: pytest.MonkeyPatch, kept_key: Path
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://localhost:9")
    monkeypatch.setenv(API_KEY, "set")
    found = access(None, None, kept_key=kept_key)
    assert (found.endpoint, found.key) == ("http://localhost:9", "set")


def test_what_the_caller_says_goes_before_all(
    monkeypatch: pytest.MonkeyPatch, kept_key: Path
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://localhost:9")
    monkeypatch.setenv(API_KEY, "set")
    found = access("http://localhost:1", "said", kept_key=kept_key)
    assert (found.endpoint, found.key) == ("http://localhost:1", "said")


@pytest.mark.parametrize(
    "endpoint",
    ["https://example.com", "http://10.0.0.1:8080", "http://localhost.example.com", "http://["],
)
def test_the_kept_key_never_leaves_this_machine(kept_key: Path, endpoint: str) -> None:
    assert access(endpoint, None, kept_key=kept_key).key is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost", "LOCALHOST"])
def test_loopback_is_known_by_its_name_and_addresses(host: str) -> None:
    assert is_loopback(f"http://{host}:8080/models")


def test_without_a_kept_key_there_is_none(tmp_path: Path) -> None:
    assert access(None, None, kept_key=tmp_path / "key").key is None
    assert access(None, None, kept_key=None).key is None


def test_a_kept_key_that_cant_be_read_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--key"):
        read_kept_key(tmp_path)


def test_an_empty_file_holds_no_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("\n")
    assert read_kept_key(tmp_path / "key") is None


def test_a_childs_environment_is_ours_with_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLINGUA_DATA_DIR", "/somewhere")
    child = with_key("fresh")
    assert child[API_KEY] == "fresh"
    assert child["INTERLINGUA_DATA_DIR"] == "/somewhere"
