"""The table of routes, in full."""

import itertools

import pytest

from interlingua.server.routes import dialect_of, match, table
from interlingua.types.models import Operation

OPERATIONS: dict[str, Operation] = {
    "/info": "info",
    "/chat/completions": "chat_completions",
    "/completions": "completions",
    "/embeddings": "embeddings",
    "/images/embeddings": "image_embeddings",
}
#: Base → dialect, whether it has /info, whether it is under /openai.
BASES = {
    "": ("azure", True, False),
    "/models": ("azure", True, False),
    "/api/models": ("azure", True, False),
    "/inference": ("azure", False, False),
    "/orgs/acme/inference": ("azure", False, False),
    "/openai/deployments/phi": ("openai", False, True),
    "/models/deployments/phi": ("openai", True, False),
    "/openai/v1": ("openai", False, True),
    "/v1": ("openai", False, False),
}


@pytest.mark.parametrize(
    ("prefix", "base", "suffix", "slash"),
    list(itertools.product(("", "/endpoints/support"), BASES, OPERATIONS, ("", "/"))),
)
def test_every_base_has_every_operation(prefix: str, base: str, suffix: str, slash: str) -> None:
    dialect, has_info, openai = BASES[base]
    found = match(prefix + base + suffix + slash)
    if suffix == "/info" and not has_info:
        assert found is None
        return
    assert found is not None
    assert found.row.operation == OPERATIONS[suffix]
    assert found.row.method == ("GET" if suffix == "/info" else "POST")
    assert found.row.dialect == dialect == dialect_of(prefix + base + suffix)
    assert found.row.openai is openai
    assert not found.row.public
    assert found.endpoint == ("support" if prefix else None)
    assert found.deployment == ("phi" if base.endswith("/phi") else None)


@pytest.mark.parametrize(
    ("path", "resource", "public"),
    [
        ("/", "healthy", True),
        ("/endpoints/support", "healthy", True),
        ("/endpoints/support/", "healthy", True),
        ("/health/live", "live", True),
        ("/health/ready/", "ready", True),
        ("/v1/models", "models", False),
        ("/openai/v1/models", "models", False),
        ("/v1/models/phi", "model", False),
        ("/openai/v1/models/microsoft/phi-4", "model", False),
        ("/catalog/models", "catalog", False),
    ],
)
def test_the_server_answers_about_itself(path: str, resource: str, public: bool) -> None:
    found = match(path)
    assert found is not None
    assert found.row.resource == resource
    assert found.row.public is public
    assert found.row.method == "GET"


def test_a_models_name_may_have_a_publisher() -> None:
    found = match("/v1/models/microsoft/phi-4")
    assert found is not None
    assert found.model == "microsoft/phi-4"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "chat/completions",
        "//",
        "//chat/completions",
        "/chat//completions",
        "/chat/completions//",
        "/chat",
        "/models",
        "/v1",
        "/v1/models//",
        "/Chat/Completions",
        "/chat/completions/x",
        "/v1/info",
        "/openai/info",
        "/openai/deployments/phi/info",
        "/inference/info",
        "/orgs/acme/inference/info",
        "/orgs//inference/chat/completions",
        "/openai/deployments//chat/completions",
        "/endpoints",
        "/endpoints//chat/completions",
        "/endpoints/a/endpoints/b/chat/completions",
        "/endpoints/a/v1/models",
        "/v1/../chat/completions",
        "/./chat/completions",
        "/score",
        "/swagger.json",
        "/images/generations",
        "/health",
        "/chat/completions\x00",
        "/" + "a/" * 5000,
    ],
)
def test_anything_else_is_nothing(path: str) -> None:
    assert match(path) is None


def test_only_the_health_rows_are_public() -> None:
    public = {path for path, row in table() if row.public}
    assert public == {"/", "/endpoints/{endpoint}", "/health/live", "/health/ready"}


def test_no_path_stands_twice_in_the_table() -> None:
    paths = [path for path, _ in table()]
    assert len(paths) == len(set(paths))


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/nothing", "openai"),
        ("/openai/nothing", "openai"),
        ("/endpoints/x/v1/nothing", "openai"),
        ("/models/deployments/x/nothing", "openai"),
        ("/models/nothing", "azure"),
        ("/", "azure"),
        ("", "azure"),
        ("/v10", "azure"),
    ],
)
def test_what_is_missing_is_told_in_the_nearest_dialect(path: str, dialect: str) -> None:
    assert dialect_of(path) == dialect
