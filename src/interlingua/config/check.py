"""What a config may not say although each of its values is legal by itself."""

import difflib
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

import msgspec
import msgspec.inspect

from interlingua.errors import ConfigError

from .entra import check_entra
from .hosts import read_host
from .schema import Config, DeploymentConfig

#: What only a model elsewhere has, and only a model here.
_PROVIDERS_ONLY = (
    "base_url",
    "key",
    "aws",
    "entra",
    "api_version",
    "family",
    "type",
    "publisher",
    "timeout_s",
    "connect_timeout_s",
    "first_byte_timeout_s",
)
_ENGINES_ONLY = ("context_length", "threads")
#: What callers that the config doesn't name are called.
_DERIVED_NAME = re.compile(r"token(-|\Z)|key-[0-9a-f]{8}\Z")


def check_document(document: Mapping[str, object], schema: type[msgspec.Struct]) -> None:
    """Refuse settings that the schema doesn't know, with the nearest that it does.

    Raises:
        ConfigError: names the table, the setting and the suggestion.
    """
    kind = msgspec.inspect.type_info(schema)
    assert isinstance(kind, msgspec.inspect.StructType)
    _check_table(document, kind, "")


def check_names(config: Config) -> None:
    """Refuse names that are given twice, or that stand for nothing.

    Raises:
        ConfigError: names the setting and what would be right.
    """
    if not config.deployment:
        raise ConfigError(
            "it has no deployment, so there is nothing to serve. Add one: "
            '[[deployment]] name = "chat" model = "smollm2-135m-instruct"'
        )
    owner: dict[str, str] = {}
    for deployment in config.deployment:
        for name in dict.fromkeys((deployment.name, *deployment.aliases)):
            _claim(owner, name, f'deployment "{deployment.name}"')
        _check_fallback(config, deployment)
    addresses = {deployment.name.lower() for deployment in config.deployment}
    for endpoint in config.endpoint:
        _check_endpoint(config, endpoint.name, endpoint.traffic)
        if endpoint.name.lower() in addresses:
            raise ConfigError(
                f'endpoint "{endpoint.name}": the name is taken: by another endpoint, or by a '
                "deployment (each has an endpoint of its own name)."
            )
        addresses.add(endpoint.name.lower())


def check_keys(config: Config) -> None:
    """Refuse keys that could not be told apart.

    Raises:
        ConfigError: names the entry and what would be right.
    """
    names: set[str] = set()
    known = dict.fromkeys(config.server.keys, "server.keys")
    for each in config.key:
        where = f'key "{each.name}"'
        if each.name in names:
            raise ConfigError(f"{where}: the name is given twice; give each key its own.")
        if _DERIVED_NAME.match(each.name):
            raise ConfigError(
                f"{where}: usage has names like it for callers without one; choose another."
            )
        if each.key in known:
            raise ConfigError(
                f"{where}: its value is that of {known[each.key]} as well, and a call with it "
                "can be only one's."
            )
        names.add(each.name)
        known[each.key] = where


def check_usage(config: Config) -> None:
    """Refuse to require a record that isn't kept.

    Raises:
        ConfigError: says so.
    """
    if config.server.usage_required and not config.server.usage:
        raise ConfigError(
            "server.usage_required: usage isn't kept at all (server.usage = false); set one of "
            "them otherwise."
        )


def check_hosts(config: Config) -> None:
    """Refuse entries of ``remote_images`` that aren't hosts.

    Raises:
        ConfigError: names the entry and how one is written.
    """
    for entry in config.server.remote_images:
        read_host(entry)


def check_tls(config: Config) -> None:
    """Refuse half a certificate, or two.

    Raises:
        ConfigError: names the setting and what is missing or too much.
    """
    server = config.server
    if server.tls is not None and (server.tls_cert or server.tls_key):
        raise ConfigError(
            "server.tls: tls_cert and tls_key name a certificate already; leave out either them "
            "or tls."
        )
    if bool(server.tls_cert) != bool(server.tls_key):
        there, missing = "tls_cert", "tls_key"
        if server.tls_key:
            there, missing = missing, there
        raise ConfigError(
            f"server.{there}: it needs {missing} beside it (the same file, if it holds both)."
        )


def check_deployments(config: Config) -> None:
    """Refuse settings that don't go with where a deployment's model runs.

    Raises:
        ConfigError: names the setting and what would be right.
    """
    for deployment in config.deployment:
        where = f'deployment "{deployment.name}"'
        elsewhere = deployment.provider is not None
        for name in _ENGINES_ONLY if elsewhere else _PROVIDERS_ONLY:
            if getattr(deployment, name) is not None:
                raise ConfigError(
                    f"{where}: {name}: it is for a model "
                    + (
                        "that runs here, and this one has a provider."
                        if elsewhere
                        else "elsewhere: name its provider as well, or leave it out."
                    )
                )
        if elsewhere:
            _check_address(deployment, where)
            _check_aws(deployment, where)
            check_entra(deployment, where)
        elif deployment.model is None:
            raise ConfigError(
                f"{where}: it has no model: name a card of the catalog or a file, or the "
                "provider of a model elsewhere."
            )


def _check_address(deployment: DeploymentConfig, where: str) -> None:
    if deployment.base_url is None:
        return
    try:
        url = urlsplit(deployment.base_url)
        fits = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise ConfigError(
            f"{where}: base_url: {deployment.base_url!r} is no address. It looks like "
            "https://api.example.com/v1"
        )
    if url.query or url.fragment or "@" in url.netloc:
        raise ConfigError(
            f"{where}: base_url: it is a plain address, without query, fragment or password. "
            'Use key = "${NAME}" and api_version for these.'
        )


def _check_aws(deployment: DeploymentConfig, where: str) -> None:
    aws = deployment.aws
    if aws is None:
        return
    if (aws.access_key_id is None) != (aws.secret_access_key is None):
        raise ConfigError(f"{where}: aws: access_key_id and secret_access_key go together.")
    if aws.session_token is not None and aws.access_key_id is None:
        raise ConfigError(f"{where}: aws: session_token needs access_key_id beside it.")
    if aws.access_key_id is not None and deployment.key is not None:
        raise ConfigError(
            f"{where}: key: calls are signed with aws.access_key_id already; leave one of them out."
        )


def _claim(owner: dict[str, str], name: str, claimant: str) -> None:
    if not name.strip():
        raise ConfigError(f"{claimant}: an alias may not be empty.")
    holder = owner.setdefault(name.lower(), claimant)
    if holder != claimant:
        raise ConfigError(
            f"{claimant}: the name {name!r} is already taken by {holder}. Names and aliases are "
            "compared without regard to case; give each to one deployment."
        )


def _check_fallback(config: Config, deployment: DeploymentConfig) -> None:
    known = [each.name for each in config.deployment if each.name != deployment.name]
    for name in deployment.fallback:
        if name not in known:
            raise ConfigError(
                f'deployment "{deployment.name}": fallback names {name!r}, which isn\'t another '
                f"deployment{_suggestion(name, known)}. There are: {', '.join(known) or 'none'}."
            )


def _check_endpoint(config: Config, name: str, traffic: Mapping[str, float]) -> None:
    known = [deployment.name for deployment in config.deployment]
    for target in traffic:
        if target not in known:
            raise ConfigError(
                f'endpoint "{name}": traffic names the deployment {target!r}, which isn\'t '
                f"there{_suggestion(target, known)}. There are: {', '.join(known)}."
            )
    if not sum(traffic.values()):
        raise ConfigError(f'endpoint "{name}": traffic sends nothing anywhere; give a weight.')


def _check_table(table: Mapping[str, object], kind: msgspec.inspect.StructType, place: str) -> None:
    fields = {field.encode_name: field.type for field in kind.fields}
    for name, value in table.items():
        if name not in fields:
            raise ConfigError(
                f"{place + ': ' if place else ''}unknown setting {name!r}"
                f"{_suggestion(name, fields)}. "
                f"Known here: {', '.join(fields)}."
            )
        inner = _struct_in(fields[name])
        if inner is None:
            continue
        for number, entry in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(entry, dict):
                _check_table(entry, inner, _place(place, name, entry, number))


def _place(outer: str, table: str, entry: Mapping[str, object], number: int) -> str:
    """How a person finds the table: ``deployment "phi"``, ``deployment "phi", capabilities``."""
    name = entry.get("name")
    if outer:
        return f"{outer}, {table}"
    if table in {"deployment", "endpoint", "issuer", "key"}:
        return f'{table} "{name}"' if isinstance(name, str) else f"{table} number {number + 1}"
    return f"[{table}]"


def _struct_in(kind: msgspec.inspect.Type) -> msgspec.inspect.StructType | None:
    match kind:
        case msgspec.inspect.StructType():
            return kind
        case msgspec.inspect.Metadata(type=inner):
            return _struct_in(inner)
        case msgspec.inspect.UnionType(types=options):
            return next(filter(None, map(_struct_in, options)), None)
        case msgspec.inspect.VarTupleType(item_type=inner):
            return _struct_in(inner)
        case _:
            return None


def _suggestion(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
