"""TLS with real handshakes: what is spoken, who is trusted, and how a failed stream looks."""

import http.client
import os
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import openai
import pytest
from azure.ai.inference import ChatCompletionsClient, aio
from azure.ai.inference.models import UserMessage
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import HttpResponseError
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from interlingua.backends.echo import EchoBackend
from interlingua.config.schema import ServerConfig
from interlingua.errors import ConfigError
from interlingua.server.dev_certificate import kept, local_names
from interlingua.server.tls import Certificate, certificate_of, context_of

from .service import KEY, app_of, failing, hanging, served

NAMES = frozenset({"localhost", "127.0.0.1", "::1", "my-host"})
ASK = [UserMessage("one two three")]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    found = certificate_of(ServerConfig(tls="dev"), tmp_path_factory.mktemp("data"))
    assert found is not None
    return found


@pytest.fixture
def failing_url(certificate: Certificate) -> Iterator[str]:
    with served(app_of(failing()), tls=context_of(certificate)) as url:
        yield url


def trusting(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificate.ca)
    # The default from Python 3.13 on.
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def test_the_certificate_is_trusted_under_every_name_of_this_machine(
    certificate: Certificate,
) -> None:
    with served(app_of(EchoBackend(name="echo")), tls=context_of(certificate)) as url:
        assert url.startswith("https://127.0.0.1:")
        port = int(url.rpartition(":")[2])
        for name in ("localhost", "127.0.0.1", "::1", socket.gethostname().lower()):
            with (
                socket.create_connection(("127.0.0.1", port)) as plain,
                trusting(certificate).wrap_socket(plain, server_hostname=name) as secure,
            ):
                assert secure.version() == "TLSv1.3"
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            trusting(certificate).wrap_socket(plain, server_hostname="example.com")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_nothing_older_than_tls_1_2_and_nothing_in_plain_is_spoken(
    certificate: Certificate, capfd: pytest.CaptureFixture[str]
) -> None:
    with served(app_of(EchoBackend(name="echo")), tls=context_of(certificate)) as url:
        port = int(url.rpartition(":")[2])
        for newest, spoken in ((ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_1, False)):
            context = trusting(certificate)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = newest
            context.set_ciphers("ALL:@SECLEVEL=0")
            with socket.create_connection(("127.0.0.1", port)) as plain:
                if spoken:
                    with context.wrap_socket(plain, server_hostname="localhost") as secure:
                        assert secure.version() == "TLSv1.2"
                else:
                    with pytest.raises((ssl.SSLError, ConnectionError)):
                        context.wrap_socket(plain, server_hostname="localhost")
        plain_http = http.client.HTTPConnection("127.0.0.1", port)
        plain_http.request("GET", "/health/live")
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            plain_http.getresponse()
        plain_http.close()
    assert capfd.readouterr().err == ""


def test_the_sync_client_sees_a_failed_stream(certificate: Certificate, failing_url: str) -> None:
    client = ChatCompletionsClient(
        failing_url, AzureKeyCredential(KEY), connection_verify=str(certificate.ca)
    )
    with client, pytest.raises(HttpResponseError):
        list(client.complete(messages=ASK, stream=True))


@pytest.mark.anyio
async def test_the_async_client_sees_a_failed_stream(
    certificate: Certificate, failing_url: str
) -> None:
    client = aio.ChatCompletionsClient(
        failing_url, AzureKeyCredential(KEY), connection_verify=str(certificate.ca)
    )
    async with client:
        stream = await client.complete(messages=ASK, stream=True)
        with pytest.raises(Exception, match=r"(?i)payload|incomplete|ended|closed"):
            async for _ in stream:
                pass


def test_openais_client_sees_a_failed_stream(
    certificate: Certificate, failing_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.ca))
    with openai.OpenAI(base_url=f"{failing_url}/v1", api_key=KEY, max_retries=0) as client:
        chunks = client.chat.completions.create(
            model="failing", messages=[{"role": "user", "content": "x"}], stream=True
        )
        with pytest.raises(openai.APIError, match="The engine ended"):
            list(chunks)


def test_a_client_that_leaves_is_noticed(certificate: Certificate) -> None:
    backend = hanging(words=3)
    with served(app_of(backend), tls=context_of(certificate)) as url:
        client = ChatCompletionsClient(
            url, AzureKeyCredential(KEY), connection_verify=str(certificate.ca)
        )
        with client:
            stream = client.complete(messages=ASK, stream=True)
            next(iter(stream))
            stream.close()
        assert backend.ended.wait(10)


def test_what_is_made_is_kept_and_its_key_is_the_owners_alone(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in kept(tmp_path / "tls", NAMES)]
    cert, key, ca = kept(tmp_path / "tls", NAMES)
    assert [path.read_bytes() for path in (cert, key, ca)] == first
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    # The authority's key is nowhere.
    kinds = {path.name for path in (tmp_path / "tls").iterdir()}
    assert kinds == {"ca.pem", "server.pem", "server-key.pem", ".lock"}
    assert b"PRIVATE" not in ca.read_bytes() + cert.read_bytes()
    made = x509.load_pem_x509_certificate(cert.read_bytes())
    held = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(each.value) for each in held} == NAMES
    assert made.not_valid_after_utc - made.not_valid_before_utc <= timedelta(days=397)


def test_it_is_made_anew_near_its_end_for_a_new_name_and_when_spoilt(tmp_path: Path) -> None:
    def made(names: frozenset[str] = NAMES, now: datetime | None = None) -> bytes:
        cert, key, ca = kept(tmp_path, names, now=now)
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trust.load_cert_chain(cert, key)
        trust.load_verify_locations(ca)
        return cert.read_bytes()

    first = made()
    now = datetime.now(UTC)
    assert made(now=now + timedelta(days=360)) == first
    second = made(now=now + timedelta(days=370))
    assert second != first
    third = made(now=now)  # a certificate of the future is not valid yet
    assert third != second
    fourth = made(NAMES | {"10.0.0.5"})
    assert fourth != third
    assert made(NAMES) == fourth
    for name in ("server.pem", "server-key.pem", "ca.pem"):
        before = made()
        (tmp_path / name).write_bytes(b"spoilt")
        after = made()
        assert after != before
        (tmp_path / name).unlink()
        assert made() != after


def test_servers_that_start_at_once_agree(tmp_path: Path) -> None:
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(kept(tmp_path, NAMES)[0].read_bytes()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_the_names_are_those_that_callers_use() -> None:
    assert {"localhost", "127.0.0.1", "::1"} <= local_names("0.0.0.0")
    assert "0.0.0.0" not in local_names("0.0.0.0")
    assert "192.168.7.7" in local_names("192.168.7.7")
    assert "box.lan" in local_names("Box.lan")


def refusal(cert: Path, key: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        context_of(Certificate(cert=cert, key=key))
    return str(caught.value)


def test_files_that_can_not_be_used_are_named(certificate: Certificate, tmp_path: Path) -> None:
    cert, key = certificate.cert, certificate.key
    other = kept(tmp_path / "other", NAMES)
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("nothing")
    locked = tmp_path / "locked.pem"
    private = load_pem_private_key(key.read_bytes(), None)
    hidden = BestAvailableEncryption(b"secret")
    locked.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden))
    missing = tmp_path / "missing.pem"

    assert refusal(missing, key) == (
        f"server.tls_cert: {missing} can't be read: No such file or directory."
    )
    assert refusal(cert, missing).startswith(f"server.tls_key: {missing} can't be read")
    assert refusal(tmp_path, key).startswith(f"server.tls_cert: {tmp_path} can't be read")
    assert refusal(garbage, key).startswith(f"server.tls_cert: {garbage} holds no certificate")
    assert refusal(key, key).startswith(f"server.tls_cert: {key} holds no certificate")
    assert refusal(cert, garbage).startswith(f"server.tls_key: {garbage} holds no private key")
    assert refusal(cert, cert).startswith(f"server.tls_key: {cert} holds no private key")
    assert f"{other[1]} is not the key of {cert}" in refusal(cert, other[1])
    assert "openssl pkey" in refusal(cert, locked)


def test_a_directory_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "tls").write_text("a file")
    with pytest.raises(ConfigError, match=r"can't be kept in .*--data-dir"):
        certificate_of(ServerConfig(tls="dev"), tmp_path)


def test_given_files_are_taken_as_they_are(certificate: Certificate) -> None:
    home = Path("~").expanduser()
    shown = os.path.relpath(certificate.cert, home)
    settings = ServerConfig(tls_cert=f"~/{shown}", tls_key=str(certificate.key))
    found = certificate_of(settings, Path("/nowhere"))
    assert found is not None
    assert found.ca is None
    context_of(found)
    assert certificate_of(ServerConfig(), Path("/nowhere")) is None
