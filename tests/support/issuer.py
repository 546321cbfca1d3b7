"""An OpenID Connect issuer on this machine, with a managed-identity endpoint beside it."""

import base64
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

TENANT = "0f0e0d0c-1111-2222-3333-444455556666"
AUDIENCE = "https://ml.azure.com"
IDENTITY_HEADER = "the-platform-knows"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Reply = tuple[int, dict[str, str], bytes]


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def ec_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve or ec.SECP256R1())


def jwk(key: PrivateKey, kid: str, **more: object) -> dict[str, object]:
    """The public half, as a key set lists it."""
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else EC
    return {**json.loads(kind.to_jwk(key.public_key())), "kid": kid, "use": "sig", **more}


EC = jwt.algorithms.ECAlgorithm


class Issuer:
    """Answers at ``url`` from its own thread; a context manager.

    ``keys`` are what it lists, ``asked`` the paths that were asked for, in order, and
    ``replies`` may replace what a path answers.
    """

    def __init__(self, key: PrivateKey) -> None:
        self.key = key
        self.keys: list[dict[str, object]] = [jwk(key, "k1")]
        self.asked: list[str] = []
        self.replies: dict[str, Reply] = {}
        self.identity: Callable[[str], str] = lambda resource: self.entra(aud=resource)
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                status, headers, body = issuer.answer(self.path, dict(self.headers))
                self.send_response(status)
                for name, value in {"content-length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, headers: dict[str, str]) -> Reply:
        parts = urlsplit(path)
        if parts.path in self.replies:
            return self.replies[parts.path]
        if parts.path == "/keys":
            return 200, {}, json.dumps({"keys": self.keys}).encode()
        base, found, _ = parts.path.partition("/.well-known/openid-configuration")
        if found:
            names = {"issuer": self.url + base, "jwks_uri": f"{self.url}/keys"}
            return 200, {}, json.dumps(names).encode()
        if parts.path == "/msi/token":
            lower = {name.lower(): value for name, value in headers.items()}
            if lower.get("x-identity-header") != IDENTITY_HEADER:
                return 401, {}, b"{}"
            resource = parse_qs(parts.query)["resource"][0]
            reply = {
                "access_token": self.identity(resource),
                "expires_on": str(int(time.time()) + 3600),
                "resource": resource,
                "token_type": "Bearer",
            }
            return 200, {"content-type": "application/json"}, json.dumps(reply).encode()
        return 404, {}, b""

    def token(
        self,
        *,
        key: PrivateKey | None = None,
        alg: str = "RS256",
        header: dict[str, object] | None = None,
        **claims: object,
    ) -> str:
        """A token that is valid but for what is said; a claim of ``None`` is left out."""
        now = int(time.time())
        stated = {
            "iss": self.url,
            "aud": AUDIENCE,
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "sub": "someone",
            **claims,
        }
        return jwt.encode(
            {name: value for name, value in stated.items() if value is not None},
            key or self.key,
            algorithm=alg,
            headers={"kid": "k1", **(header or {})},
        )

    def entra(self, **claims: object) -> str:
        """As Microsoft Entra ID makes them for managed identities (version 1.0)."""
        return self.token(iss=f"https://sts.windows.net/{TENANT}/", tid=TENANT, **claims)


def forged(header: object, claims: object, signature: bytes = b"signature") -> str:
    """A token of these parts, whatever they are."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
