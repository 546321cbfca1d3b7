"""A replay is a backend like any other: what was recorded under the suite passes it again."""

import contextlib
from functools import partial
from pathlib import Path

from interlingua.config.schema import Config, DeploymentConfig
from interlingua.gateway.gateway import Gateway
from interlingua.server.app import App
from interlingua.server.build import build, plan
from interlingua.server.emulator import Recorded, Replayed

from ..server.service import KEY, served
from ..support.conforming import assert_conforms, declared_by, outcomes

CONFIG = Config(deployment=(DeploymentConfig(name="echo", model="echo"),))


def _conforms(gateway: Gateway, config: Config, *, at_least: int) -> None:
    (deployment,) = gateway.deployments
    with served(App(gateway, config, [KEY])) as url:
        found = outcomes(url, declared_by(deployment, exact=True), at_once=4)
    assert_conforms(found, at_least=at_least)


def test_a_replay_of_a_server_that_conforms_conforms(tmp_path: Path) -> None:
    file = tmp_path / "exchanges.jsonl"
    with contextlib.closing(Recorded(file, [KEY])) as recorded:
        planned, config = recorded.settle(CONFIG, partial(plan, data_dir=tmp_path))
        _conforms(build(planned, config).gateway, config, at_least=140)
    with contextlib.closing(Replayed(file, "instant")) as replayed:
        planned, config = replayed.settle(Config(), lambda _: ())
        _conforms(build(planned, config).gateway, config, at_least=130)
