"""A certificate authority of this machine alone, and the one certificate that it signs.

Rules of this file:
- The authority's key is never written: once it has signed, it is gone. Whoever trusts the
  authority trusts the one server certificate, and nothing can be signed in its name later.
- So both are made together, and anew together: near the end, or when a name is missing.
"""

import contextlib
import ipaddress
import os
import re
import secrets
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: The longest that clients accept of a server's certificate.
LIFETIME = timedelta(days=397)
#: A certificate that ends sooner is replaced when the server starts.
RENEWED_BEFORE = timedelta(days=30)

_DNS_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


def local_names(host: str) -> frozenset[str]:
    """How callers may name a server that listens at ``host``."""
    listened = "" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - left out
    own = socket.gethostname().lower()
    named = {name for name in (listened.lower(), own) if _is_address(name) or _is_dns_name(name)}
    return frozenset({"localhost", "127.0.0.1", "::1", *named})


def kept(
    directory: Path, names: frozenset[str], *, now: datetime | None = None
) -> tuple[Path, Path, Path]:
    """The files of the certificate, its key and its authority; made where they can't be used.

    Raises:
        OSError: they can't be read or written.
    """
    now = now or datetime.now(UTC)
    cert, key, ca = (directory / name for name in ("server.pem", "server-key.pem", "ca.pem"))
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(directory):
        if not _usable(cert, key, ca, names=names, now=now):
            _make(cert, key, ca, names=names, now=now)
    return cert, key, ca


def _usable(cert: Path, key: Path, ca: Path, *, names: frozenset[str], now: datetime) -> bool:
    """Whether the three belong together, last long enough and hold the names."""
    try:
        authority = x509.load_pem_x509_certificate(ca.read_bytes())
        own = x509.load_pem_x509_certificate(cert.read_bytes())
        private = load_pem_private_key(key.read_bytes(), None)
        own.verify_directly_issued_by(authority)
        held = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    known = {str(name.value) for name in held}
    lasts = own.not_valid_before_utc <= now < own.not_valid_after_utc - RENEWED_BEFORE
    return lasts and names <= known and private.public_key() == own.public_key()


def _make(cert: Path, key: Path, ca: Path, *, names: frozenset[str], now: datetime) -> None:
    made = f"{socket.gethostname()}, {now:%Y-%m-%d}"
    ca_key, own_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = _name(f"Interlingua on {made}"[:64])
    ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    authority = (
        _builder(ca_name, ca_key, now)
        .issuer_name(ca_name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(ca_id, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    own_id = x509.SubjectKeyIdentifier.from_public_key(own_key.public_key())
    signer_id = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id)
    server_auth = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    own = (
        _builder(_name(f"Interlingua server, {made}"[:64]), own_key, now)
        .issuer_name(ca_name)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(server_auth, critical=False)
        .add_extension(own_id, critical=False)
        .add_extension(signer_id, critical=False)
        .add_extension(x509.SubjectAlternativeName(map(_general, sorted(names))), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    private = own_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(key, private, mode=0o600)
    _write(ca, authority.public_bytes(Encoding.PEM), mode=0o644)
    _write(cert, own.public_bytes(Encoding.PEM), mode=0o644)


def _builder(
    name: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A clock that is a little behind still takes it.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now - timedelta(hours=1) + LIFETIME)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(name: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(name)) if _is_address(name) else x509.DNSName(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_dns_name(name: str) -> bool:
    return bool(_DNS_NAME.fullmatch(name))


def _write(path: Path, data: bytes, *, mode: int) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Servers that start at once make one certificate."""
    import fcntl  # noqa: PLC0415 - servers run on Linux and macOS only

    with (directory / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
