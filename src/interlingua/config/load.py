"""``interlingua.toml`` → :class:`Config`, and everything that the environment says.

Rules of this file:
- It is the only reader of the environment (the SDK has its own).
- Every failure is a :class:`ConfigError` that names the file, the setting and the remedy.
- A secret stands in the file as ``${NAME}`` only, and never in a message.
"""

import contextlib
import os
import re
import secrets
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from interlingua.errors import ConfigError

from .check import (
    check_deployments,
    check_document,
    check_hosts,
    check_keys,
    check_names,
    check_tls,
    check_usage,
)
from .issuers import check_issuers
from .schema import Config, DeploymentConfig, KeyConfig

#: Where a config is looked for when none is named.
FILE_NAME = "interlingua.toml"
#: The environment variable that sets the embedded default's key.
KEY_VARIABLE = "INTERLINGUA_API_KEY"
#: What a key may be, so that it fits every header that carries it.
KEY_PATTERN = re.compile(r"[\x21-\x7e]{1,512}")
#: A provider's may be a token, which is longer.
_PROVIDER_KEY_PATTERN = re.compile(r"[\x21-\x7e]{1,8192}")
#: Where a secret may stand.
_AWS_SECRETS = ("access_key_id", "secret_access_key", "session_token")
_SECRETS = frozenset(
    {
        ("server", "keys"),
        ("key", "key"),
        ("deployment", "key"),
        ("deployment", "entra", "client_secret"),
        *(("deployment", "aws", name) for name in _AWS_SECRETS),
    }
)

#: The embedded config, which asks nothing of a machine.
DEFAULT = Path(__file__).with_name("default.toml")
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
#: What an engine process needs of the environment; never a secret.
_CHILD_VARIABLES = (
    "COVERAGE_PROCESS_CONFIG",
    "COVERAGE_PROCESS_START",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PATH",
    "TMPDIR",
)


def load(
    path: str | None,
    *,
    host: str | None = None,
    port: int | None = None,
    data_dir: str | None = None,
    workers: int | None = None,
    tls: Mapping[str, str | None] = MappingProxyType({}),
) -> Config:
    """The config in ``path``, else in the working directory, else the embedded default.

    ``host``, ``port``, ``data_dir`` and ``workers``, where given, replace what the file says; so
    do the settings in ``tls``, all of them together. ``keys`` are the secrets themselves; empty,
    one is to be generated (:func:`server_keys`).

    Raises:
        ConfigError: it can't be read, or can't be served.
    """
    file = _find(path)
    label = "the embedded default" if file == DEFAULT else str(file)
    try:
        document = _read(file)
        given: dict[str, object] = {"host": host, "port": port, "data_dir": data_dir, **tls}
        given["workers"] = workers
        stated = {name: value for name, value in given.items() if value is not None}
        server = document.setdefault("server", {})
        if isinstance(server, dict):
            if stated.keys() & tls.keys():
                server = document["server"] = {k: v for k, v in server.items() if k not in tls}
            server.update(stated)
        check_document(document, Config)
        _refuse_references(document, ())
        config = _convert(document)
        check_deployments(config)
        config = _with_secrets(config, embedded=file == DEFAULT)
        check_names(config)
        check_keys(config)
        check_hosts(config)
        check_tls(config)
        check_usage(config)
        check_issuers(config)
        _check_exposure(config)
    except ConfigError as error:
        raise ConfigError(f"{label}: {error}") from error.__cause__
    return config


def data_dir(stated: str | None) -> Path:
    """Where models and the generated key are kept: what a flag or the config states, else
    ``$INTERLINGUA_DATA_DIR``, else the user's own place for data. It may not exist yet.
    """
    environment = _environment()
    named = stated or environment.get("INTERLINGUA_DATA_DIR")
    if named:
        return Path(named).expanduser().absolute()
    if sys.platform == "darwin":
        return Path("~/Library/Application Support/interlingua").expanduser()
    home = environment.get("XDG_DATA_HOME")
    # The XDG base directory specification: a relative path is to be ignored.
    base = Path(home) if home and Path(home).is_absolute() else Path("~/.local/share").expanduser()
    return base / "interlingua"


def server_keys(config: Config, directory: Path) -> tuple[tuple[str, ...], Path | None]:
    """The keys that callers may use, and the file of the key where it was generated.

    Where tokens are accepted no key is generated: there need not be any.

    Raises:
        ConfigError: the kept key can't be read or written.
    """
    keys = (*config.server.keys, *(each.key for each in config.key))
    if keys:
        return keys, None
    if config.issuer:
        return (), None
    file = directory / "key"
    try:
        return (_kept_key(file),), file
    except OSError as error:
        raise ConfigError(
            f"the generated key can't be kept in {file}: {error.strerror}. Name a directory "
            "that you may write to with --data-dir or INTERLINGUA_DATA_DIR."
        ) from error


def secrets_of(config: Config, keys: Iterable[str]) -> frozenset[str]:
    """Every secret that the server holds: ``keys``, and what the config took from the
    environment.
    """
    stated = msgspec.to_builtins(config)
    return frozenset(keys).union(*(_texts_at(stated, place) for place in _SECRETS))


def _texts_at(value: object, place: tuple[str, ...]) -> Iterator[str]:
    """The texts that stand there, in each of a list's tables."""
    if isinstance(value, list | tuple):
        for each in value:
            yield from _texts_at(each, place)
    elif isinstance(value, dict) and place:
        yield from _texts_at(value[place[0]], place[1:])
    elif isinstance(value, str) and not place:
        yield value


def child_environment() -> dict[str, str]:
    """The environment for engine processes: an allow-list, without secrets."""
    environment = _environment()
    return {name: environment[name] for name in _CHILD_VARIABLES if name in environment}


def identity_endpoint() -> tuple[str | None, str | None]:
    """Where this machine's managed identity gets its tokens, and what it must show there.

    Azure: "Managed identities for App Service". Elsewhere neither is set.
    """
    environment = _environment()
    return environment.get("IDENTITY_ENDPOINT"), environment.get("IDENTITY_HEADER")


def environment_with(directory: Path) -> dict[str, str]:
    """The environment for another ``interlingua`` command on the same data directory."""
    return {**_environment(), "INTERLINGUA_DATA_DIR": str(directory)}


def _environment() -> Mapping[str, str]:
    return os.environ  # noqa: TID251 - the one place that reads it


def _find(path: str | None) -> Path:
    if path is not None:
        return Path(path)
    local = Path(FILE_NAME)
    return local if local.is_file() else DEFAULT


def _read(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no such file (working directory: {Path.cwd()})") from error
    except OSError as error:
        raise ConfigError(f"it can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"it isn't UTF-8 text: byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"it isn't TOML: {error}") from error


def _convert(document: Mapping[str, object]) -> Config:
    try:
        return msgspec.convert(document, Config)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).rpartition(" - at `$.")
        if not reason:
            raise ConfigError(str(error)) from error
        raise ConfigError(f"{place.rstrip('`')}: {reason[:1].lower()}{reason[1:]}") from error


def _refuse_references(value: object, place: tuple[str, ...]) -> None:
    """``${NAME}`` is for secrets: anywhere else it would be taken literally."""
    if place in _SECRETS:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_references(inner, (*place, str(name)))
    elif isinstance(value, list):
        for inner in value:
            _refuse_references(inner, place)
    elif isinstance(value, str) and _REFERENCE.search(value):
        raise ConfigError(
            f"{'.'.join(place)}: {value!r} is not replaced here: only secrets (server.keys, a "
            "key's, a deployment's key or aws credentials) are taken from the environment. Write "
            "the value itself."
        )


def _with_secrets(config: Config, *, embedded: bool) -> Config:
    stated = config.server.keys
    if embedded and _environment().get(KEY_VARIABLE):
        stated = (f"${{{KEY_VARIABLE}}}",)
    keys = tuple(_secret(text, f"server.keys[{place}]") for place, text in enumerate(stated))
    return msgspec.structs.replace(
        config,
        server=msgspec.structs.replace(config.server, keys=keys),
        key=tuple(_with_value(each) for each in config.key),
        deployment=tuple(
            _with_aws(_with_entra(_with_key(deployment))) for deployment in config.deployment
        ),
    )


def _with_value(key: KeyConfig) -> KeyConfig:
    setting = f'key "{key.name}": key'
    return msgspec.structs.replace(key, key=_secret(key.key, setting, right='key = "${TEAM_KEY}"'))


def _with_key(deployment: DeploymentConfig) -> DeploymentConfig:
    if deployment.key is None:
        return deployment
    key = _provider_secret(deployment.key, f'deployment "{deployment.name}": key', "key")
    return msgspec.structs.replace(deployment, key=key)


def _with_aws(deployment: DeploymentConfig) -> DeploymentConfig:
    aws = deployment.aws
    if aws is None:
        return deployment
    where = f'deployment "{deployment.name}", aws'
    stated = {name: getattr(aws, name) for name in _AWS_SECRETS}
    found = {
        name: _provider_secret(text, f"{where}: {name}", name)
        for name, text in stated.items()
        if text is not None
    }
    return msgspec.structs.replace(deployment, aws=msgspec.structs.replace(aws, **found))


def _provider_secret(text: str, setting: str, name: str) -> str:
    key = _referenced(text, setting, f'{name} = "${{PROVIDER_{name.upper()}}}"')
    if not _PROVIDER_KEY_PATTERN.fullmatch(key):
        raise ConfigError(
            f"{setting}: the value of {text} can't be a key: 1 to 8192 printable "
            "ASCII characters without spaces."
        )
    return key


def _with_entra(deployment: DeploymentConfig) -> DeploymentConfig:
    entra = deployment.entra
    if entra is None or entra.client_secret is None:
        return deployment
    setting = f'deployment "{deployment.name}", entra: client_secret'
    secret = _referenced(entra.client_secret, setting, 'client_secret = "${CLIENT_SECRET}"')
    return msgspec.structs.replace(
        deployment, entra=msgspec.structs.replace(entra, client_secret=secret)
    )


def _secret(text: str, setting: str, *, right: str = f'keys = ["${{{KEY_VARIABLE}}}"]') -> str:
    value = _referenced(text, setting, right, example="$(openssl rand -hex 32)")
    if not KEY_PATTERN.fullmatch(value):
        raise ConfigError(
            f"{setting}: the value of {text} can't be a key: 1 to 512 printable ASCII "
            "characters without spaces."
        )
    return value


def _referenced(text: str, setting: str, right: str, *, example: str = "…") -> str:
    """The value of the environment variable that stands for a secret."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"{setting}: a secret may not stand in the file. Put it into an environment "
            f"variable and name that: {right}"
        )
    value = _environment().get(match[1])
    if not value:
        state = "isn't set" if value is None else "is empty"
        raise ConfigError(
            f"{setting}: the environment variable {match[1]} {state}. Set it, for example: "
            f"export {match[1]}={example}"
        )
    return value


def _check_exposure(config: Config) -> None:
    host = config.server.host
    guarded = config.server.keys or config.key or config.issuer
    if not guarded and not config.server.is_local:
        raise ConfigError(
            f"server.host: {host!r} can be reached from other machines, so keys must be set: "
            f'add keys = ["${{{KEY_VARIABLE}}}"] to [server] and set {KEY_VARIABLE}; or listen '
            "on 127.0.0.1."
        )


def _kept_key(file: Path) -> str:
    """The key in ``file``; a new one if there is none. Two servers that start at once agree,
    since a link to a whole file is made only where none is.
    """
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = file.with_name(f".key-{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as stream:
                stream.write(f"{secrets.token_urlsafe(32)}\n")
            with contextlib.suppress(FileExistsError):
                file.hardlink_to(draft)
        finally:
            draft.unlink()
    key = file.read_text("ascii", errors="replace").strip()
    if not KEY_PATTERN.fullmatch(key):
        raise ConfigError(f"{file} holds no key. Delete it, and a new one is generated.")
    return key
