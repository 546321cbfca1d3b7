"""The proof of an application that has a certificate instead of a secret.

Source: Microsoft identity platform, "Application authentication certificate credentials".
"""

import base64
import hashlib
import uuid
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

_VALID_S = 600


class Certificate:
    """Signs what proves that the application is who it says. Safe to share."""

    def __init__(self, file: Path) -> None:
        """``file`` holds the certificate and its private key (PEM, without a password).

        Raises:
            OSError, ValueError: it can't be read, or holds something else.
        """
        pem = file.read_bytes()
        key = load_pem_private_key(pem, password=None)
        if not isinstance(key, RSAPrivateKey):
            raise ValueError("its private key is not RSA")  # noqa: TRY004 - a file, not an argument
        self._key = key
        der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        digest = hashlib.sha256(der).digest()
        self._thumbprint = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def assertion(self, client_id: str, audience: str, now: int) -> str:
        """A token about itself that the issuer at ``audience`` takes."""
        claims = {
            "aud": audience,
            "iss": client_id,
            "sub": client_id,
            "jti": str(uuid.uuid4()),
            "nbf": now,
            "exp": now + _VALID_S,
        }
        headers = {"x5t#S256": self._thumbprint}
        return jwt.encode(claims, self._key, algorithm="PS256", headers=headers)
