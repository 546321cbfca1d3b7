"""``interlingua reload``: have a running server read its config again."""

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from interlingua.errors import ConfigError

if TYPE_CHECKING:
    from interlingua.server.admin import Running

#: Models may have to be read; engines start when they are called.
_ANSWER_WITHIN_S = 120.0


@click.command(
    epilog="\b\nExamples:\n"
    "  interlingua check && interlingua reload\n"
    "  interlingua reload --workers"
)
@click.option("--workers", is_flag=True, help="Replace the worker processes instead, one by one.")
@click.option("--port", type=int, metavar="PORT", help="Of several servers, the one on this port.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False),
    metavar="DIRECTORY",
    help="The server's data directory, if not where it is by itself.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what came of it as one JSON object.")
def reload(*, workers: bool, port: int | None, data_dir: str | None, as_json: bool) -> int:
    """Have this machine's server read its config again, without a pause.

    Calls under way end as they began; what comes later is answered by the new config. One
    that can't be served is refused, and the server goes on with the old one. SIGHUP does the
    same without an answer, SIGUSR2 what --workers does.
    """
    from interlingua.config.load import data_dir as found_dir
    from interlingua.server.admin import Told, running

    directory = Path(found_dir(data_dir))
    servers = [each for each in running(directory) if _fits(each, port)]
    for server in reversed(servers):
        if len(servers) > 1 and not _answers(server):
            servers.remove(server)
    if len(servers) > 1:
        urls = ", ".join(server.url for server in servers)
        raise click.UsageError(f"several servers run here: {urls}. Name one with --port.")
    if not servers:
        raise ConfigError(f"no server runs with the data directory {directory}.")
    told = msgspec.json.decode(_ask(servers[0], "restart" if workers else "reload"), type=Told)
    if as_json:
        click.echo(msgspec.json.encode(told).decode())
    else:
        click.echo(told.said, err=not told.done)
    return 0 if told.done else 1


def _fits(server: "Running", port: int | None) -> bool:
    return port is None or server.url.endswith(f":{port}")


def _answers(server: "Running") -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(server.socket) == 0


def _ask(server: "Running", command: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ANSWER_WITHIN_S)
        try:
            connection.connect(server.socket)
        except OSError as error:
            raise ConfigError(f"the server at {server.url} doesn't run any more.") from error
        connection.sendall(msgspec.json.encode(command) + b"\n")
        with connection.makefile("rb") as stream:
            answer = stream.readline()
    if not answer:
        raise ConfigError(f"the server at {server.url} ended before it answered.")
    return answer
