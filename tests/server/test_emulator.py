"""Recorded and replayed deployments are deployments like all others."""

import contextlib
import json
from functools import partial
from pathlib import Path

import pytest

from interlingua.backends.recording import Recording
from interlingua.config.load import secrets_of
from interlingua.config.schema import (
    Config,
    DeploymentConfig,
    EndpointConfig,
    EntraConfig,
    ServerConfig,
)
from interlingua.errors import ConfigError
from interlingua.server.build import build, plan
from interlingua.server.emulator import Recorded, Replayed

CONFIG = Config(
    server=ServerConfig(port=0, extra_parameters="drop", model_type="enum", max_body_bytes=2048),
    deployment=(DeploymentConfig(name="chat", model="echo", aliases=("gpt-4o",)),),
    endpoint=(EndpointConfig(name="support", traffic={"chat": 1}),),
)


def test_a_reload_leaves_recorded_deployments_as_they_are(tmp_path: Path) -> None:
    planning = partial(plan, data_dir=tmp_path)
    with contextlib.closing(Recorded(tmp_path / "a", [])) as recorded:
        planned, config = recorded.settle(CONFIG, planning)
        before = build(planned, config)
        again, config = recorded.settle(CONFIG, planning)
        after = build(again, config, before=before)
        assert after.gateway.deployments == before.gateway.deployments
        assert isinstance(after.gateway.deployments[0].backend, Recording)


def test_a_replay_is_served_as_the_recorded_server_was(tmp_path: Path) -> None:
    with contextlib.closing(Recorded(tmp_path / "a", [])) as recorded:
        build(*recorded.settle(CONFIG, partial(plan, data_dir=tmp_path)))
    with contextlib.closing(Replayed(tmp_path / "a", "instant")) as replayed:
        own = Config(server=ServerConfig(port=1, drain_timeout_s=3))
        planned, config = replayed.settle(own, lambda _: ())
        (deployment,) = build(planned, config).gateway.deployments
    assert (deployment.name, deployment.aliases) == ("chat", ("gpt-4o",))
    assert deployment.also_known_as == ("echo",)
    assert config.endpoint == CONFIG.endpoint
    assert (config.server.port, config.server.drain_timeout_s) == (1, 3)
    assert config.server.extra_parameters == "drop"
    assert (config.server.model_type, config.server.max_body_bytes) == ("enum", 2048)


def test_several_processes_and_unknown_settings_are_refused(tmp_path: Path) -> None:
    with contextlib.closing(Recorded(tmp_path / "a", [])) as recorded:
        with pytest.raises(ConfigError, match="add --workers 1"):
            recorded.settle(Config(server=ServerConfig(workers=2)), lambda _: ())
        build(*recorded.settle(CONFIG, partial(plan, data_dir=tmp_path)))
    server, deployment = map(json.loads, (tmp_path / "a").read_text().splitlines())
    deployment["settings"] = {"speed": 11}
    (tmp_path / "b").write_text(f"{json.dumps(server)}\n{json.dumps(deployment)}\n")
    with (
        contextlib.closing(Replayed(tmp_path / "b", "instant")) as replayed,
        pytest.raises(ConfigError, match="speed"),
    ):
        replayed.settle(CONFIG, lambda _: ())


def test_every_secret_of_a_config_is_kept_out_of_a_recording() -> None:
    entra = EntraConfig(tenant="t", client_id="c", client_secret="of-entra")
    config = Config(
        server=ServerConfig(keys=("of-server",)),
        deployment=(
            DeploymentConfig(name="a", key="of-provider"),
            DeploymentConfig(name="b", entra=entra),
        ),
    )
    found = secrets_of(config, ["generated"])
    assert found == {"generated", "of-server", "of-provider", "of-entra"}
