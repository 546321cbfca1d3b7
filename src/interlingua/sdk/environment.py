"""What a client reads from the environment, and nothing else of the SDK does."""

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from interlingua.errors import ConfigError

ENDPOINT = "INTERLINGUA_ENDPOINT"
API_KEY = "INTERLINGUA_API_KEY"
CONTENT_RECORDING = "AZURE_TRACING_GEN_AI_CONTENT_RECORDING_ENABLED"
DEFAULT_ENDPOINT = "http://127.0.0.1:8080"


class Access(msgspec.Struct, frozen=True):
    """Where to call, and with which key. Without one the server decides."""

    endpoint: str
    key: str | None


def access(endpoint: str | None, key: str | None, *, kept_key: Path | None) -> Access:
    """What the caller said, else the environment, else the server of this machine.

    ``kept_key`` is where a server on this machine keeps the key that it generated; it is
    only ever read for a loopback endpoint, so that it can't leave the machine.

    Raises:
        ConfigError: the kept key can't be read.
    """
    environment = _environment()
    endpoint = endpoint or environment.get(ENDPOINT) or DEFAULT_ENDPOINT
    key = key or environment.get(API_KEY) or None
    if key is None and kept_key is not None and is_loopback(endpoint):
        key = read_kept_key(kept_key)
    return Access(endpoint, key)


def read_kept_key(path: Path) -> str | None:
    """The key in this file; ``None`` when there is none.

    Raises:
        ConfigError: it exists and can't be read.
    """
    try:
        return path.read_text("ascii").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the generated key in {path} can't be read ({error}): "
            f"give the key with --key or in {API_KEY}"
        ) from error


def is_loopback(endpoint: str) -> bool:
    """Whether the endpoint is on this machine, by its name or address alone."""
    try:
        host = urlsplit(endpoint).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def with_key(key: str) -> dict[str, str]:
    """The environment for a server of our own that is to take this key."""
    return {**_environment(), API_KEY: key}


def variable(name: str) -> str | None:
    """What a variable says that a file of the user's names; ``None`` when it isn't set."""
    return _environment().get(name)


def records_content() -> bool:
    """Whether traces hold what was said (Azure: AIInferenceInstrumentor.instrument)."""
    return _environment().get(CONTENT_RECORDING, "").lower() == "true"


def _environment() -> Mapping[str, str]:
    return os.environ  # noqa: TID251 - the SDK's one place that reads it
