"""What holders of tokens may call, through the whole server."""

from collections.abc import Iterator

import httpx2
import pytest

from interlingua.backends.echo import EchoBackend
from interlingua.config.schema import Config, IssuerConfig, ServerConfig
from interlingua.gateway.deployments import Deployment, Limits
from interlingua.gateway.gateway import Gateway
from interlingua.server.app import App

from ..support.issuer import Issuer, rsa_key
from .service import CHAT, KEY, client_of, error_of

KEY_PAIR = rsa_key()
ROLES = {
    "Chat": ("chat_completions", "info"),
    "Second": ("*@Second",),
    "Embed.First": ("embeddings@first",),
    "Admin": ("*",),
}

pytestmark = pytest.mark.anyio


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer(KEY_PAIR) as running:
        yield running


def app_of(issuer: Issuer) -> App:
    deployments = [
        Deployment(name=name, backend=EchoBackend(name=name), limits=Limits(), aliases=(alias,))
        for name, alias in (("first", "gpt-4o"), ("second", "gpt-4o-mini"), ("third", "o1"))
    ]
    gateway = Gateway(deployments, {"both": {"first": 1, "second": 1}, "one": {"first": 1}})
    accepted = IssuerConfig(issuer=issuer.url, roles=ROLES)
    return App(gateway, Config(server=ServerConfig(), issuer=(accepted,)), [KEY])


def holder(issuer: Issuer, *roles: str) -> httpx2.AsyncClient:
    client = client_of(app_of(issuer), key=None)
    client.headers["authorization"] = f"Bearer {issuer.token(roles=list(roles))}"
    return client


async def test_a_role_permits_its_operations_and_no_others(issuer: Issuer) -> None:
    async with holder(issuer, "Chat") as client:
        assert (await client.post("/chat/completions", json=CHAT)).status_code == 200
        assert (await client.get("/info")).status_code == 200
        refused = await client.post("/embeddings", json={"input": ["x"]})
        assert refused.status_code == 403
        error = error_of(refused)
        assert error["code"] == "forbidden"
        assert error["message"] == "No role of the token permits the operation 'embeddings'."
        openai = await client.post("/v1/completions", json={"prompt": "x"})
        assert openai.status_code == 403
        assert error_of(openai)["code"] == "forbidden"
        assert "www-authenticate" not in openai.headers


async def test_a_role_of_one_deployment_leads_there_and_nowhere_else(issuer: Issuer) -> None:
    async with holder(issuer, "Second") as client:

        async def answered(path: str, model: str | None = None, **headers: str) -> object:
            body = {**CHAT, "model": model} if model else CHAT
            reply = await client.post(path, json=body, headers=headers)
            return reply.json()["model"] if reply.status_code == 200 else reply.status_code

        # Where nobody is named, the permitted one answers.
        assert await answered("/chat/completions") == "second"
        assert await answered("/endpoints/both/chat/completions") == "second"
        assert await answered("/chat/completions", "gpt-4o-mini") == "second"
        assert await answered("/openai/deployments/second/chat/completions") == "second"
        # Whoever is named by any means and isn't it is refused.
        assert await answered("/chat/completions", "first") == 403
        assert await answered("/chat/completions", "FIRST") == 403
        assert await answered("/chat/completions", "publisher/first") == 403
        assert await answered("/chat/completions", "gpt-4o") == 403
        assert await answered("/openai/deployments/first/chat/completions", "second") == 403
        assert await answered("/endpoints/first/chat/completions") == 403
        assert await answered("/endpoints/one/chat/completions", "second") == 403
        header = {"azureml-model-deployment": "first"}
        assert await answered("/chat/completions", "second", **header) == 403
        assert await answered("/endpoints/both/chat/completions", **header) == 403
        assert (await client.get("/endpoints/first/info")).status_code == 403


async def test_roles_add_up(issuer: Issuer) -> None:
    async with holder(issuer, "Second", "Embed.First") as client:
        for model, status in (("first", 200), ("second", 200), ("third", 403)):
            reply = await client.post("/embeddings", json={"input": ["x"], "model": model})
            assert reply.status_code == status
        reply = await client.post("/chat/completions", json={**CHAT, "model": "first"})
        assert reply.status_code == 403


async def test_lists_name_what_the_caller_may_use(issuer: Issuer) -> None:
    async def seen(*roles: str) -> object:
        async with holder(issuer, *roles) as client:
            reply = await client.get("/v1/models")
            one = await client.get("/v1/models/third")
            catalog = await client.get("/catalog/models")
            if reply.status_code != 200:
                return reply.status_code, one.status_code, catalog.status_code
            assert [each["name"] for each in catalog.json()] == [
                each["id"] for each in reply.json()["data"]
            ]
            return [each["id"] for each in reply.json()["data"]], one.status_code

    assert await seen("Admin") == (["first", "second", "third"], 200)
    assert await seen("Second", "Embed.First") == (["first", "second"], 404)
    assert await seen("Unheard.Of") == (403, 403, 403)


async def test_metrics_are_for_those_who_may_do_everything(issuer: Issuer) -> None:
    for role, status in (("Admin", 200), ("Chat", 403), ("Unheard.Of", 403)):
        async with holder(issuer, role) as client:
            assert (await client.get("/metrics")).status_code == status


async def test_names_that_are_not_there_tell_nothing_of_other_deployments(issuer: Issuer) -> None:
    async with holder(issuer, "Second") as client:
        unknown = await client.post("/chat/completions", json={**CHAT, "model": "nobody"})
        assert unknown.status_code == 400
        assert "second" in unknown.text
        assert "third" not in unknown.text


async def test_no_valid_token_no_answer_and_a_key_still_opens_everything(issuer: Issuer) -> None:
    app = app_of(issuer)
    expired = issuer.token(roles=["Admin"], exp=1)
    async with client_of(app, key=None) as client:
        for value in (f"Bearer {expired}", "Bearer a.b.c", "Bearer x", "Basic eDp4"):
            reply = await client.get("/info", headers={"authorization": value})
            assert reply.status_code == 401
            assert str(error_of(reply)["message"]).startswith("Auth token validation failed")
            assert reply.headers["www-authenticate"] == "Bearer"
        reply = await client.get("/nothing", headers={"authorization": f"Bearer {expired}"})
        assert reply.status_code == 401
    async with client_of(app) as client:
        assert (await client.post("/embeddings", json={"input": ["x"]})).status_code == 200
        both = {"authorization": f"Bearer {expired}"}
        assert (await client.get("/info", headers=both)).status_code == 200


async def test_an_issuer_that_does_not_answer_is_503_and_keys_go_on(issuer: Issuer) -> None:
    issuer.replies["/keys"] = (500, {}, b"")
    async with holder(issuer, "Admin") as client:
        reply = await client.get("/info")
        assert reply.status_code == 503
        assert reply.headers["retry-after"] == "5"
        assert (await client.get("/info", headers={"api-key": KEY})).status_code == 200
