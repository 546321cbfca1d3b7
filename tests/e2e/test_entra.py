"""The unmodified azure-identity and the official clients, over TLS, with tokens only."""

import contextlib
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import msgspec
import pytest

from ..support.issuer import AUDIENCE, IDENTITY_HEADER, TENANT, Issuer, rsa_key

CONFIG = """
[server]
port = 0
tls = "dev"

[[deployment]]
name = "echo"
model = "echo"

[[deployment]]
name = "other"
model = "echo"

[[issuer]]
tenant = "{tenant}"
authority = "{authority}"
roles = {{ "Chat.User" = ["chat_completions", "info"], "Other" = ["*@other"] }}
"""
SYNC = """
import sys
from azure.ai.inference import ChatCompletionsClient
from azure.ai.inference.models import UserMessage
from azure.identity import DefaultAzureCredential

scopes = {"credential_scopes": [sys.argv[2]]} if len(sys.argv) > 2 else {}
with ChatCompletionsClient(sys.argv[1], DefaultAzureCredential(), **scopes) as client:
    print(client.get_model_info().model_name)
    print(client.complete(messages=[UserMessage("whole")]).choices[0].message.content)
    for update in client.complete(messages=[UserMessage("in pieces")], stream=True):
        if update.choices:
            print(update.choices[0].delta.content or "", end="")
"""
ASYNC = """
import asyncio, sys
from azure.ai.inference.aio import ChatCompletionsClient
from azure.ai.inference.models import UserMessage
from azure.identity.aio import DefaultAzureCredential

async def main():
    scopes = {"credential_scopes": [sys.argv[2]]} if len(sys.argv) > 2 else {}
    async with DefaultAzureCredential() as credential:
        async with ChatCompletionsClient(sys.argv[1], credential, **scopes) as client:
            print((await client.get_model_info()).model_name)
            answer = await client.complete(messages=[UserMessage("whole")])
            print(answer.choices[0].message.content)
            async for update in await client.complete(
                messages=[UserMessage("in pieces")], stream=True
            ):
                if update.choices:
                    print(update.choices[0].delta.content or "", end="")

asyncio.run(main())
"""
OPENAI = """
import sys
from azure.identity import DefaultAzureCredential, get_bearer_token_provider
from openai import AzureOpenAI

provider = get_bearer_token_provider(DefaultAzureCredential(), sys.argv[2])
client = AzureOpenAI(
    azure_endpoint=sys.argv[1], azure_ad_token_provider=provider, api_version="2024-10-21"
)
answer = client.chat.completions.create(
    model="echo", messages=[{"role": "user", "content": "whole"}]
)
print(answer.choices[0].message.content)
"""


class Service(msgspec.Struct, frozen=True):
    """What ``serve --json`` prints, as far as it matters here."""

    url: str
    ca_file: str
    key_file: str | None


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer(rsa_key()) as running:
        yield running


@contextlib.contextmanager
def serving(folder: Path, config: str) -> Iterator[Service]:
    """A server whose data are in ``folder``; it must say nothing on stderr and exit with 0."""
    (folder / "interlingua.toml").write_text(config)
    kept = {n: v for n, v in os.environ.items() if n != "INTERLINGUA_API_KEY"}
    with subprocess.Popen(
        [sys.executable, "-m", "interlingua", "serve", "--json"],
        cwd=folder,
        env={**kept, "INTERLINGUA_DATA_DIR": str(folder / "data")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield msgspec.json.decode(line, type=Service)
        finally:
            process.send_signal(signal.SIGTERM)
            said = process.stderr.read()
    assert process.returncode == 0, said
    assert said == ""


@pytest.fixture(scope="module")
def service(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    config = CONFIG.format(tenant=TENANT, authority=issuer.url)
    with serving(tmp_path_factory.mktemp("entra"), config) as running:
        yield running


def run(
    service: Service, issuer: Issuer, program: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a program as on a platform with a managed identity that trusts the server."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith("AZURE_")}
    return subprocess.run(
        [sys.executable, "-c", program, service.url, *arguments],
        env={
            **kept,
            "IDENTITY_ENDPOINT": f"{issuer.url}/msi/token",
            "IDENTITY_HEADER": IDENTITY_HEADER,
            "REQUESTS_CA_BUNDLE": service.ca_file,
            "SSL_CERT_FILE": service.ca_file,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("program", [SYNC, ASYNC], ids=["sync", "async"])
@pytest.mark.parametrize(
    "scope",
    [None, "https://cognitiveservices.azure.com/.default", "https://ai.azure.com/.default"],
)
def test_default_azure_credential_opens_the_server(
    service: Service, issuer: Issuer, program: str, scope: str | None
) -> None:
    issuer.identity = lambda resource: issuer.entra(aud=resource, roles=["Chat.User"])
    done = run(service, issuer, program, *([scope] if scope else []))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["echo", "whole", "in pieces"]
    resource = (scope or "https://ml.azure.com/.default").removesuffix("/.default")
    assert any(resource in asked for asked in issuer.asked)


def test_openais_client_gets_in_with_the_same_credential(service: Service, issuer: Issuer) -> None:
    issuer.identity = lambda resource: issuer.entra(aud=resource, roles=["Chat.User"])
    done = run(service, issuer, OPENAI, "https://cognitiveservices.azure.com/.default")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "whole\n"


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({"roles": ["Other.App"]}, "No role of the token permits"),
        ({}, "No role of the token permits"),
        ({"roles": ["Chat.User"], "aud": "https://vault.azure.net"}, "is for another audience"),
        ({"roles": ["Chat.User"], "exp": 1}, "the token has expired"),
        ({"roles": ["Chat.User"], "iss": "https://sts.windows.net/other/"}, "issuer is not"),
    ],
)
def test_what_is_not_permitted_is_refused_with_the_reason(
    service: Service, issuer: Issuer, claims: dict[str, object], error: str
) -> None:
    def identity(resource: str) -> str:
        stated = {"iss": f"https://sts.windows.net/{TENANT}/", "aud": resource, **claims}
        return issuer.token(**stated)  # type: ignore[arg-type]  # claims alone

    issuer.identity = identity
    done = run(service, issuer, SYNC)
    assert done.returncode == 1
    assert error in done.stderr


def test_a_role_of_one_deployment_gets_that_one(service: Service, issuer: Issuer) -> None:
    issuer.identity = lambda resource: issuer.entra(aud=resource, roles=["Other"])
    done = run(service, issuer, SYNC)
    assert done.stdout.splitlines() == ["other", "whole", "in pieces"]


def test_where_tokens_are_accepted_no_key_is_made(service: Service) -> None:
    assert service.key_file is None
    assert not (Path(service.ca_file).parents[1] / "key").exists()


def test_the_command_line_takes_a_token_where_it_takes_a_key(
    service: Service, issuer: Issuer
) -> None:
    token = issuer.entra(aud="https://ml.azure.com", roles=["Chat.User"])
    command = [sys.executable, "-m", "interlingua", "chat", "--endpoint", service.url]
    done = subprocess.run(
        [*command, "--ca", service.ca_file, "--key", token, "hello you"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "hello you\n"


def test_a_long_token_is_read_and_a_longer_one_refused_over_the_wire(
    service: Service, issuer: Issuer
) -> None:
    trust = ssl.create_default_context(cafile=service.ca_file)
    with httpx2.Client(trust_env=False, verify=trust) as client:
        for padding, status in ((11_000, 200), (20_000, 401)):
            token = issuer.entra(aud=AUDIENCE, roles=["Chat.User"], padding="x" * padding)
            headers = {"authorization": f"Bearer {token}"}
            assert client.get(f"{service.url}/info", headers=headers).status_code == status
