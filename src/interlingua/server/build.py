"""From the config to a gateway: which model each deployment is, and what runs it.

Rules of this file:
- An engine is found by its name among the entry points ``interlingua.backends``; nothing
  here knows one. A backend's module may carry a ``CARD`` of its own: a model without files.
- A provider is a row of the registry; its model has no files, and a card that is made here.
- Nothing is downloaded here.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import cast

import msgspec

from interlingua.backends.base import Backend
from interlingua.backends.engines.model import EngineModel
from interlingua.backends.engines.process import EngineProcess, Launch
from interlingua.backends.providers import http, registry
from interlingua.backends.providers.entra import EntraIdentity, IdentityEndpoint
from interlingua.backends.providers.families import families_of
from interlingua.backends.providers.registry import ProviderModel, Row
from interlingua.backends.providers.sigv4 import AwsKeys
from interlingua.backends.transport import CONNECT_TIMEOUT_S
from interlingua.catalog.card import Card, StoredModel
from interlingua.catalog.catalog import card_for_path, find, suggest
from interlingua.catalog.store import Store
from interlingua.config.load import child_environment, identity_endpoint
from interlingua.config.schema import Config, DeploymentConfig, EntraConfig
from interlingua.errors import ConfigError, ModelFileError
from interlingua.gateway.deployments import Deployment, Limits
from interlingua.gateway.gateway import Gateway


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment whose model is known, and may still have to be pulled."""

    config: DeploymentConfig
    card: Card
    #: The entry point of what runs it.
    engine: str
    #: ``None``: not on this machine yet.
    stored: StoredModel | None
    #: Who serves it elsewhere; ``engine`` is then the row's name.
    provider: ProviderModel | None = None
    #: What makes what answers, where it is neither.
    stands_in: Callable[[], Backend] | None = None
    #: What is put between the gateway and what answers.
    around: Callable[[Backend], Backend] | None = None


def plan(config: Config, data_dir: Path) -> tuple[Planned, ...]:
    """What each deployment of the config is.

    Raises:
        ConfigError: a model isn't known, or nothing here runs it.
        ModelFileError: a file that a deployment names can't be used.
    """
    store = Store(data_dir)
    return tuple(_plan(deployment, store) for deployment in config.deployment)


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway, and what it was built from."""

    planned: tuple[Planned, ...]
    config: Config
    gateway: Gateway


def build(
    planned: Sequence[Planned],
    config: Config,
    *,
    launch: Launch = EngineProcess,
    before: Built | None = None,
) -> Built:
    """The gateway over deployments whose models are all on this machine. ``launch`` starts
    engines. A deployment that was ``before`` and is to be the same stays the same object, and
    open.

    Raises:
        ConfigError: what runs a model isn't installed.
    """
    kept = _kept(before, planned, config)
    deployments = [kept.get(each.config.name) or _build(each, config, launch) for each in planned]
    endpoints = {endpoint.name: endpoint.traffic for endpoint in config.endpoint}
    choose = {endpoint.name: endpoint.choose for endpoint in config.endpoint}
    gateway = Gateway(deployments, endpoints, choose=choose)
    return Built(planned=tuple(planned), config=config, gateway=gateway)


def _kept(
    before: Built | None, planned: Sequence[Planned], config: Config
) -> dict[str, Deployment]:
    """The deployments, by name, for which nothing changes."""
    if before is None or before.config.server.load_timeout_s != config.server.load_timeout_s:
        return {}
    wanted = {each.config.name: each for each in planned}
    return {
        each.config.name: deployment
        for each, deployment in zip(before.planned, before.gateway.deployments, strict=True)
        if wanted.get(each.config.name) == each
    }


def _plan(deployment: DeploymentConfig, store: Store) -> Planned:
    if deployment.provider is not None:
        return _plan_elsewhere(deployment, deployment.provider)
    # The config's own check: without a provider there is a model.
    model = deployment.model or ""
    card = find(model)
    if card is not None:
        engine = _engine(deployment, card)
        return Planned(config=deployment, card=card, engine=engine, stored=store.get(card))
    own = _own_card(model)
    if own is not None:
        stored = StoredModel(card=own, files={})
        return Planned(config=deployment, card=own, engine=model, stored=stored)
    path = Path(model).expanduser()
    if path.exists() or path.is_absolute() or path.suffix == ".gguf":
        stored = _local(deployment, path)
        engine = _engine(deployment, stored.card)
        return Planned(config=deployment, card=stored.card, engine=engine, stored=stored)
    near = suggest(model)
    raise ConfigError(
        f'deployment "{deployment.name}": model: {model!r} is neither a model of the catalog '
        f"(`interlingua models list`) nor a file or directory here"
        f"{'; did you mean ' + ' or '.join(near) + '?' if near else '.'}"
    )


def _plan_elsewhere(deployment: DeploymentConfig, name: str) -> Planned:
    provider = _provider(deployment, name)
    card = Card(
        name=deployment.model or deployment.name,
        title=deployment.model or deployment.name,
        publisher=provider.publisher,
        type=provider.type,
        license="the provider's terms",
    )
    stored = StoredModel(card=card, files={})
    return Planned(config=deployment, card=card, engine=name, stored=stored, provider=provider)


def _provider(deployment: DeploymentConfig, name: str) -> ProviderModel:
    where = f'deployment "{deployment.name}"'
    row = registry.find(name)
    if row is None:
        near = registry.suggest(name)
        known = ", ".join(each.name for each in registry.rows())
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        raise ConfigError(f"{where}: provider: {name!r} is not known{hint} There are: {known}.")
    aws = _aws(deployment, row)
    base_url = deployment.base_url or row.base_url_in(
        deployment.aws.region if deployment.aws else None
    )
    if base_url is None:
        raise ConfigError(f"{where}: base_url: only you know where your {row.title} answers.")
    if row.needs_key and deployment.key is None and deployment.entra is None and aws is None:
        raise ConfigError(
            f'{where}: key: {row.title} wants one: key = "${{NAME}}", its value in the '
            "environment variable NAME"
            + ("; or credentials in [deployment.aws]." if row.aws_service else ".")
        )
    if row.needs_model and deployment.model is None:
        raise ConfigError(f"{where}: model: {row.title} has it in its address, so it must be set.")
    families = families_of(deployment.family or deployment.model, row.name)
    model = ProviderModel(
        name=deployment.name,
        row=row,
        base_url=base_url,
        model=deployment.model,
        family=deployment.family,
        key=deployment.key,
        aws=aws,
        entra=_entra(deployment.entra),
        api_version=deployment.api_version,
        type=deployment.type or (families[-1].type if families else "chat-completion"),
        publisher=deployment.publisher or (families[-1].publisher if families else row.title),
        timeout_s=deployment.timeout_s,
        connect_timeout_s=deployment.connect_timeout_s or CONNECT_TIMEOUT_S,
        first_byte_timeout_s=deployment.first_byte_timeout_s,
        concurrency=deployment.slots or 256,
        stated=deployment.capabilities,
    )
    if not model.capabilities.operations:
        raise ConfigError(f"{where}: type: {row.title} has no models of the type {model.type!r}.")
    return model


def _aws(deployment: DeploymentConfig, row: Row) -> AwsKeys | None:
    """What signs the deployment's calls, where something does."""
    stated = deployment.aws
    where = f'deployment "{deployment.name}"'
    if row.aws_service is None and stated is not None:
        raise ConfigError(f"{where}: aws: {row.title} isn't on AWS. Leave it out.")
    if stated is None:
        if row.needs_region and deployment.base_url is None:
            raise ConfigError(f'{where}: aws: which region? [deployment.aws] region = "us-east-1"')
        return None
    if stated.access_key_id is None or stated.secret_access_key is None:
        return None
    return AwsKeys(
        region=stated.region,
        access_key_id=stated.access_key_id,
        secret_access_key=stated.secret_access_key,
        session_token=stated.session_token,
    )


def _entra(config: EntraConfig | None) -> EntraIdentity | None:
    if config is None:
        return None
    endpoint = None
    if config.managed_identity:
        url, header = identity_endpoint()
        endpoint = IdentityEndpoint(url, header) if url and header else IdentityEndpoint()
    file = config.client_certificate
    return EntraIdentity(
        scope=config.scope,
        authority=config.authority,
        tenant=config.tenant,
        client_id=config.client_id,
        client_secret=config.client_secret,
        client_certificate=Path(file).expanduser() if file else None,
        endpoint=endpoint,
    )


def _upstream(provider: ProviderModel) -> Backend:
    try:
        return http.create(provider)
    except ModuleNotFoundError as error:
        extra = "bedrock" if provider.entra is None else "entra"
        raise ConfigError(
            f'deployment "{provider.name}": its credential needs the module {error.name!r}: '
            f"pip install 'interlingua[{extra}]'"
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no certificate with an RSA key"
        raise ConfigError(
            f'deployment "{provider.name}", entra: client_certificate: {reason}'
        ) from error


def _local(deployment: DeploymentConfig, path: Path) -> StoredModel:
    try:
        return card_for_path(path)
    except ModelFileError as error:
        raise ModelFileError(f'deployment "{deployment.name}": {error}') from error


def _engine(deployment: DeploymentConfig, card: Card) -> str:
    if card.engine is not None:
        return card.engine
    needs = f": it needs {card.needs}" if card.needs else "."
    raise ConfigError(f'deployment "{deployment.name}": no engine here runs {card.name} yet{needs}')


def _own_card(model: str) -> Card | None:
    """The card of a backend that is a model by itself."""
    entry = _entry_point(model)
    if entry is None:
        return None
    card = getattr(import_module(entry.module), "CARD", None)
    return card if isinstance(card, Card) else None


def _entry_point(name: str) -> EntryPoint | None:
    return next(iter(entry_points(group="interlingua.backends", name=name)), None)


def _build(planned: Planned, config: Config, launch: Launch) -> Deployment:
    deployment = planned.config
    if planned.stored is None:
        raise ModelFileError(
            f'deployment "{deployment.name}": the model {planned.card.name} is not on this '
            f"machine yet: `interlingua models pull {planned.card.name}`"
        )
    backend = _backend(planned, planned.stored, launch)
    return Deployment(
        name=deployment.name,
        backend=planned.around(backend) if planned.around else backend,
        aliases=deployment.aliases,
        also_known_as=(planned.card.name, *planned.card.aliases),
        fallback=deployment.fallback,
        limits=Limits(
            compute=deployment.compute,
            idle_s=deployment.idle_s,
            max_waiting=deployment.max_waiting,
            load_timeout_s=config.server.load_timeout_s,
        ),
    )


def _backend(planned: Planned, stored: StoredModel, launch: Launch) -> Backend:
    if planned.stands_in is not None:
        return planned.stands_in()
    if planned.provider is not None:
        return _upstream(planned.provider)
    deployment = planned.config
    model = EngineModel(
        name=deployment.name,
        stored=stored,
        context_length=deployment.context_length,
        slots=deployment.slots,
        threads=deployment.threads,
        environment=child_environment(),
        launch=launch,
        capabilities=deployment.capabilities,
    )
    return _create(planned, model)


def _create(planned: Planned, model: EngineModel) -> Backend:
    entry = _entry_point(planned.engine)
    where = f'deployment "{planned.config.name}"'
    if entry is None:
        raise ConfigError(
            f"{where}: the engine {planned.engine!r} of {planned.card.name} isn't installed."
        )
    try:
        create = cast("Callable[[EngineModel], Backend]", entry.load())
    except ModuleNotFoundError as error:
        # Extras are named after what they bring: onnx-text comes with [onnx].
        extra = planned.engine.partition("-")[0]
        raise ConfigError(
            f"{where}: its engine {planned.engine!r} needs the module {error.name!r}: "
            f"pip install 'interlingua[{extra}]'"
        ) from error
    return create(model)
