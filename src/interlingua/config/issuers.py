"""``[[issuer]]``: whose tokens are accepted, and what their roles permit.

Rules of this file:
- An issuer is one directory or one URL, never "any": nothing accepts every tenant's tokens.
- Keys come over https, or from this machine.
- Nothing is permitted by leaving something out.
"""

import difflib
import ipaddress
import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import get_args
from urllib.parse import urlsplit

import msgspec

from interlingua.errors import ConfigError
from interlingua.types.models import Operation

from .schema import Config, IssuerConfig

#: Entra ID: the tenant's id stands in every token's ``iss``; a domain's name never does.
_TENANT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
#: Entra ID: what issues tokens of version 1.0 (managed identities get these), by authority.
_V1_ISSUERS = {"login.partner.microsoftonline.cn": "https://sts.chinacloudapi.cn"}
_V1_ISSUER = "https://sts.windows.net"
_OPERATIONS: tuple[Operation, ...] = get_args(Operation)


class Grant(msgspec.Struct, frozen=True):
    """What may be called; ``None`` stands for every operation, every deployment."""

    operation: Operation | None = None
    #: In lower case.
    deployment: str | None = None


class Issuer(msgspec.Struct, frozen=True, kw_only=True):
    """An issuer as its tokens name it, and where it says what its keys are."""

    #: Each ``iss`` that its tokens may have; the first is its own in its configuration.
    names: tuple[str, ...]
    configuration_url: str


def read_issuer(config: IssuerConfig) -> Issuer:
    """Whose tokens an entry accepts.

    Raises:
        ConfigError: it names none, two, or every directory.
    """
    if (config.tenant is None) == (config.issuer is None):
        raise ConfigError(
            "give either tenant (Microsoft Entra ID) or issuer (any other OpenID Connect issuer)"
        )
    if config.issuer is not None:
        base = check_url(config.issuer, "issuer").rstrip("/")
        names: tuple[str, ...] = (config.issuer,)
    else:
        tenant = (config.tenant or "").lower()
        if not _TENANT.fullmatch(tenant):
            raise ConfigError(
                f"tenant: {config.tenant!r} is not the id of a directory, such as "
                "00000000-0000-0000-0000-000000000000. Names and 'common' can't be accepted: "
                "tokens carry the id"
            )
        authority = check_url(config.authority, "authority").rstrip("/")
        base = f"{authority}/{tenant}/v2.0"
        older = _V1_ISSUERS.get(urlsplit(authority).hostname or "", _V1_ISSUER)
        names = (base, f"{older}/{tenant}/")
    return Issuer(names=names, configuration_url=f"{base}/.well-known/openid-configuration")


def read_grant(text: str) -> Grant:
    """What an entry of ``roles`` permits.

    Raises:
        ConfigError: it names no operation.
    """
    operation, at, deployment = text.partition("@")
    if operation != "*" and operation not in _OPERATIONS:
        near = difflib.get_close_matches(operation, _OPERATIONS, n=1)
        raise ConfigError(
            f"roles: {text!r} begins with no operation"
            f"{f'; did you mean {near[0]!r}?' if near else '.'} Write an operation "
            f"({', '.join(_OPERATIONS)}), operation@deployment, or * for either"
        )
    if at and not deployment:
        raise ConfigError(f"roles: {text!r} names no deployment after the @")
    return Grant(
        next((known for known in _OPERATIONS if known == operation), None),
        deployment.lower() if deployment not in {"", "*"} else None,
    )


def check_url(url: str, setting: str) -> str:
    """The URL of an issuer, or of its keys, where these may be fetched from it.

    Raises:
        ConfigError: it is no URL, or could be read and changed on its way.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise _unsafe(url, setting) from error
    # Azure AD B2C names a policy in the query of its keys' address.
    queried = bool(parts.query) and not setting.startswith("jwks")
    plain = bool(host) and not (parts.username or parts.fragment or queried)
    if plain and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
        return url
    raise _unsafe(url, setting)


def _unsafe(url: str, setting: str) -> ConfigError:
    return ConfigError(
        f"{setting}: {url[:200]!r} is not an https URL without credentials and query (http only "
        "to this machine)"
    )


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, by its name or address alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_issuers(config: Config) -> None:
    """Refuse issuers whose tokens would say nothing, or too much.

    Raises:
        ConfigError: names the entry, the setting and what would be right.
    """
    seen: set[str] = set()
    known = {deployment.name.lower() for deployment in config.deployment}
    for number, entry in enumerate(config.issuer, 1):
        try:
            _check(entry, known)
            seen |= _unseen(read_issuer(entry).names, seen)
        except ConfigError as error:
            raise ConfigError(f"issuer number {number}: {error}.") from error


def _unseen(names: Iterable[str], seen: AbstractSet[str]) -> set[str]:
    if seen & {*names}:
        raise ConfigError("its tokens are another entry's already; put the two together")
    return {*names}


def _check(entry: IssuerConfig, deployments: Iterable[str]) -> None:
    if entry.jwks_url is not None:
        check_url(entry.jwks_url, "jwks_url")
    if not all(entry.audiences):
        raise ConfigError("audiences: one is empty")
    if entry.allow_all == bool(entry.roles):
        raise ConfigError(
            'give either roles, as roles = { "Chat.User" = ["info", "chat_completions"] }, or '
            "allow_all = true, by which every valid token of the issuer may call everything"
        )
    for role, grants in entry.roles.items():
        if not grants:
            raise ConfigError(f"roles: {role!r} permits nothing; leave it out")
        for text in grants:
            deployment = read_grant(text).deployment
            if deployment is not None and deployment not in deployments:
                raise ConfigError(
                    f"roles: {text!r}: there is no deployment of this name. There are: "
                    f"{', '.join(deployments)}"
                )
