"""What a failed call is told as, in one line."""

import ssl

import pytest
from scripted_wire import Reply, Wire

from interlingua import Client
from interlingua.cli.failures import api_error
from interlingua.cli.main import run
from interlingua.errors import ContextLengthExceeded, Unavailable, UpstreamError
from interlingua.sdk.failures import AzureError, ServiceRequestError, failure


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply((b"{",), end="hold"), "stayed silent for too long"),
        (Reply((b"{",)), "the reply makes no sense"),
        (Reply((b'{"a": 1',), end="cut"), "broke the exchange off"),
        (
            Reply(status=307, headers={"location": "https://example.com/"}),
            "https://example.com/: give that",
        ),
        (
            Reply((b'{"error":{"code":"unauthorized","message":"No."}}',), status=401),
            "No.\nGive the server's key",
        ),
        (Reply((b"<html>",), status=502), "502"),
        (Reply((b'{"error":{"code":"x","message":"Later."}}',), status=503), "Later."),
    ],
)
def test_a_failure_is_told_at_once_and_without_a_traceback(
    wire: Wire, reply: Reply, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wire.answer("/info", reply)
    assert run(["info", "--timeout", "0.5"]) == 1
    err = capsys.readouterr().err
    assert told in err
    assert err.startswith("Error: ")
    assert "Code:" not in err
    assert len(wire.heard) == 1


@pytest.mark.parametrize("endpoint", ["/models", "127.0.0.1:8080", "http://me:secret@example.com"])
def test_a_wrong_endpoint_is_told(endpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", "--endpoint", endpoint]) == 1
    err = capsys.readouterr().err
    assert "the endpoint" in err
    assert "secret" not in err


def test_a_key_that_can_not_be_sent_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", "--key", "with space"]) == 1
    assert "no header can carry" in capsys.readouterr().err


def test_a_certificate_that_is_not_trusted_names_the_remedy() -> None:
    error = failure(ServiceRequestError, "verify failed")
    error.__cause__ = ssl.SSLCertVerificationError()
    made = api_error(error, "https://example.com/models")
    assert isinstance(made, Unavailable)
    assert "https://example.com isn't trusted" in made.message
    assert "--ca" in made.message


def test_what_a_reply_states_decides_the_error(wire: Wire) -> None:
    body = b'{"error":{"code":"context_length_exceeded","message":"9 are too many"}}'
    wire.answer("/chat/completions", Reply((body,), status=400))
    with Client(wire.url, "k") as client, pytest.raises(AzureError) as caught:
        client.chat("hello")
    assert isinstance(api_error(caught.value, wire.url), ContextLengthExceeded)
    assert type(api_error(AzureError("odd"), wire.url)) is UpstreamError
