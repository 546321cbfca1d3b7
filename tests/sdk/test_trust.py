"""Whose certificates the client trusts."""

import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from interlingua import Client
from interlingua.errors import ConfigError
from interlingua.exceptions import ServiceRequestError
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


class _Info(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"model_name": "phi"}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint(made: Path) -> Iterator[str]:
    """A server on this machine with a certificate that nobody else knows."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Info)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.with_name("server.pem"), made.with_name("server-key.pem"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"https://localhost:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_certificate_that_nobody_vouches_for_is_refused(endpoint: str) -> None:
    refused = pytest.raises(ServiceRequestError, match="CERTIFICATE_VERIFY_FAILED")
    with Client(endpoint, retry_total=0) as client, refused:
        client.info()


def test_the_file_of_the_environment_counts_for_this_machine_too(
    endpoint: str, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(made))
    with Client(endpoint) as client:
        assert client.info().model_name == "phi"


@pytest.mark.parametrize("kind", [str, ssl.SSLContext, bool])
def test_whom_to_trust_can_be_said(endpoint: str, made: Path, kind: type) -> None:
    context = ssl.create_default_context(cafile=made)
    said = {str: str(made), ssl.SSLContext: context, bool: False}[kind]
    with Client(endpoint, connection_verify=said) as client:
        assert client.info().model_name == "phi"
