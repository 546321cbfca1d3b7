"""``interlingua serve``: the server in this terminal."""

import contextlib
import logging
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from interlingua.errors import ConfigError, ModelFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from socket import socket
    from ssl import SSLContext

    from interlingua.backends.replay import Timing
    from interlingua.catalog.card import Card
    from interlingua.config.schema import Config, ServerConfig
    from interlingua.server.build import Planned
    from interlingua.server.emulator import Recorded, Replayed
    from interlingua.server.loaded import Start
    from interlingua.storage.spool import Spool


class Address(msgspec.Struct, frozen=True):
    """What answers under an address of its own."""

    name: str
    url: str
    model: str | None = None


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` prints, in one line."""

    url: str
    #: Where the generated key is kept; ``None``: the keys come from the environment, or there
    #: are none.
    key_file: str | None
    #: What callers must trust where the certificate was made here.
    ca_file: str | None
    deployments: list[Address]
    endpoints: list[Address]


@click.command(
    epilog="\b\nExamples:\n"
    "  interlingua serve\n"
    "  interlingua serve --port 0 --json\n"
    "  INTERLINGUA_API_KEY=$(interlingua keys new) interlingua serve --config models.toml\n"
    "  interlingua serve --record exchanges.jsonl\n"
    "  interlingua serve --replay exchanges.jsonl"
)
@click.option(
    "--config",
    "-c",
    "path",
    metavar="FILE",
    help="Else the interlingua.toml of this directory, else three small models.",
)
@click.option("--host", metavar="HOST", help="Address to listen on, whatever the config says.")
@click.option("--port", type=int, metavar="PORT", help="Port to listen on; 0 takes a free one.")
@click.option("--data-dir", metavar="DIR", help="Where models and the generated key are kept.")
@click.option("--tls-cert", metavar="FILE", help="Speak TLS with this certificate and chain (PEM).")
@click.option("--tls-key", metavar="FILE", help="The certificate's private key (PEM).")
@click.option(
    "--tls", type=click.Choice(["dev"]), help="Speak TLS with a certificate made on this machine."
)
@click.option(
    "--workers", type=click.IntRange(1, 64), metavar="N", help="Processes that answer; else one."
)
@click.option("--no-pull", is_flag=True, help="Fail where a model would have to be fetched first.")
@click.option("--record", metavar="FILE", help="Append each exchange to FILE, without secrets.")
@click.option(
    "--replay", metavar="FILE", help="Answer from a recording: no models, no keys, no network."
)
@click.option(
    "--replay-timing",
    type=click.Choice(["instant", "real"]),
    default="instant",
    show_default=True,
    help="How fast a replay answers: at once, or as the recorded server did.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as one JSON object.")
def serve(
    path: str | None,
    *,
    host: str | None,
    port: int | None,
    data_dir: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    tls: str | None,
    workers: int | None,
    no_pull: bool,
    record: str | None,
    replay: str | None,
    replay_timing: "Timing",
    as_json: bool,
) -> None:
    """Answer the API here, with models on this machine.

    Models that aren't here yet are fetched first. SIGTERM or Ctrl-C lets calls under way
    finish (drain_timeout_s); a second one ends them. SIGHUP, or `interlingua reload`, has the
    config read again.
    """
    from interlingua.config import load
    from interlingua.server.run import listen

    if replay and (path or record):
        raise click.UsageError("--replay serves what was recorded: without --config or --record.")
    file = str(load.DEFAULT) if replay else path
    flags = {"tls_cert": tls_cert, "tls_key": tls_key, "tls": tls}

    def read() -> "Config":
        return load.load(file, host=host, port=port, data_dir=data_dir, workers=workers, tls=flags)

    config = read()
    with (
        listen(config.server.host, config.server.port) as listener,
        _emulated(config, record, replay, replay_timing) as emulated,
    ):
        _run(config, read, listener, emulated, no_pull=no_pull, as_json=as_json)


@contextlib.contextmanager
def _emulated(
    config: "Config", record: str | None, replay: str | None, timing: "Timing"
) -> "Iterator[Recorded | Replayed | None]":
    """What is recorded into, or replayed, if anything is."""
    if not record and not replay:
        yield None
        return
    from interlingua.config import load
    from interlingua.server.emulator import Recorded, Replayed

    if replay:
        with contextlib.closing(Replayed(Path(replay), timing)) as replayed:
            yield replayed
    elif record:
        keys, _ = load.server_keys(config, load.data_dir(config.server.data_dir))
        with contextlib.closing(Recorded(Path(record), load.secrets_of(config, keys))) as recorded:
            yield recorded


def _run(
    config: "Config",
    read: "Callable[[], Config]",
    listener: "socket",
    emulated: "Recorded | Replayed | None",
    *,
    no_pull: bool,
    as_json: bool,
) -> None:
    from interlingua.config import load
    from interlingua.server.loaded import Loaded, Start
    from interlingua.server.run import url_of
    from interlingua.server.tls import certificate_of, context_of

    directory = load.data_dir(config.server.data_dir)
    keys, key_file = load.server_keys(config, directory)
    certificate = certificate_of(config.server, directory)
    context = context_of(certificate) if certificate else None
    planned, config = _settled(emulated, config, no_pull=no_pull)
    ca = str(certificate.ca) if certificate and certificate.ca else None
    url = url_of(listener, "https" if context else "http")
    serving = _serving(url, planned, config, key_file=key_file, ca_file=ca)

    def tell() -> None:
        if as_json:
            click.echo(msgspec.json.encode(serving))
        else:
            _welcome(serving, planned, keys[0] if keys else None)
        sys.stdout.flush()

    def again() -> Loaded:
        planned, config = _settled(emulated, read(), no_pull=True)
        keys, _ = load.server_keys(config, directory)
        return Loaded(config=config, keys=keys, planned=planned)

    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    start = Start(
        listener=listener,
        loaded=Loaded(config=config, keys=keys, planned=planned),
        load=again,
        data_dir=directory,
        url=url,
        tell=tell,
    )
    if config.server.workers == 1:
        _run_alone(start, context)
    else:
        _run_workers(start)


def _run_alone(start: "Start", context: "SSLContext | None") -> None:
    from interlingua.server.run import server_of
    from interlingua.server.single import Single

    settings = start.loaded.config.server
    with _usage(settings, start.data_dir) as records:
        live = Single(start, records).live
        server_of(live, settings, on_start=start.tell, tls=context).run(sockets=[start.listener])


def _run_workers(start: "Start") -> None:
    from interlingua.server.supervisor import supervise
    from interlingua.storage.collector import collected

    kept = start.loaded.config.server.usage
    with collected(start.data_dir) if kept else contextlib.nullcontext():
        supervise(start)


@contextlib.contextmanager
def _usage(settings: "ServerConfig", directory: Path) -> "Iterator[Spool | None]":
    """Where usage is put down, if it is to be."""
    if not settings.usage:
        yield None
        return
    from interlingua.storage.collector import recorded

    with recorded(directory) as spool:
        yield spool


def _settled(
    emulated: "Recorded | Replayed | None", config: "Config", *, no_pull: bool
) -> "tuple[tuple[Planned, ...], Config]":
    """What is served, and its config."""
    if emulated is None:
        return _complete(config, no_pull=no_pull), config
    return emulated.settle(config, partial(_complete, no_pull=no_pull))


def _complete(config: "Config", *, no_pull: bool) -> "tuple[Planned, ...]":
    """What each deployment is, with what isn't on this machine yet fetched."""
    from interlingua.config import load
    from interlingua.server.build import plan

    directory = load.data_dir(config.server.data_dir)
    planned = plan(config, directory)
    missing = {each.card.name: each.card for each in planned if each.stored is None}
    if not missing:
        return planned
    if no_pull:
        names = " ".join(missing)
        raise ConfigError(
            f"not on this machine yet: {', '.join(missing)}. Fetch with: "
            f"interlingua models pull {names}"
        )
    for card in missing.values():
        _pull(card, directory)
    return plan(config, directory)


def _pull(card: "Card", directory: Path) -> None:
    """In a process of its own: the server's stays free of what fetching needs."""
    from interlingua.config.load import environment_with

    done = subprocess.run(
        [sys.executable, "-m", "interlingua", "models", "pull", card.name],
        stdout=sys.stderr,
        env=environment_with(directory),
        check=False,
    )
    if done.returncode:
        raise ModelFileError(f"{card.name} isn't on this machine and couldn't be fetched.")


def _serving(
    url: str,
    planned: "Sequence[Planned]",
    config: "Config",
    *,
    key_file: Path | None,
    ca_file: str | None,
) -> Serving:
    return Serving(
        url=url,
        key_file=str(key_file) if key_file else None,
        ca_file=ca_file,
        deployments=[
            Address(each.config.name, f"{url}/endpoints/{each.config.name}", each.card.name)
            for each in planned
        ],
        endpoints=[
            Address(endpoint.name, f"{url}/endpoints/{endpoint.name}")
            for endpoint in config.endpoint
        ],
    )


def _welcome(serving: Serving, planned: "Sequence[Planned]", key: str | None) -> None:
    """Where to call, with which key, and lines to paste.

    A key is shown on a terminal only: what else reads this output may keep it.
    """
    click.echo(f"interlingua answers at {serving.url}\n")
    rows = [*serving.deployments, *serving.endpoints]
    width = max(len(row.name) for row in rows)
    for row in rows:
        click.echo(f"  {row.name:{width}}  {row.url}")
    for line in _trust(serving.ca_file):
        click.echo(line)
    if key is None:
        click.echo("\nKey: none. Callers send bearer tokens of the issuers in the config.")
        click.echo("\nCtrl-C stops it.")
        return
    if serving.key_file is None:
        click.echo("\nKey: one of those that the environment holds.")
        shell, python = "$INTERLINGUA_API_KEY", 'os.environ["INTERLINGUA_API_KEY"]'
    elif sys.stdout.isatty():
        click.echo(f"\nKey: {key}   (generated, kept in {serving.key_file})")
        shell, python = key, f'"{key}"'
    else:
        click.echo(f"\nKey: generated, kept in {serving.key_file}")
        shell, python = f"$(cat '{serving.key_file}')", f'open("{serving.key_file}").read().strip()'
    for line in _snippets(serving, _chat_model(planned), shell, python):
        click.echo(line)
    click.echo("\nCtrl-C stops it.")


def _chat_model(planned: "Sequence[Planned]") -> str:
    """The first deployment that chats, as far as its card says."""
    names = [each.config.name for each in planned if each.card.type == "chat-completion"]
    return names[0] if names else planned[0].config.name


def _trust(ca_file: str | None) -> list[str]:
    """How each kind of caller is made to trust a certificate of this machine."""
    if ca_file is None:
        return []
    return [
        f"""
TLS: with a certificate of this machine alone. To trust it:
  export REQUESTS_CA_BUNDLE='{ca_file}'   # azure-ai-inference
  export SSL_CERT_FILE='{ca_file}'        # azure-ai-inference's aio, openai, httpx
  export NODE_EXTRA_CA_CERTS='{ca_file}'  # Node
  curl --cacert '{ca_file}'"""
    ]


def _snippets(serving: Serving, model: str, shell: str, python: str) -> list[str]:
    url = serving.url
    trusting = f"--cacert '{serving.ca_file}' " if serving.ca_file else ""
    imports = "import os\n" if python.startswith("os.") else ""
    message = '[{"role": "user", "content": "Why is the sky blue?"}]'
    return [
        f"""
# pip install azure-ai-inference
{imports}from azure.ai.inference import ChatCompletionsClient
from azure.core.credentials import AzureKeyCredential

client = ChatCompletionsClient("{url}", AzureKeyCredential({python}))
answer = client.complete(model="{model}", messages={message})
print(answer.choices[0].message.content)""",
        f"""
# pip install openai
{imports}from openai import OpenAI

client = OpenAI(base_url="{url}/v1", api_key={python})
answer = client.chat.completions.create(model="{model}", messages={message})
print(answer.choices[0].message.content)""",
        f"""
curl {trusting}{url}/chat/completions -H "api-key: {shell}" -H 'content-type: application/json' \\
  -d '{{"model": "{model}", "messages": {message}}}'""",
    ]
