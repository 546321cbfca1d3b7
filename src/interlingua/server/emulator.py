"""Recording what a server answers, and a server that answers from such a recording.

Rules of this file:
- Only backends are wrapped or replaced: dialects, keys, negotiation and queues are those of
  every server, so a replay refuses what the recorded server refused.
"""

from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import msgspec

from interlingua.backends.base import Backend
from interlingua.backends.exchanges import Served, ServerLine
from interlingua.backends.recording import Recorder, Recording
from interlingua.backends.replay import Exchanges, Replay, Timing
from interlingua.catalog.card import Card, StoredModel
from interlingua.config.schema import Config, DeploymentConfig, EndpointConfig
from interlingua.errors import ConfigError

from .build import Planned

_Config = TypeVar("_Config", DeploymentConfig, EndpointConfig)
_Plans = tuple[tuple[Planned, ...], Config]

#: What of a deployment's config decides who is asked when.
_ROUTING = ("aliases", "fallback")


class Recorded:
    """Deployments that write down what reaches them."""

    def __init__(self, path: Path, secrets: Iterable[str]) -> None:
        """``secrets`` are never written.

        Raises:
            ConfigError: the file can't be written, or is something else.
        """
        self._recorder = Recorder(path, secrets)

    def settle(self, config: Config, plan: Callable[[Config], tuple[Planned, ...]]) -> _Plans:
        """What ``plan`` makes of the config, recorded from now on.

        Raises:
            ConfigError: several processes would answer.
        """
        _refuse_workers(config, "--record")
        self._recorder.add(
            ServerLine(
                version=version("interlingua"),
                endpoints=tuple(msgspec.to_builtins(each) for each in config.endpoint),
                extra_parameters=config.server.extra_parameters,
                model_type=config.server.model_type,
                max_body_bytes=config.server.max_body_bytes,
            )
        )
        planned = tuple(
            msgspec.structs.replace(each, around=_Around(each, self._recorder))
            for each in plan(config)
        )
        return planned, config

    def close(self) -> None:
        self._recorder.close()


class _Around(msgspec.Struct, frozen=True):
    """Equal where the deployment is, so that a reload leaves it as it is."""

    planned: Planned
    recorder: Recorder

    def __call__(self, backend: Backend) -> Backend:
        stated, card, provider = self.planned.config, self.planned.card, self.planned.provider
        served = Served(
            name=stated.name,
            also_known_as=(card.name, *card.aliases),
            settings={name: getattr(stated, name) for name in _ROUTING},
            info=backend.info,
            capabilities=backend.capabilities,
            forwards_model=provider is not None and provider.model is None,
        )
        return Recording(backend, served, self.recorder)


class Replayed:
    """The deployments of a recording, answered from it."""

    def __init__(self, path: Path, timing: Timing) -> None:
        """Read through the file.

        Raises:
            ConfigError: it can't be read, or a line of it makes no sense.
        """
        self._exchanges = Exchanges(path)
        self._timing: Timing = timing

    def settle(self, config: Config, plan: Callable[[Config], tuple[Planned, ...]]) -> _Plans:
        """The recorded deployments; the recorded settings decide about replies, those of
        ``config`` about the rest.

        Raises:
            ConfigError: several processes would answer, or there are settings that this
                version doesn't know.
        """
        del plan
        _refuse_workers(config, "--replay")
        planned = tuple(self._planned(each) for each in self._exchanges.served)
        then = self._exchanges.server
        settings = msgspec.structs.replace(
            config.server,
            extra_parameters=then.extra_parameters,
            model_type=then.model_type,
            max_body_bytes=then.max_body_bytes,
        )
        return planned, Config(
            server=settings,
            deployment=tuple(each.config for each in planned),
            endpoint=tuple(_read(each, EndpointConfig) for each in then.endpoints),
        )

    def close(self) -> None:
        self._exchanges.close()

    def _planned(self, served: Served) -> Planned:
        name, *others = served.also_known_as or (served.name,)
        card = Card(
            name=name,
            aliases=tuple(others),
            title=name,
            publisher=served.info.model_provider_name,
            type=served.info.model_type,
            license="the recorded model's terms",
        )
        return Planned(
            config=_read({"name": served.name, "model": name, **served.settings}, DeploymentConfig),
            card=card,
            engine="replay",
            stored=StoredModel(card=card, files={}),
            stands_in=_StandsIn(served, self._exchanges, self._timing),
        )


class _StandsIn(msgspec.Struct, frozen=True):
    served: Served
    exchanges: Exchanges
    timing: Timing

    def __call__(self) -> Backend:
        return Replay(self.served, self.exchanges, timing=self.timing)


def _refuse_workers(config: Config, flag: str) -> None:
    if config.server.workers > 1:
        raise ConfigError(
            f"server.workers: {flag} keeps exchanges in their order, which takes one process: "
            "add --workers 1."
        )


def _read(stated: dict[str, object], kind: type[_Config]) -> _Config:
    try:
        return msgspec.convert(stated, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"--replay: a setting of the recorded server: {error}.") from error
