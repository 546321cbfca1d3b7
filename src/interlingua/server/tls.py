"""TLS: the certificate that the server shows, given or made on this machine."""

import ssl
from pathlib import Path

import msgspec

from interlingua.config.schema import ServerConfig
from interlingua.errors import ConfigError


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """Files of a certificate with its chain, and of its key."""

    cert: Path
    key: Path
    #: What callers must trust, where the world doesn't know who signed it.
    ca: Path | None = None


def certificate_of(settings: ServerConfig, data_dir: Path) -> Certificate | None:
    """The certificate that the settings name; ``dev`` is made where there is none yet.

    Raises:
        ConfigError: it can't be kept.
        ModuleNotFoundError: what makes it isn't installed.
    """
    if settings.tls_cert is not None and settings.tls_key is not None:
        cert, key = Path(settings.tls_cert).expanduser(), Path(settings.tls_key).expanduser()
        return Certificate(cert=cert, key=key)
    if settings.tls is None:
        return None
    from .dev_certificate import kept, local_names  # noqa: PLC0415 - an extra's library

    directory = data_dir / "tls"
    try:
        cert, key, ca = kept(directory, local_names(settings.host))
    except OSError as error:
        raise ConfigError(
            f"server.tls: the certificate can't be kept in {directory}: {error.strerror}. Name a "
            "directory that you may write to with --data-dir or INTERLINGUA_DATA_DIR."
        ) from error
    return Certificate(cert=cert, key=key, ca=ca)


def context_of(certificate: Certificate) -> ssl.SSLContext:
    """What a server needs to speak TLS 1.2 or newer with this certificate.

    Raises:
        ConfigError: names the file that can't be used, and what would be right.
    """
    for setting, file in (("tls_cert", certificate.cert), ("tls_key", certificate.key)):
        try:
            with file.open("rb"):
                pass
        except OSError as error:
            raise ConfigError(
                f"server.{setting}: {file} can't be read: {error.strerror}."
            ) from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _check_certificate(certificate.cert)
    try:
        context.load_cert_chain(certificate.cert, certificate.key, lambda: _encrypted(certificate))
    except ssl.SSLError as error:
        raise ConfigError(_unusable(certificate, error)) from error
    return context


def _check_certificate(file: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError as error:
        raise ConfigError(
            f"server.tls_cert: {file} holds no certificate in PEM, as -----BEGIN CERTIFICATE----- "
            "begins one."
        ) from error


def _unusable(certificate: Certificate, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return (
            f"server.tls_key: {certificate.key} is not the key of {certificate.cert}, whose first "
            "certificate must be the server's own."
        )
    return (
        f"server.tls_key: {certificate.key} holds no private key that can be used, in PEM, as "
        "-----BEGIN PRIVATE KEY----- begins one."
    )


def _encrypted(certificate: Certificate) -> str:
    raise ConfigError(
        f"server.tls_key: {certificate.key} is encrypted, and nobody is there to decrypt it. "
        f"Decrypt it into a file that only the server's user may read: openssl pkey -in "
        f"{certificate.key} -out decrypted-key.pem"
    )
