"""``interlingua check``: what a config would serve, and what stands in the way."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from interlingua.errors import ConfigError, ModelFileError

if TYPE_CHECKING:
    from interlingua.catalog.card import Card
    from interlingua.config.schema import Config, DeploymentConfig
    from interlingua.server.build import Planned

    from .provider_check import Provider, Reach

#: Engine → the module that it needs, and the extra that brings it.
LIBRARIES = {
    "llamacpp": ("xllamacpp", "llamacpp"),
    "onnx-text": ("onnxruntime", "onnx"),
    "onnx-image": ("onnxruntime", "onnx"),
    "onnx-joint": ("onnxruntime", "onnx"),
}


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table. ``files``: how the model stands in the store; ``local``: the
    user's own; ``none``: it has none.
    """

    name: str
    model: str
    engine: str | None
    compute: str
    context_length: int | None
    files: str
    address: str
    aliases: tuple[str, ...]
    fallback: tuple[str, ...]


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint with its traffic in per cent."""

    name: str
    address: str
    traffic: dict[str, float]
    choose: str


class Limited(msgspec.Struct, frozen=True):
    """A key with a name, or a deployment, and what it may take."""

    name: str
    limit: str


class Finding(msgspec.Struct, frozen=True):
    """A problem or a remark: where, and what helps."""

    where: str
    message: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    config: str
    servable: bool
    address: str | None = None
    keys: str | None = None
    deployments: tuple[Deployment, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    limits: tuple[Limited, ...] = ()
    #: What :mod:`.provider_check` says of each deployment at a provider.
    providers: "tuple[Provider, ...]" = ()
    problems: tuple[Finding, ...] = ()
    remarks: tuple[Finding, ...] = ()


@click.command(
    epilog="\b\nExamples:\n  interlingua check\n  interlingua check --config staging.toml --json\n"
    "  interlingua check --conformance http://127.0.0.1:8080"
)
@click.option(
    "--config",
    "-c",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Else the interlingua.toml of this directory, else what serve does without one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--offline", "reach", flag_value="offline", help="Ask no provider anything.")
@click.option(
    "--try",
    "reach",
    flag_value="try",
    help="Make one smallest call to each provider: it may cost a few tokens.",
)
@click.option(
    "--conformance",
    "url",
    metavar="URL",
    help="Instead: run the conformance suite against the server at this address.",
)
@click.option(
    "--deployment",
    metavar="NAME",
    help="With --conformance: the one deployment to check; else all of the server's.",
)
@click.option(
    "--key",
    metavar="KEY",
    help="With --conformance: the server's key. Else INTERLINGUA_API_KEY, else this machine's.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="With --conformance: the longest silence to bear.",
)
def check(
    path: Path | None,
    as_json: bool,
    *,
    reach: "Reach | None",
    url: str | None,
    deployment: str | None,
    key: str | None,
    timeout_s: float,
) -> int:
    """Validate a config and say what it would serve, or a server by the conformance suite.

    Of a config nothing is started or loaded. Providers are asked for their lists of models,
    with the deployment's own credential: whether they are there, take it, and know the model.
    The exit code is 1 if it can't be served as it is, or if a case of the suite fails.
    """
    if url is not None:
        if path is not None:
            raise click.UsageError("--config and --conformance don't go together.")
        from .conformance import Asked, check_server

        return check_server(
            Asked(url=url, key=key, deployment=deployment, timeout_s=timeout_s, as_json=as_json)
        )
    if deployment is not None or key is not None:
        raise click.UsageError("--deployment and --key go with --conformance.")
    report = examine(path, reach or "look")
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        _print(report)
    return 0 if report.servable else 1


def examine(path: Path | None, reach: "Reach" = "offline") -> Report:
    """Everything that can be said of a config without running it."""
    from interlingua.config.load import data_dir, load

    from .provider_check import ask_providers

    label = _label(path)
    try:
        config = load(str(path) if path else None)
    except ConfigError as error:
        return Report(config=label, servable=False, problems=(Finding("config", str(error)),))
    directory = data_dir(config.server.data_dir)
    scheme = "https" if config.server.tls or config.server.tls_cert else "http"
    address = f"{scheme}://{_host(config.server.host)}:{config.server.port or 'PORT'}"
    checked = [_deployment(config, each, directory, address) for each in config.deployment]
    providers = ask_providers(config, directory, reach)
    problems = (
        *_missing(config),
        *(problem for _, found, _ in checked for problem in found),
        *_said(providers, "problem"),
    )
    return Report(
        config=label,
        servable=not problems,
        address=address,
        keys=_keys(config, directory),
        deployments=tuple(row for row, _, _ in checked),
        endpoints=_endpoints(config, address),
        limits=_limits(config),
        providers=providers,
        problems=problems,
        remarks=(
            *(remark for _, _, remarks in checked for remark in remarks),
            *_said(providers, "remark"),
        ),
    )


def _said(providers: "tuple[Provider, ...]", what: str) -> tuple[Finding, ...]:
    said = ((each.name, getattr(each, what)) for each in providers)
    return tuple(Finding(f'deployment "{name}"', text) for name, text in said if text)


def _missing(config: "Config") -> tuple[Finding, ...]:
    """What the settings of the server need and isn't installed."""
    needs = []
    if config.server.tls is not None:
        needs.append(("server.tls", "cryptography", "tls"))
    if config.issuer:
        needs.append(("issuer", "jwt", "entra"))
    if any(each.aws is not None and each.aws.access_key_id for each in config.deployment):
        needs.append(("deployment.aws", "awscrt", "bedrock"))
    return tuple(
        Finding(where, f"it needs what isn't installed: pip install 'interlingua[{extra}]'")
        for where, module, extra in needs
        if find_spec(module) is None
    )


def _label(path: Path | None) -> str:
    from interlingua.config.load import FILE_NAME

    if path is not None:
        return str(path)
    return FILE_NAME if Path(FILE_NAME).is_file() else "the embedded default"


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _keys(config: "Config", directory: Path) -> str:
    keys = len(config.server.keys) + len(config.key)
    if keys:
        return f"{keys} from the environment"
    if config.issuer:
        return "none; bearer tokens of the issuers alone"
    return f"one, generated, in {directory / 'key'}"


def _deployment(
    config: "Config", each: "DeploymentConfig", directory: Path, address: str
) -> tuple[Deployment, list[Finding], list[Finding]]:
    """The deployment's row, its problems and the remarks on it."""
    from interlingua.server.build import plan

    where = f'deployment "{each.name}"'
    problems: list[str] = []
    remarks: list[str] = []
    card, files = None, "unknown"
    try:
        # As the server does it, but each by itself, so that one problem hides no other.
        (planned,) = plan(msgspec.structs.replace(config, deployment=(each,)), directory)
    except (ConfigError, ModelFileError) as error:
        problems.append(str(error).removeprefix(f"{where}: "))
    else:
        card, files = planned.card, _files(planned, directory)
        problems += _engine_problems(card)
        remarks += _remarks(each, card, files)
    row = Deployment(
        name=each.name,
        model=each.model or "-",
        engine=planned.engine if card else None,
        compute=each.compute,
        context_length=_context(each, card),
        files=files,
        address=f"{address}/endpoints/{each.name}",
        aliases=each.aliases,
        fallback=each.fallback,
    )
    return (
        row,
        [Finding(where, problem) for problem in problems],
        [Finding(where, remark) for remark in remarks],
    )


def _files(planned: "Planned", directory: Path) -> str:
    from interlingua.catalog.catalog import find
    from interlingua.catalog.store import Store

    if planned.stored is None:
        return Store(directory).status(planned.card)
    if not planned.stored.files:
        return "none"
    return "pulled" if find(planned.config.model or "") else "local"


def _engine_problems(card: "Card") -> list[str]:
    if card.engine is None:  # a backend that is a model by itself
        return []
    module, extra = LIBRARIES[card.engine]
    if find_spec(module) is None:
        return [f"its engine isn't installed: pip install 'interlingua[{extra}]'"]
    return []


def _remarks(config: "DeploymentConfig", card: "Card", files: str) -> list[str]:
    remarks = []
    if files not in {"local", "none", "pulled"}:
        remarks.append(f"its files are {files}: interlingua models pull {card.name}")
    limit = card.context_length
    if limit and config.context_length and config.context_length > limit:
        remarks.append(
            f"context_length {config.context_length} is more than the {limit} tokens that "
            f"{card.name} was made for"
        )
    return remarks


def _context(config: "DeploymentConfig", card: "Card | None") -> int | None:
    if config.context_length or card is None:
        return config.context_length
    return card.call_context or card.context_length


def _endpoints(config: "Config", address: str) -> tuple[Endpoint, ...]:
    return tuple(
        Endpoint(
            name=each.name,
            address=f"{address}/endpoints/{each.name}",
            traffic=_per_cent(each.traffic),
            choose=each.choose,
        )
        for each in config.endpoint
    )


def _limits(config: "Config") -> tuple[Limited, ...]:
    from interlingua.server.limiting import limits_of

    return tuple(Limited(name, str(limit)) for name, limit in limits_of(config).items())


def _per_cent(traffic: dict[str, float]) -> dict[str, float]:
    total = sum(traffic.values()) or 1.0
    return {name: round(100 * weight / total, 1) for name, weight in traffic.items()}


def _print(report: Report) -> None:
    click.echo(f"config   {report.config}")
    if report.address is not None:
        click.echo(f"address  {report.address}")
        click.echo(f"keys     {report.keys}\n")
    _table(
        ("NAME", "MODEL", "ENGINE", "COMPUTE", "CONTEXT", "FILES", "ADDRESS", "ALIASES"),
        [
            (
                each.name,
                each.model,
                each.engine or "none",
                each.compute,
                str(each.context_length or "-"),
                each.files,
                each.address.removeprefix(report.address or ""),
                " ".join(each.aliases) or "-",
            )
            for each in report.deployments
        ],
    )
    if report.endpoints:
        click.echo()
        _table(
            ("ENDPOINT", "ADDRESS", "CHOOSE", "TRAFFIC"),
            [
                (
                    each.name,
                    each.address.removeprefix(report.address or ""),
                    each.choose,
                    ", ".join(f"{name} {share:g} %" for name, share in each.traffic.items()),
                )
                for each in report.endpoints
            ],
        )
    _stand_ins(report)
    if report.limits:
        click.echo()
        _table(("LIMITED", "TO"), [(each.name, each.limit) for each in report.limits])
    _providers(report)
    _findings("Remarks", report.remarks)
    _findings("Problems", report.problems)
    click.echo("\nIt can be served." if report.servable else "\nIt can't be served as it is.")


def _providers(report: Report) -> None:
    from .provider_check import in_words

    if report.providers:
        click.echo("\nProviders:")
    for provider in report.providers:
        for line in in_words(provider):
            click.echo(f"  {line}")


def _stand_ins(report: Report) -> None:
    rows: list[tuple[str, ...]] = [
        (each.name, ", ".join(each.fallback)) for each in report.deployments if each.fallback
    ]
    if rows:
        click.echo()
        _table(("DEPLOYMENT", "FALLBACK"), rows)


def _findings(title: str, findings: tuple[Finding, ...]) -> None:
    if findings:
        click.echo(f"\n{title}:")
        for finding in findings:
            click.echo(f"  {finding.where}: {finding.message}")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Columns as wide as their widest cell; a pipe gets the same."""
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
