"""Whose certificates a client trusts."""

import ssl
from pathlib import Path

from interlingua.errors import ConfigError

from .environment import is_loopback


def context_for(endpoint: str, ca: Path | None, *, kept_ca: Path | None) -> ssl.SSLContext | None:
    """Whom to trust at an endpoint; ``None``: whom the system trusts.

    ``ca``, where given, is a file of the only authorities to trust. ``kept_ca`` is where a
    server on this machine keeps the one that it made; it is trusted for a loopback endpoint,
    beside the system's (or those of ``SSL_CERT_FILE``, which OpenSSL reads).

    Raises:
        ConfigError: a file of authorities can't be read.
    """
    if not endpoint.lower().startswith("https:"):
        return None
    try:
        if ca is not None:
            return ssl.create_default_context(cafile=ca)
        if not is_loopback(endpoint):
            return None
        context = ssl.create_default_context()
        if kept_ca is not None and kept_ca.is_file():
            context.load_verify_locations(kept_ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"no certificates to trust can be read from {ca or kept_ca}: {error}"
        ) from error
    return context


def distrusts(error: BaseException | None) -> bool:
    """Whether a failure to connect comes from a certificate that isn't trusted."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
