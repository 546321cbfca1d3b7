"""Tokens of Entra ID for calls to Azure, over real sockets."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.support.issuer import IDENTITY_HEADER, Issuer, rsa_key
from tests.support.scripted_upstream import (
    Request,
    ScriptedUpstream,
    chat_stream,
    error,
    html,
    json_reply,
)

from interlingua.backends.providers.entra import EntraIdentity, EntraToken, IdentityEndpoint
from interlingua.backends.providers.http import create
from interlingua.errors import ApiError, Unavailable, UpstreamError
from interlingua.http import HttpCall

from .upstreams import answer, model_at

TENANT = "0f0e0d0c-1111-2222-3333-444455556666"
TOKENS = f"/{TENANT}/oauth2/v2.0/token"
SECRET = "s3cr~et/with+odd=chars"
SCOPE = "https://cognitiveservices.azure.com/.default"
CALL = HttpCall(path="/")


def application(url: str, **more: object) -> EntraIdentity:
    fields: dict[str, object] = {"client_secret": SECRET, **more}
    return EntraIdentity(scope=SCOPE, authority=url, tenant=TENANT, client_id="app", **fields)  # type: ignore[arg-type]  # a test's choice


def granted(token: str, seconds: int = 3600) -> object:
    return json_reply({"token_type": "Bearer", "expires_in": seconds, "access_token": token})


def form(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(request.body.decode()).items()}


@pytest.mark.anyio
async def test_a_secret_becomes_a_token_that_is_kept_and_renewed_before_its_end() -> None:
    now = [1000.0]
    with ScriptedUpstream() as issuer:
        issuer.on(TOKENS, granted("token-1"), granted("token-2"))
        credential = EntraToken(application(issuer.url), clock=lambda: now[0])
        told = await asyncio.gather(*(credential.headers(CALL) for _ in range(5)))
        assert told == [{"authorization": "Bearer token-1"}] * 5
        assert len(issuer.requests) == 1
        assert form(issuer.requests[0]) == {
            "grant_type": "client_credentials",
            "client_id": "app",
            "client_secret": SECRET,
            "scope": SCOPE,
        }
        now[0] += 3299
        assert await credential.headers(CALL) == {"authorization": "Bearer token-1"}
        now[0] += 2
        assert await credential.headers(CALL) == {"authorization": "Bearer token-2"}
        assert set(credential.secrets) == {"token-2", SECRET}
        await credential.close()


@pytest.mark.anyio
async def test_a_refused_token_is_forgotten_and_never_told() -> None:
    with ScriptedUpstream() as issuer, ScriptedUpstream() as azure:
        issuer.on(TOKENS, granted("first-token-of-all"), granted("second-token"))
        azure.on(
            "/openai/v1/chat/completions",
            error(401, "unauthorized", "The token first-token-of-all is not accepted."),
            chat_stream("Hello"),
        )
        model = model_at(azure.url, "foundry", key=None, entra=application(issuer.url))
        upstream = create(model)
        with pytest.raises(UpstreamError) as caught:
            await answer(upstream)
        assert "first-token" not in str(caught.value)
        assert (await answer(upstream)).choices[0].text == "Hello"
        await upstream.close()
    sent = [request.headers.get("authorization") for request in azure.requests]
    assert sent == ["Bearer first-token-of-all", "Bearer second-token"]
    assert all("api-key" not in request.headers for request in azure.requests)


@pytest.mark.anyio
async def test_the_machines_identity_asks_its_metadata_service() -> None:
    with ScriptedUpstream() as machine:
        end = str(int(time.time()) + 3600)
        machine.on("/token", json_reply({"access_token": "vm", "expires_on": end}))
        identity = EntraIdentity(
            scope=SCOPE,
            authority="https://unused.example",
            client_id="of-a-user",
            endpoint=IdentityEndpoint(f"{machine.url}/token"),
        )
        credential = EntraToken(identity)
        assert await credential.headers(CALL) == {"authorization": "Bearer vm"}
        await credential.close()
        asked = machine.requests[0]
    assert asked.method == "GET"
    assert asked.headers["metadata"] == "true"
    assert asked.query == {
        "api-version": "2018-02-01",
        "resource": "https://cognitiveservices.azure.com",
        "client_id": "of-a-user",
    }


@pytest.mark.anyio
async def test_app_service_wants_its_header() -> None:
    with Issuer(rsa_key()) as issuer:
        for header, works in ((IDENTITY_HEADER, True), ("another", False)):
            endpoint = IdentityEndpoint(f"{issuer.url}/msi/token", header)
            identity = EntraIdentity(scope=SCOPE, authority="https://unused", endpoint=endpoint)
            credential = EntraToken(identity)
            if works:
                told = (await credential.headers(CALL))["authorization"].removeprefix("Bearer ")
                claims = jwt.decode(told, options={"verify_signature": False})
                assert claims["aud"] == "https://cognitiveservices.azure.com"
                assert "api-version=2019-08-01" in issuer.asked[0]
            else:
                with pytest.raises(UpstreamError, match="status 401"):
                    await credential.headers(CALL)
            assert header in credential.secrets
            await credential.close()


@pytest.mark.anyio
async def test_a_certificate_proves_the_application(tmp_path: Path) -> None:
    key = rsa_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "app.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    with ScriptedUpstream() as issuer:
        issuer.on(TOKENS, granted("by-certificate"))
        identity = application(issuer.url, client_secret=None, client_certificate=file)
        credential = EntraToken(identity)
        assert await credential.headers(CALL) == {"authorization": "Bearer by-certificate"}
        await credential.close()
        sent = form(issuer.requests[0])
    assert "client_secret" not in sent
    claims = jwt.decode(
        sent["client_assertion"],
        key.public_key(),
        algorithms=["PS256"],
        audience=issuer.url + TOKENS,
    )
    assert (claims["iss"], claims["sub"]) == ("app", "app")
    assert jwt.get_unverified_header(sent["client_assertion"])["x5t#S256"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (
            json_reply(
                {
                    "error": "invalid_client",
                    "error_description": f"AADSTS7000215: Invalid client secret {SECRET}.",
                },
                401,
            ),
            "status 401, invalid_client, AADSTS7000215",
        ),
        (html(500), "status 500"),
        (json_reply({"error": SECRET}, 400), "status 400"),
        (json_reply({}), "nonsense"),
        (json_reply({"access_token": "a b", "expires_in": 5}), "nonsense"),
        (json_reply({"access_token": "a", "expires_in": "soon"}), "nonsense"),
        (html(200), "nonsense"),
        (json_reply({}, 302, location="http://127.0.0.1:9/"), "status 302"),
    ],
)
async def test_a_refusal_is_told_by_its_codes_alone(reply: object, says: str) -> None:
    with ScriptedUpstream() as issuer:
        issuer.on(TOKENS, reply)  # type: ignore[arg-type]  # a reply
        credential = EntraToken(application(issuer.url))
        with pytest.raises(ApiError, match=says) as caught:
            await credential.headers(CALL)
        await credential.close()
    assert SECRET not in str(caught.value)


@pytest.mark.anyio
async def test_an_issuer_that_is_not_there_is_no_fault_of_the_caller() -> None:
    credential = EntraToken(application("http://127.0.0.1:9"))
    with pytest.raises(Unavailable, match="can't be reached"):
        await credential.headers(CALL)
    await credential.close()


@pytest.mark.anyio
async def test_those_who_wait_share_a_failure_and_who_leaves_takes_nothing_away() -> None:
    with ScriptedUpstream() as issuer:
        issuer.on(TOKENS, html(500), granted("token"))
        credential = EntraToken(application(issuer.url))
        told = await asyncio.gather(
            *(credential.headers(CALL) for _ in range(5)), return_exceptions=True
        )
        assert [type(each) for each in told] == [UpstreamError] * 5
        assert len(issuer.requests) == 1
        leaves = asyncio.create_task(credential.headers(CALL))
        stays = asyncio.create_task(credential.headers(CALL))
        await asyncio.sleep(0)
        leaves.cancel()
        assert await stays == {"authorization": "Bearer token"}
        assert leaves.cancelled()
        assert len(issuer.requests) == 2
        await credential.close()
