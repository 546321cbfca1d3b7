"""A config as it is to be served, and how it is read again."""

from collections.abc import Callable
from pathlib import Path
from socket import socket

import msgspec

from interlingua.config.schema import Config

from .build import Planned


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A config that can be served: its models are on this machine."""

    config: Config
    #: The secrets that callers present.
    keys: tuple[str, ...]
    planned: tuple[Planned, ...]


#: Reads the config once more. Raises ConfigError or ModelFileError where it can't be served.
Load = Callable[[], Loaded]


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What a server begins with, by one process or several."""

    listener: socket
    loaded: Loaded
    load: Load
    data_dir: Path
    url: str
    #: Called when it answers.
    tell: Callable[[], None]


#: What only a start decides.
_AT_START = (
    "host",
    "port",
    "tls",
    "tls_cert",
    "tls_key",
    "data_dir",
    "usage",
    "workers",
    "max_connections",
    "max_connections_by_address",
)


def said_of(before: Config, after: Config) -> str:
    """What a reload did, in a line."""
    waiting = [
        name for name in _AT_START if getattr(before.server, name) != getattr(after.server, name)
    ]
    names = ", ".join(each.name for each in after.deployment)
    said = f"The config was read again. Deployments: {names}."
    if waiting:
        said += f" Only the next start changes: {', '.join(waiting)}."
    return said
