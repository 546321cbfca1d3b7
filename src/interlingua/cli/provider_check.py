"""What ``interlingua check`` asks of the providers that a config names."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from interlingua.errors import ConfigError, ModelFileError
from interlingua.gateway.fates import PARAMETERS, Fate, fates
from interlingua.types.models import Operation, stated

from .families import fate_facts

if TYPE_CHECKING:
    from interlingua.backends.providers.probe import Finding
    from interlingua.backends.providers.registry import ProviderModel
    from interlingua.config.schema import Config

#: ``offline``: nobody is asked; ``look``: lists of models; ``try``: one smallest call each.
Reach = Literal["offline", "look", "try"]

_LOOK_TIMEOUT_S = 10.0


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment at a provider: what would be served, and what the provider said."""

    name: str
    provider: str
    base_url: str
    model: str | None
    families: tuple[str, ...]
    #: ``None``: it wasn't asked.
    reachable: bool | None
    credential: Literal["accepted", "refused", "unchecked"]
    model_is: Literal["known", "unlisted", "unchecked"]
    capabilities: dict[str, object]
    parameters: dict[Operation, dict[str, Fate]]
    problem: str | None = None
    remark: str | None = None


def ask_providers(config: "Config", directory: Path, reach: Reach) -> tuple[Provider, ...]:
    """What each deployment at a provider would serve; what can't be planned is left out."""
    from interlingua.server.build import plan

    models = []
    for each in config.deployment:
        if each.provider is None:
            continue
        try:
            (planned,) = plan(msgspec.structs.replace(config, deployment=(each,)), directory)
        except (ConfigError, ModelFileError):
            continue  # which the table says
        if planned.provider is not None:
            models.append(planned.provider)
    return tuple(asyncio.run(_ask_all(models, reach))) if models else ()


async def _ask_all(models: "list[ProviderModel]", reach: Reach) -> list[Provider]:
    return list(await asyncio.gather(*(_ask(model, reach) for model in models)))


async def _ask(model: "ProviderModel", reach: Reach) -> Provider:
    found = None if reach == "offline" else await _found(model, reach)
    can = model.capabilities
    return Provider(
        name=model.name,
        provider=model.row.name,
        base_url=model.base_url,
        model=model.model,
        families=tuple(family.name for family in model.families),
        reachable=None if found is None else found.reachable,
        credential="unchecked" if found is None else found.credential,
        model_is="unchecked" if found is None else found.model,
        capabilities=stated(can),
        parameters={each: fates(can, each) for each in PARAMETERS if each in can.operations}
        if can.operations
        else {},
        problem=found.problem if found else None,
        remark=found.remark if found else None,
    )


async def _found(model: "ProviderModel", reach: Reach) -> "Finding":
    from interlingua.backends.providers.http import create
    from interlingua.backends.providers.probe import Finding, attempt, look

    if reach == "look" and not model.row.lists:
        return Finding(reachable=None, remark="it has no list of models: --try makes a call")
    if reach == "look":
        model = msgspec.structs.replace(model, timeout_s=_LOOK_TIMEOUT_S)
    upstream = create(model)
    try:
        if reach == "try":
            return await attempt(upstream)
        # In the address stands a deployment's name, which no list of models has.
        pinned = None if model.row.needs_model else model.model
        return await look(upstream, model=pinned, lists=model.row.lists_at)
    finally:
        await upstream.close()


def in_words(provider: Provider) -> list[str]:
    """Its lines below the table."""
    known = f" ({' > '.join(provider.families)})" if provider.families else ""
    lines = [
        f"{provider.name}: {provider.provider} at {provider.base_url}{known}: {_state(provider)}"
    ]
    for operation, told in provider.parameters.items():
        facts = dict(fate_facts(operation, told))
        lines += [f"  {label}  {text}" for label, text in facts.items()]
    return lines


def _state(provider: Provider) -> str:
    if provider.reachable is None:
        return "not asked"
    if not provider.reachable:
        return "not reachable"
    said = ["reachable"]
    if provider.credential != "unchecked":
        said.append(f"credential {provider.credential}")
    if provider.model_is != "unchecked":
        said.append(f"model {provider.model_is}")
    return ", ".join(said)
