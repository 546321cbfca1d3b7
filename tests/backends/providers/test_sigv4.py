"""Signatures against those that AWS publishes, and over what goes over the wire."""

from datetime import UTC, datetime

import pytest

from interlingua.backends.providers.http import Upstream
from interlingua.backends.providers.sigv4 import AwsKeys, SigV4
from interlingua.http import HttpCall

from ...support import amazon_events as amazon
from ...support.scripted_upstream import ScriptedUpstream
from .upstreams import answer, ask, model_at

pytestmark = pytest.mark.anyio

TOKEN = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"
FORM = {"content-type": "application/x-www-form-urlencoded"}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: Source: the test suite for Signature Version 4 (aws-sig-v4-test-suite, aws-c-auth).
PUBLISHED = {
    "get-vanilla": (
        HttpCall(method="GET", path="/"),
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "post-vanilla": (
        HttpCall(path="/"),
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
    "get-vanilla-with-session-token": (
        HttpCall(method="GET", path="/"),
        "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
    ),
    "post-x-www-form-urlencoded": (
        HttpCall(path="/", headers=FORM, body=b"Param1=value1"),
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    "get-unreserved": (
        HttpCall(method="GET", path=f"/-._~0123456789{LETTERS}{LETTERS.lower()}"),
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    "get-vanilla-query-order-key-case": (
        HttpCall(method="GET", path="/", query={"Param2": "value2", "Param1": "value1"}),
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
}
JSON = {"content-type": "application/json"}
MODEL = "anthropic.claude-3-5-sonnet-20241022-v2:0"


def _signer(base_url: str, service: str, token: str | None = None) -> SigV4:
    keys = AwsKeys(
        region="us-east-1",
        access_key_id="AKIDEXAMPLE",
        secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        session_token=token,
    )
    when = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
    return SigV4(keys, base_url, service=service, now=lambda: when)


@pytest.mark.parametrize("name", PUBLISHED)
async def test_a_published_request_is_signed_as_published(name: str) -> None:
    call, signature = PUBLISHED[name]
    token = TOKEN if name.endswith("token") else None
    headers = await _signer("https://example.amazonaws.com", "service", token).headers(call)
    assert headers["authorization"].endswith(f"Signature={signature}")
    assert headers["x-amz-date"] == "20150830T123600Z"
    assert headers.get("x-amz-security-token") == token


@pytest.mark.parametrize(
    ("base_url", "path", "body", "signature"),
    [
        (
            "https://bedrock-runtime.us-east-1.amazonaws.com",
            "/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse-stream",
            b'{"messages":[]}',
            "e0c77e13930a0059b13afccbf469915fc7749be19285f597580531731424ee6e",
        ),
        (
            "http://127.0.0.1:8123/aws/",
            (
                "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2F"
                "us.x-v1%3A0/converse"
            ),
            b"{}",
            "f48b79542faff3efd4a0ec7e629be2a78bcd6b984b185466c697835ee0c786d1",
        ),
    ],
)
async def test_names_of_models_are_signed_as_botocore_does(
    base_url: str, path: str, body: bytes, signature: str
) -> None:
    """The signatures are botocore 1.44.5's for the same requests."""
    signer = _signer(base_url, "bedrock")
    headers = await signer.headers(HttpCall(path=path, headers=JSON, body=body))
    assert headers["authorization"].endswith(f"Signature={signature}")


async def test_what_is_signed_is_what_arrives() -> None:
    """The signature is made again from the request that came over the socket."""
    path = f"/aws/model/{MODEL}/converse-stream"
    with ScriptedUpstream(answers={path: amazon.stream(*amazon.said("Hi"))}) as upstream:
        signer = _signer(upstream.url + "/aws", "bedrock", TOKEN)
        model = model_at(upstream.url + "/aws", "bedrock", model=MODEL, key=None)
        backend = Upstream(model, credential=signer)
        whole = await answer(backend, ask(max_tokens=5))
        await backend.close()
    assert whole.choices[0].text == "Hi"
    (request,) = upstream.requests
    assert request.target == path.replace(":", "%3A")
    again = HttpCall(
        path=request.target,
        headers={"content-type": request.headers["content-type"]},
        body=request.body,
    )
    host = _signer(f"http://{request.headers['host']}", "bedrock", TOKEN)
    signed = await host.headers(again)
    assert request.headers["authorization"] == signed["authorization"]
    assert request.headers["x-amz-security-token"] == TOKEN


def test_no_text_for_a_caller_may_hold_what_it_signs_with() -> None:
    signer = _signer("https://x", "bedrock", TOKEN)
    assert set(signer.secrets) == {
        "AKIDEXAMPLE",
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        TOKEN,
    }
