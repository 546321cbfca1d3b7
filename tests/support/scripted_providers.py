"""Every row of the provider registry as a deployment, each in front of its scripted wire."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import msgspec

from interlingua.backends.providers.registry import Row, rows
from interlingua.config.schema import Config
from interlingua.gateway.deployments import Deployment
from interlingua.server.app import App
from interlingua.server.build import build, plan

from ..server.service import KEY, served
from .scripted_upstream import Reply, Request, ScriptedUpstream, error, json_reply
from .wires import script


def wire(row: Row) -> ModuleType:
    """The scripted wire of a row: the module of its dialect's name.

    Raises:
        ModuleNotFoundError: nobody has written it.
    """
    return import_module(f".wires.{row.dialect.replace('-', '_')}", __package__)


def named(row: Row, model: script.Served) -> str:
    """The name of a row's deployment."""
    return row.name if model.type == "chat-completion" else f"{row.name}.{model.type}"


def deployments() -> dict[str, tuple[Row, script.Served]]:
    """Every deployment that the rows make, by name."""
    return {named(row, model): (row, model) for row in rows() for model in wire(row).served(row)}


class Providers(ScriptedUpstream):
    """All providers at one address: a path's first segment is the row's name."""

    def answer(self, request: Request) -> Reply:  # type: ignore[explicit-override]  # typing.override comes with 3.12
        if request.method != "POST":  # gateways ask what there is
            return json_reply({"object": "list", "data": []})
        self.requests.append(request)
        _, name, rest = [*request.path.split("/", 2), ""][:3]
        row = next((each for each in rows() if each.name == name), None)
        if row is None:
            return error(404, "not_found", f"No provider is scripted at {request.path}.")
        return wire(row).answer(row, replace(request, path=f"/{rest}"))


@dataclass(frozen=True)
class Stand:
    """The server, its deployments by name, and the providers behind it."""

    url: str
    deployments: Mapping[str, Deployment]
    providers: Providers


def config(url: str) -> Config:
    """The config whose deployments have the providers at ``url`` behind them."""
    listed = []
    for name, (row, model) in deployments().items():
        path = urlsplit(row.base_url or "").path
        listed.append(
            {
                "name": name,
                "provider": row.name,
                "base_url": f"{url}/{row.name}{path}",
                "model": model.model,
                "type": model.type,
                "key": script.KEY,
                "timeout_s": 10.0,
                "capabilities": dict(model.capabilities),
                **model.settings,
            }
        )
    return msgspec.convert({"deployment": listed}, Config)


@contextlib.contextmanager
def standing(folder: Path) -> Iterator[Stand]:
    """The server of :func:`config`, until the block ends."""
    with Providers() as providers:
        settled = config(providers.url)
        gateway = build(plan(settled, folder), settled).gateway
        by_name = {each.name: each for each in gateway.deployments}
        with served(App(gateway, settled, [KEY])) as url:
            yield Stand(url, by_name, providers)
