"""The same program with Microsoft's package and with ours, against a real server."""

import importlib
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import azure.core.exceptions
import pytest
from azure.core.credentials import AzureKeyCredential

from interlingua import Client
from interlingua.models import JsonSchemaFormat
from interlingua.schemas import parse

from .conftest import Server
from .pictures import data_url, picture


class Sdk(NamedTuple):
    clients: Any
    aio: Any
    models: Any


def sdk(name: str) -> Sdk:
    return Sdk(*(importlib.import_module(name + part) for part in ("", ".aio", ".models")))


SDKS = (sdk("azure.ai.inference"), sdk("interlingua"))
STEADY = {"temperature": 0.0, "seed": 7, "max_tokens": 12, "model": "smollm2"}


def messages(package: Sdk) -> list[Any]:
    m = package.models
    return [m.SystemMessage("Be brief."), m.UserMessage("Name three fruits.")]


def chats(package: Sdk, server: Server) -> Any:
    client = package.clients.ChatCompletionsClient(server.url, AzureKeyCredential(server.key))
    with client:
        answer = client.complete(messages=messages(package), **STEADY)
        choice = answer.choices[0]
        yield choice.message.content, choice.message.role, str(choice.finish_reason)
        yield answer.usage.completion_tokens, answer["usage"]["total_tokens"], answer.model
        updates = list(client.complete(messages=messages(package), stream=True, **STEADY))
        yield "".join(u.choices[0].delta.content or "" for u in updates if u.choices)
        yield str(updates[-1].choices[0].finish_reason if updates[-1].choices else None)
        answer = client.complete(
            messages=messages(package),
            response_format=package.models.JsonSchemaFormat(
                name="fruit", schema={"type": "object", "properties": {"a": {"const": 1}}}
            ),
            **STEADY | {"max_tokens": 40},
        )
        yield answer.choices[0].message.content
        yield client.get_model_info().as_dict()


def embeds(package: Sdk, server: Server) -> Any:
    c, key = package.clients, AzureKeyCredential(server.key)
    with c.load_client(f"{server.url}/endpoints/minilm", key) as client:
        yield type(client).__name__
        result = client.embed(input=["one", "two"])
        yield [len(each.embedding) for each in result.data], result.usage.as_dict(), result.model
        yield client.embed(input=["one"], encoding_format="base64").data[0].embedding
    with c.ImageEmbeddingsClient(server.url, key, model="efficientnet") as client:
        image = package.models.ImageEmbeddingInput(image=data_url(picture("red")))
        yield client.embed(input=[image]).data[0].embedding[:8]


def failures(package: Sdk, server: Server) -> Any:
    m, url = package.models, server.url
    attempts: list[tuple[str, str, dict[str, Any]]] = [
        (url, "wrong", {"messages": messages(package)}),
        (url, server.key, {"messages": []}),
        (url, server.key, {"messages": messages(package), "model": "none"}),
        (url, server.key, {"body": {"messages": [{"role": "user", "content": "x"}], "odd": 1}}),
        (url, server.key, {"messages": messages(package), "stream": True, "temperature": 9.0}),
        (f"{url}/endpoints/minilm", server.key, {"messages": [m.UserMessage("x")]}),
        (f"{url}/nowhere", server.key, {"messages": [m.UserMessage("x")]}),
    ]
    for endpoint, key, given in attempts:
        with package.clients.ChatCompletionsClient(endpoint, AzureKeyCredential(key)) as client:
            with pytest.raises(azure.core.exceptions.HttpResponseError) as caught:
                client.complete(**given)
            error = caught.value
            yield type(error).__name__, error.status_code, error.reason, error.message
            yield error.error and error.error.code


@pytest.mark.parametrize("program", [chats, embeds, failures])
def test_a_program_sees_the_same_with_both(server: Server, program: Any) -> None:
    theirs, ours = (list(program(package, server)) for package in SDKS)
    assert ours == theirs


@dataclass
class Fruit:
    """A fruit."""

    name: str
    colour: Literal["red", "green"]


def test_a_type_binds_the_answer_and_reads_it_back(server: Server) -> None:
    with Client(server.url, server.key) as client:
        asked = JsonSchemaFormat(Fruit)
        answer = client.chat("Name a fruit.", response_format=asked, model="smollm2", seed=7)
    fruit = parse(Fruit, answer.choices[0].message.content)
    assert fruit.colour in {"red", "green"}


@pytest.mark.anyio
async def test_an_asynchronous_program_sees_the_same_with_both(server: Server) -> None:
    seen = []
    for package in SDKS:
        client = package.aio.ChatCompletionsClient(server.url, AzureKeyCredential(server.key))
        async with client:
            answer = await client.complete(messages=messages(package), **STEADY)
            stream = await client.complete(messages=messages(package), stream=True, **STEADY)
            texts = [u.choices[0].delta.content or "" async for u in stream if u.choices]
            seen.append((answer.choices[0].message.content, "".join(texts)))
    assert seen[0] == seen[1]
