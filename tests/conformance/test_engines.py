"""The echo backend and each kind of engine with a packaged model, by the whole suite."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from interlingua.config.load import data_dir
from interlingua.config.schema import Config
from interlingua.gateway.deployments import Deployment
from interlingua.server.app import App
from interlingua.server.build import build, plan

from ..server.service import KEY, served
from ..support.conforming import assert_conforms, declared_by, outcomes
from ..support.tiny_phi3 import build_tiny_phi3

#: Name → model, and how many cases apply at least.
MODELS = {
    "echo": ("echo", 140),
    # A real model of the packaged one's engine, and fast: its sentence is fixed.
    "tiny-phi-3": ("", 90),
    "minilm": ("all-minilm-l6-v2", 40),
    "efficientnet": ("efficientnet-lite0", 35),
}

SETTINGS: dict[str, dict[str, int]] = {"tiny-phi-3": {"slots": 4, "threads": 1}}


@pytest.fixture(scope="module")
def stand(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, dict[str, Deployment]]]:
    phi3 = tmp_path_factory.mktemp("engines") / "tiny-phi-3.gguf"
    build_tiny_phi3(phi3)
    listed = [
        {"name": name, "model": model or str(phi3), **SETTINGS.get(name, {})}
        for name, (model, _) in MODELS.items()
    ]
    config = msgspec.convert({"deployment": listed}, Config)
    gateway = build(plan(config, Path(data_dir(None))), config).gateway
    with served(App(gateway, config, [KEY])) as url:
        yield url, {each.name: each for each in gateway.deployments}


@pytest.mark.parametrize("name", MODELS)
def test_a_backend_of_this_machine_conforms(
    stand: tuple[str, dict[str, Deployment]], name: str
) -> None:
    url, deployments = stand
    declared = declared_by(deployments[name], exact=name == "echo")
    assert_conforms(outcomes(url, declared, at_once=4), at_least=MODELS[name][1])
