"""``[deployment.entra]``: whose tokens a provider is shown."""

import re

from interlingua.errors import ConfigError

from .issuers import check_url
from .schema import DeploymentConfig, EntraConfig

#: A directory's id, or one of its domains.
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,253}")


def check_entra(deployment: DeploymentConfig, where: str) -> None:
    """Refuse settings that leave open who asks for tokens.

    Raises:
        ConfigError: names the setting and what would be right.
    """
    entra = deployment.entra
    if entra is None:
        return
    if deployment.key is not None:
        raise ConfigError(f"{where}: key: entra is its credential already; leave one of them out.")
    try:
        check_url(entra.authority, "authority")
        if entra.managed_identity:
            _check_managed(entra)
        else:
            _check_application(entra)
        _check_scope(entra.scope)
    except ConfigError as error:
        raise ConfigError(f"{where}, entra: {error}") from error


def _check_scope(scope: str) -> None:
    if not scope.endswith("/.default"):
        raise ConfigError(f"scope: {scope!r} doesn't end with /.default")


def _check_managed(entra: EntraConfig) -> None:
    for name in ("tenant", "client_secret", "client_certificate"):
        if getattr(entra, name) is not None:
            raise ConfigError(f"{name}: a managed identity has none; leave it out.")


def _check_application(entra: EntraConfig) -> None:
    for name in ("tenant", "client_id"):
        if not getattr(entra, name):
            raise ConfigError(
                f"{name}: it is missing. An application has tenant, client_id and client_secret "
                "or client_certificate; this machine's own identity is managed_identity = true"
            )
    if not _TENANT.fullmatch(entra.tenant or ""):
        raise ConfigError(f"tenant: {entra.tenant!r} is no directory's id or domain.")
    if (entra.client_secret is None) == (entra.client_certificate is None):
        raise ConfigError("give either client_secret or client_certificate.")
