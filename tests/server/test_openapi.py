"""The OpenAPI document and the page that shows it."""

import json
import re
from collections.abc import Iterator

import httpx2
import jsonschema_rs
import msgspec
import pytest

from interlingua.backends.echo import EchoBackend
from interlingua.config.schema import ServerConfig
from interlingua.dialects.chat_wire import ChatBody, OpenAIChatBody
from interlingua.dialects.completions_wire import CompletionBody, OpenAICompletionBody
from interlingua.dialects.embeddings_wire import EmbeddingsBody, ImageEmbeddingsBody
from interlingua.errors import kinds
from interlingua.server.pages import docs, openapi
from interlingua.server.routes import table

from .service import app_of, client_of

pytestmark = pytest.mark.anyio
DOCUMENT = json.loads(openapi({}))
METHODS = {"get", "post"}
OPERATIONS = [(p, m, o) for p, item in DOCUMENT["paths"].items() for m, o in item.items()]


def seen(value: dict) -> dict:
    """What a reference leads to."""
    while "$ref" in value:
        found = DOCUMENT
        for name in value["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        value = found
    return value


def inside(value: object) -> Iterator[dict]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from inside(item)
    elif isinstance(value, list):
        for item in value:
            yield from inside(item)


def examples() -> list[tuple[str, dict]]:
    return [
        (path, example["value"])
        for path, _, operation in OPERATIONS
        if "requestBody" in operation
        for example in seen(operation["requestBody"])["content"]["application/json"][
            "examples"
        ].values()
    ]


def test_the_document_is_built_as_openapi_3_1_says() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert DOCUMENT["info"]["title"]
    assert re.fullmatch(r"\d+\.\d+.*", DOCUMENT["info"]["version"])
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(ids) == len(set(ids))
    for path, method, operation in OPERATIONS:
        assert method in METHODS
        assert set(operation["tags"]) <= tags
        assert all(seen(reply)["description"] for reply in operation["responses"].values())
        stated = [seen(parameter) for parameter in operation.get("parameters", [])]
        assert all({"name", "in", "schema"} <= parameter.keys() for parameter in stated)
        in_path = {p["name"] for p in stated if p["in"] == "path" and p["required"]}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        body = seen(operation.get("requestBody", {}))
        assert bool(body) == (method == "post")
    for scheme in DOCUMENT["security"]:
        assert scheme.keys() <= DOCUMENT["components"]["securitySchemes"].keys()


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    referred = {value["$ref"] for value in inside(DOCUMENT) if "$ref" in value}
    for reference in referred:
        assert seen({"$ref": reference})
    components = {
        f"#/components/{kind}/{name}"
        for kind, names in DOCUMENT["components"].items()
        if kind != "securitySchemes"
        for name in names
    }
    assert components == referred & components


def test_every_schema_is_made_of_known_words() -> None:
    for schema in inside(DOCUMENT["components"]["schemas"]):
        if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
            assert set(schema.get("required", [])) <= schema["properties"].keys()
        if isinstance(schema.get("enum"), list):
            assert schema["enum"]


def test_what_is_documented_is_in_the_table_of_routes() -> None:
    rows = dict(table())
    for path, method, operation in OPERATIONS:
        row = rows[path]
        assert row.method == method.upper()
        assert row.public == (operation.get("security") == [])


def test_every_path_of_the_table_is_documented_once() -> None:
    rows = dict(table())
    documented = []
    for path, _, operation in OPERATIONS:
        also = operation.get("x-also-at", [])
        assert {(rows[p].operation, rows[p].dialect, rows[p].public) for p in also} <= {
            (rows[path].operation, rows[path].dialect, rows[path].public)
        }
        documented += [path, *also]
    assert sorted(documented) == sorted(path for path, row in rows.items() if not row.documentation)


def test_every_error_that_an_operation_can_meet_is_documented_in_its_dialects_shape() -> None:
    rows = dict(table())
    # 405 is the answer to another method, which has no operation.
    statuses = {str(kind.status) for kind in kinds()} - {"405"}
    for path, method, operation in OPERATIONS:
        replies = operation["responses"]
        if method == "post":
            assert replies.keys() == statuses | {"200"}, path
        assert ("401" in replies) != rows[path].public, path
        shape = "OpenAIError" if rows[path].dialect == "openai" else "Error"
        for status in replies.keys() - {"200"}:
            content = seen(replies[status])["content"]["application/json"]
            if path != "/health/ready":
                assert content["schema"] == {"$ref": f"#/components/schemas/{shape}"}, path


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("ChatRequest", ChatBody),
        ("OpenAIChatRequest", OpenAIChatBody),
        ("CompletionRequest", CompletionBody),
        ("OpenAICompletionRequest", OpenAICompletionBody),
        ("EmbeddingsRequest", EmbeddingsBody),
        ("ImageEmbeddingsRequest", ImageEmbeddingsBody),
    ],
)
def test_a_bodys_fields_are_those_that_are_read(name: str, body: type[msgspec.Struct]) -> None:
    schema = DOCUMENT["components"]["schemas"][name]
    fields = msgspec.structs.fields(body)
    assert schema["properties"].keys() == {field.encode_name for field in fields}
    assert set(schema["required"]) == {field.encode_name for field in fields if field.required}


async def test_every_documented_route_answers() -> None:
    async with client_of(app_of(EchoBackend())) as client:
        for path, method, operation in OPERATIONS:
            content = b"{}" if "requestBody" in operation else None
            found = path.format(model="echo", deployment="echo")
            response = await client.request(method, found, content=content)
            assert response.status_code in {200, 422}, path
            assert str(response.status_code) in operation["responses"]


@pytest.mark.parametrize(("path", "body"), examples())
async def test_every_example_is_answered(path: str, body: dict) -> None:
    async with client_of(app_of(EchoBackend())) as client:
        response = await client.post(path, json=body, headers={"extra-parameters": "error"})
    assert response.status_code == 200, response.text


def test_every_example_of_an_answer_is_as_described() -> None:
    found = 0
    for _, _, operation in OPERATIONS:
        content = operation["responses"]["200"]["content"].get("application/json", {})
        if "example" in content:
            schema = {**content["schema"], "components": DOCUMENT["components"]}
            jsonschema_rs.Draft202012Validator(schema).validate(content["example"])
            found += 1
    assert found == 10


async def test_both_are_open_on_loopback() -> None:
    async with client_of(app_of(EchoBackend()), key=None) as client:
        document = await client.get("/openapi.json")
        page = await client.get("/docs")
    assert document.headers["content-type"] == "application/json"
    assert document.json()["servers"] == [{"url": "http://test"}]
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert b"test-key" not in page.content + document.content


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
@pytest.mark.parametrize(
    ("settings", "there"),
    [
        (ServerConfig(host="0.0.0.0"), False),
        (ServerConfig(host="0.0.0.0", docs=True), True),
        (ServerConfig(docs=False), False),
        (ServerConfig(host="::1"), True),
    ],
)
async def test_beyond_loopback_they_are_there_only_where_they_are_asked_for(
    path: str, settings: ServerConfig, there: bool
) -> None:
    app = app_of(EchoBackend(), settings=settings)
    async with client_of(app, key=None) as client:
        # What isn't there needs a key, as everything that isn't there.
        assert (await client.get(path)).status_code == (200 if there else 401)
    async with client_of(app) as client:
        assert (await client.get(path)).status_code == (200 if there else 404)


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({"host": "127.0.0.1:8080"}, "http://127.0.0.1:8080"),
        ({"host": "[::1]:8080"}, "http://[::1]:8080"),
        ({"host": "ai.example.com", "x-forwarded-proto": "https"}, "https://ai.example.com"),
        ({"host": 'x/"><script>'}, "/"),
        ({"host": ""}, "/"),
        ({}, "/"),
    ],
)
def test_the_document_names_the_address_it_was_asked_at(headers: dict, url: str) -> None:
    assert json.loads(openapi(headers))["servers"] == [{"url": url}]


def test_the_page_loads_nothing_from_elsewhere() -> None:
    headers, body = docs()
    page = body.decode()
    assert not re.findall(r"""(?:src|href|action)=["'](?!openapi\.json|data:,)""", page)
    assert not re.findall(r"https?://", page)
    assert "innerHTML" not in page
    assert not re.search(r"\son\w+=[\"']|\sstyle=", page)
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_each_page_has_a_nonce_of_its_own() -> None:
    nonces = set()
    for headers, body in (docs(), docs()):
        policy = headers["content-security-policy"]
        (nonce,) = set(re.findall(r"'nonce-([\w-]+)'", policy))
        assert body.count(f'nonce="{nonce}"'.encode()) == 2
        assert b"{{" not in body
        nonces.add(nonce)
    assert len(nonces) == 2


async def test_a_wrong_method_is_told_the_right_one() -> None:
    async with client_of(app_of(EchoBackend())) as client:
        response: httpx2.Response = await client.post("/docs")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET"
