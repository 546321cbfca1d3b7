"""The options by which a command finds the endpoint that it calls."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from interlingua.errors import ConfigError

if TYPE_CHECKING:
    from interlingua.sdk.environment import Access
    from interlingua.sdk.one_client import Client
    from interlingua.sdk.settings import ClientSettings

CONNECT_TIMEOUT_S = 10.0

_timeout = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="The longest silence to bear.",
)
_ca = click.option(
    "--ca",
    metavar="FILE",
    help="Whom alone to trust (PEM). Else SSL_CERT_FILE, the system, this machine's server.",
)


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says of the endpoint; ``None``: it says nothing."""

    endpoint: str | None = None
    key: str | None = None
    model: str | None = None
    api_version: str | None = None
    timeout_s: float = 600.0
    ca: str | None = None

    def access(self) -> "Access":
        from interlingua.sdk.environment import access

        from .keys import kept_key

        return access(self.endpoint, self.key, kept_key=kept_key())

    @contextmanager
    def open(self) -> Iterator["Client"]:
        """A client of the endpoint, until the block ends.

        Raises:
            ConfigError: the endpoint is no URL, or the key can't be sent.
            ApiError: a call in the block failed.
        """
        from interlingua.sdk.one_client import Client
        from interlingua.sdk.trust import context_for

        from .keys import kept_key

        access = self.access()
        named = Path(self.ca).expanduser() if self.ca else None
        kept_ca = kept_key().with_name("tls") / "ca.pem"
        options: ClientSettings = {
            "connection_timeout": min(CONNECT_TIMEOUT_S, self.timeout_s),
            "read_timeout": self.timeout_s,
            # Somebody waits: a failure is told at once.
            "retry_total": 0,
            "connection_verify": context_for(access.endpoint, named, kept_ca=kept_ca) or True,
        }
        if self.api_version:
            options["api_version"] = self.api_version
        try:
            client = Client(access.endpoint, access.key, **options)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        with client, self.told():
            yield client

    @contextmanager
    def told(self) -> Iterator[None]:
        """What calls in the block fail with, as errors of this project.

        Raises:
            ApiError: a call failed.
        """
        from interlingua.sdk.failures import AzureError

        from .failures import api_error

        try:
            yield
        except AzureError as error:
            raise api_error(error, self.access().endpoint) from error


def connects(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of an endpoint, as one argument ``connection``."""

    @click.option(
        "--endpoint",
        metavar="URL",
        help="Where to call. Else INTERLINGUA_ENDPOINT, else the server on this machine.",
    )
    @click.option(
        "--key",
        metavar="KEY",
        help="Its key. Else INTERLINGUA_API_KEY, else the one generated on this machine.",
    )
    @click.option(
        "--model",
        "-m",
        metavar="NAME",
        help="The deployment to ask; else the endpoint's first that can.",
    )
    @click.option("--api-version", metavar="VERSION", help="The api-version to send.")
    @_timeout
    @_ca
    @wraps(command)
    def connected(
        *arguments: object,
        endpoint: str | None,
        key: str | None,
        model: str | None,
        api_version: str | None,
        timeout_s: float,
        ca: str | None,
        **options: object,
    ) -> None:
        connection = Connection(
            endpoint=endpoint,
            key=key,
            model=model,
            api_version=api_version,
            timeout_s=timeout_s,
            ca=ca,
        )
        command(*arguments, connection=connection, **options)

    return connected
