"""Whose certificates the client trusts."""

import ssl
from pathlib import Path

import pytest

from interlingua.errors import ConfigError
from interlingua.sdk.trust import context_for, distrusts
from interlingua.server.dev_certificate import kept


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kept(tmp_path_factory.mktemp("tls"), frozenset({"localhost"}))[2]


def authorities(context: ssl.SSLContext | None) -> list[str]:
    assert context is not None
    return [str(each["subject"]) for each in context.get_ca_certs()]


def test_without_tls_nobody_is_trusted_or_asked(made: Path) -> None:
    assert context_for("http://127.0.0.1:8080", made, kept_ca=made) is None


def test_the_file_that_is_named_is_the_only_one(made: Path) -> None:
    for endpoint in ("https://127.0.0.1", "https://example.com"):
        assert len(authorities(context_for(endpoint, made, kept_ca=None))) == 1


def test_what_a_server_here_made_is_trusted_here_and_nowhere_else(made: Path) -> None:
    for endpoint in ("https://127.0.0.1:1", "HTTPS://localhost", "https://[::1]"):
        assert any(
            "Interlingua" in each for each in authorities(context_for(endpoint, None, kept_ca=made))
        )
    assert context_for("https://example.com", None, kept_ca=made) is None


def test_without_such_a_file_the_system_decides(tmp_path: Path) -> None:
    context = context_for("https://localhost", None, kept_ca=tmp_path / "ca.pem")
    assert not any("Interlingua" in each for each in authorities(context))


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("nothing")
    for file in (garbage, tmp_path / "missing.pem"):
        with pytest.raises(ConfigError, match=file.name):
            context_for("https://localhost", file, kept_ca=None)
    with pytest.raises(ConfigError, match="garbage"):
        context_for("https://localhost", None, kept_ca=garbage)


def test_a_failed_handshake_is_told_from_other_failures() -> None:
    outer = ConnectionError()
    outer.__cause__ = ssl.SSLCertVerificationError()
    assert distrusts(outer)
    assert not distrusts(ConnectionError())
    assert not distrusts(None)
