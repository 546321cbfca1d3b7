"""The options by which a command finds the endpoint that it calls."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

if TYPE_CHECKING:
    from interlingua.sdk.client import Client
    from interlingua.sdk.environment import Access


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

    def open(self) -> "Client":
        """A client of the endpoint; the caller closes it."""
        from interlingua.sdk.client import Client
        from interlingua.sdk.trust import context_for

        from .keys import kept_key

        access = self.access()
        named = Path(self.ca).expanduser() if self.ca else None
        kept_ca = kept_key().with_name("tls") / "ca.pem"
        return Client(
            access.endpoint,
            access.key,
            model=self.model,
            api_version=self.api_version,
            timeout_s=self.timeout_s,
            tls=context_for(access.endpoint, named, kept_ca=kept_ca),
        )


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
