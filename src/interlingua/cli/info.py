"""``interlingua info``: what answers at an endpoint."""

from typing import TYPE_CHECKING

import click
import msgspec

from interlingua.errors import NotFound

from .connection import Connection, connects

if TYPE_CHECKING:
    from interlingua.models import ModelInfo, ServedModel
    from interlingua.sdk.one_client import Client


@click.command(
    epilog="\b\nExamples:\n  interlingua info\n"
    "  interlingua info --endpoint https://example.com/models --json"
)
@connects
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(connection: Connection, as_json: bool) -> None:
    """Say what answers at an endpoint, and which deployments it lists."""
    with connection.open() as client:
        address = connection.access().endpoint
        about, served = _about(client), _served(client)
    if about is None and served is None:
        raise NotFound(f"{address} has neither /info nor a list of models: is its path right?")
    if as_json:
        told = {
            "endpoint": address,
            "info": None if about is None else about.as_dict(),
            "models": None if served is None else [_row(model) for model in served],
        }
        click.echo(msgspec.json.encode(told).decode())
        return
    click.echo(f"endpoint  {address}")
    if about is not None:
        click.echo(f"model     {about.model_name}")
        click.echo(f"type      {about.get('model_type')}")
        click.echo(f"provider  {about.model_provider_name}")
    if served is not None:
        click.echo(f"\n{len(served)} deployments, each a --model:")
        for model in served:
            click.echo(f"  {model.id}" + (f"  ({model.owned_by})" if model.owned_by else ""))


def _about(client: "Client") -> "ModelInfo | None":
    from interlingua.exceptions import ResourceNotFoundError

    # An OpenAI endpoint has a list of models and no /info; an Azure one the reverse.
    try:
        return client.info()
    except ResourceNotFoundError:
        return None


def _served(client: "Client") -> "list[ServedModel] | None":
    from interlingua.exceptions import ResourceNotFoundError

    try:
        return client.models()
    except ResourceNotFoundError:
        return None


def _row(model: "ServedModel") -> dict[str, str | None]:
    return {"id": model.id, "owned_by": model.owned_by}
