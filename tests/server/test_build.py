"""From the config to deployments."""

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from interlingua.backends.echo import EchoBackend
from interlingua.backends.providers.http import Upstream
from interlingua.catalog.catalog import load_cards
from interlingua.config.load import load
from interlingua.config.schema import (
    AwsConfig,
    Config,
    DeploymentConfig,
    EndpointConfig,
    ServerConfig,
)
from interlingua.errors import ConfigError, ModelFileError
from interlingua.server import build as module
from interlingua.server.build import build, plan
from interlingua.types.models import Capabilities


def config_of(model: str, **settings: object) -> Config:
    deployment = DeploymentConfig(name="mine", model=model, **settings)  # type: ignore[arg-type]
    return Config(
        server=ServerConfig(load_timeout_s=7),
        deployment=(deployment,),
        endpoint=(EndpointConfig(name="support", traffic={"mine": 1}),),
    )


def test_a_backend_that_is_a_model_needs_no_files(tmp_path: Path) -> None:
    config = config_of(
        "echo",
        aliases=("other",),
        compute="managed",
        max_waiting=3,
        capabilities=Capabilities(context_length=99),
    )
    gateway = build(plan(config, tmp_path), config).gateway
    (deployment,) = gateway.deployments
    assert isinstance(deployment.backend, EchoBackend)
    assert deployment.name == deployment.info.model_name == "mine"
    assert deployment.aliases == ("other",)
    assert deployment.also_known_as == ("echo",)
    assert deployment.limits.compute == "managed"
    assert deployment.limits.max_waiting == 3
    assert deployment.limits.load_timeout_s == 7
    assert deployment.capabilities.context_length == 99
    assert gateway.directory.has_endpoint("support")


def test_a_model_that_nobody_knows_is_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean smollm2-135m-instruct"):
        plan(config_of("smollm2-135m-instuct"), tmp_path)
    with pytest.raises(ConfigError, match=r'deployment "mine": model: .*models list'):
        plan(config_of("zzzzzzzzzz"), tmp_path)


def test_an_engine_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither a model of the catalog"):
        plan(config_of("llamacpp"), tmp_path)


def test_a_model_that_no_engine_runs_says_what_it_needs(tmp_path: Path) -> None:
    card = next(card for card in load_cards() if card.engine is None)
    with pytest.raises(ConfigError) as caught:
        plan(config_of(card.name), tmp_path)
    assert card.needs is not None
    assert card.needs in str(caught.value)


def test_a_model_that_is_not_pulled_yet_is_planned_but_not_built(tmp_path: Path) -> None:
    config = load(None)
    planned = plan(config, tmp_path)
    assert {each.card.name for each in planned if each.stored is None} == {
        "smollm2-135m-instruct",
        "all-minilm-l6-v2",
        "efficientnet-lite0",
    }
    with pytest.raises(ModelFileError, match="interlingua models pull smollm2-135m-instruct"):
        build(planned, config)


@pytest.mark.parametrize("model", ["/nowhere/x", "nowhere.gguf"])
def test_a_file_that_cannot_be_used_is_told_with_its_deployment(tmp_path: Path, model: str) -> None:
    with pytest.raises(ModelFileError, match=r'deployment "mine": .*doesn\'t exist'):
        plan(config_of(model), tmp_path)


def test_an_engine_whose_library_is_missing_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _planned_on_an_engine(tmp_path, monkeypatch, "no_such_library.engine:create")
    with pytest.raises(ConfigError, match=r"pip install 'interlingua\[onnx\]'"):
        build(found, config_of("x"))
    monkeypatch.setattr(module, "entry_points", lambda **_: EntryPoints())
    with pytest.raises(ConfigError, match="isn't installed"):
        build(found, config_of("x"))


def test_engines_get_an_environment_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    seen = []
    monkeypatch.setattr(
        "interlingua.backends.echo.create", lambda model: (seen.append(model), EchoBackend())[1]
    )
    found = _planned_on_an_engine(tmp_path, monkeypatch, "interlingua.backends.echo:create")
    build(found, config_of("x", threads=2))
    assert "PATH" in seen[0].environment
    assert "secret" not in seen[0].environment.values()
    assert seen[0].threads == 2


def _planned_on_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> tuple[module.Planned, ...]:
    """A model that is there, on an engine whose entry point is ``target``."""
    (planned,) = plan(config_of("echo", threads=2), tmp_path)
    entry = EntryPoint("onnx-text", target, "interlingua.backends")
    monkeypatch.setattr(module, "entry_points", lambda **_: EntryPoints([entry]))
    return (
        module.Planned(
            config=planned.config, card=planned.card, engine="onnx-text", stored=planned.stored
        ),
    )


def test_no_engine_brings_its_library_into_the_server() -> None:
    code = (
        "import sys, interlingua.server.run, interlingua.server.build as b\n"
        "[entry.load() for entry in b.entry_points(group='interlingua.backends')]\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    foreign = {"numpy", "onnx", "onnxruntime", "xllamacpp", "PIL", "tokenizers", "rich", "httpx2"}
    assert "uvicorn" in done.stdout.split()
    assert foreign & set(done.stdout.split()) == set()


# -- Providers ------------------------------------------------------------------------------


REGION = AwsConfig(region="eu-west-1")


def elsewhere(**settings: object) -> Config:
    fields = {"name": "mine", "provider": "openai", **settings}
    return Config(deployment=(DeploymentConfig(**fields),))  # type: ignore[arg-type]  # a test's


def test_a_providers_deployment_has_no_files(tmp_path: Path) -> None:
    config = elsewhere(
        model="gpt-4o",
        key="secret",
        slots=3,
        aliases=("*",),
        capabilities=Capabilities(modalities=frozenset({"text"})),
    )
    planned = plan(config, tmp_path)
    assert [each.card.name for each in planned] == ["gpt-4o"]
    (deployment,) = build(planned, config).gateway.deployments
    assert isinstance(deployment.backend, Upstream)
    assert deployment.also_known_as == ("gpt-4o",)
    assert deployment.backend.concurrency == 3
    assert deployment.info.model_name == "mine"
    assert deployment.info.model_type == "chat-completion"
    assert deployment.info.model_provider_name == "OpenAI"
    assert deployment.capabilities.passes_through
    assert deployment.capabilities.modalities == {"text"}
    assert deployment.capabilities.operations == {"chat_completions"}


def test_a_type_and_a_row_say_the_operations(tmp_path: Path) -> None:
    config = elsewhere(provider="vllm", publisher="Us")
    (deployment,) = build(plan(config, tmp_path), config).gateway.deployments
    assert deployment.capabilities.operations == {"chat_completions", "completions"}
    assert deployment.info.model_provider_name == "Us"
    config = elsewhere(type="embedding")
    (deployment,) = build(plan(config, tmp_path), config).gateway.deployments
    assert deployment.capabilities.operations == {"embeddings"}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"provider": "opnai"}, "provider: 'opnai' is not known; did you mean openai"),
        ({"provider": "zzzz"}, "There are: anthropic, azure"),
        ({"provider": "llama-server"}, "base_url: only you know where your llama.cpp answers"),
        ({"provider": "groq"}, r'key: Groq wants one: key = "\$\{NAME\}"'),
        (
            {"provider": "azure-openai", "base_url": "https://x.example", "key": "k"},
            "model: Azure OpenAI has it in its address",
        ),
        (
            {"provider": "bedrock", "model": "m", "key": "k"},
            r"aws: which region\? \[deployment.aws",
        ),
        (
            {"provider": "bedrock", "model": "m", "aws": REGION},
            r"or credentials in \[deployment.aws",
        ),
        ({"provider": "bedrock", "aws": REGION, "key": "k"}, "model: Amazon Bedrock has it in its"),
        ({"key": "k", "aws": REGION}, "aws: OpenAI isn't on AWS"),
        (
            {"provider": "voyage", "key": "k"},
            "Voyage AI has no models of the type 'chat-completion'",
        ),
    ],
)
def test_a_provider_that_cannot_be_called_is_told(
    tmp_path: Path, settings: dict[str, object], expected: str
) -> None:
    with pytest.raises(ConfigError, match=f'deployment "mine": .*{expected}'):
        plan(elsewhere(**settings), tmp_path)


def test_the_region_is_in_the_address_of_a_provider_on_aws(tmp_path: Path) -> None:
    signed = AwsConfig(region="eu-west-1", access_key_id="AKIDEXAMPLE", secret_access_key="s")
    for settings in ({"aws": REGION, "key": "k"}, {"aws": signed}):
        config = elsewhere(provider="bedrock", model="m", **settings)
        (planned,) = plan(config, tmp_path)
        assert planned.provider is not None
        assert planned.provider.base_url == "https://bedrock-runtime.eu-west-1.amazonaws.com"
        (deployment,) = build((planned,), config).gateway.deployments
        assert isinstance(deployment.backend, Upstream)
    own = elsewhere(provider="bedrock", model="m", key="k", base_url="https://vpce.example")
    (planned,) = plan(own, tmp_path)
    assert planned.provider is not None
    assert planned.provider.base_url == "https://vpce.example"


def test_signing_without_its_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = AwsConfig(region="eu-west-1", access_key_id="AKIDEXAMPLE", secret_access_key="s")
    config = elsewhere(provider="bedrock", model="m", aws=signed)
    monkeypatch.setitem(sys.modules, "awscrt", None)
    with pytest.raises(ConfigError, match=r"pip install 'interlingua\[bedrock\]'"):
        build(plan(config, tmp_path), config)
