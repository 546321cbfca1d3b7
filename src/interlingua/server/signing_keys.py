"""The keys by which an issuer signs: fetched, kept, and fetched again when they change.

Rules of this file:
- Where they are fetched from is the operator's word and the issuer's own; nothing in a token
  leads anywhere (`jku`, `x5u` and `jwk` are never read).
- A key that isn't known is asked for at most once a minute, whatever callers send; keys are
  fetched again once an hour, so that what an issuer withdraws is forgotten.
- A fetch that fails changes nothing: the keys that are known stay.
- Only public keys of the allowed kinds are kept, long enough to be safe.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, urlsplit

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from interlingua.backends.transport import HttpTransport
from interlingua.config.issuers import Issuer, check_url
from interlingua.errors import ApiError, ConfigError, Unavailable
from interlingua.http import HttpCall

_log = logging.getLogger("interlingua.server")

_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_EC = frozenset({"ES256"})
#: No shared secrets, and never `none`.
ALGORITHMS = _RSA | _EC

#: Keys are fetched again after this long.
KEPT_S = 3600.0
#: The shortest time between two fetches; before the first that succeeds it is shorter.
PAUSE_S = 60.0
_FIRST_PAUSE_S = 5.0
_TIMEOUT_S = 5.0
_MOST_BYTES = 512 * 1024
_MOST_KEYS = 100
_MIN_RSA_BITS = 2048


class SigningKey(msgspec.Struct, frozen=True):
    """A key, and the algorithms that it may be used with."""

    public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    algorithms: frozenset[str]


class _Configuration(msgspec.Struct, frozen=True):
    """OpenID Connect Discovery 1.0, as far as it matters here."""

    issuer: str
    jwks_uri: str


class _KeyList(msgspec.Struct, frozen=True):
    """RFC 7517, section 5."""

    keys: list[dict[str, object]]


class _FetchError(Exception):
    """Why there are no keys, as the end of a sentence for the log."""


class SigningKeys:
    """The keys of one issuer."""

    def __init__(self, issuer: Issuer, jwks_url: str | None, clock: Callable[[], float]) -> None:
        """Nothing is fetched yet. ``clock`` counts seconds."""
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._clock = clock
        self._keys: dict[str, SigningKey] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._lock = asyncio.Lock()

    async def find(self, kid: str) -> SigningKey | None:
        """The key of this name; ``None``: the issuer has none.

        Raises:
            Unavailable: the issuer's keys were never to be had so far.
        """
        # Only who needs what is being fetched waits for it.
        waits = kid not in self._keys if self._lock.locked() else self._due(kid)
        if waits:
            async with self._lock:
                if self._due(kid):
                    await self._refresh()
        if self._fetched_at is None:
            raise Unavailable(
                "The keys of the token's issuer can't be fetched at the moment.", retry_after_s=5
            )
        return self._keys.get(kid)

    def _due(self, kid: str) -> bool:
        now = self._clock()
        pause = _FIRST_PAUSE_S if self._fetched_at is None else PAUSE_S
        if self._tried_at is not None and now - self._tried_at < pause:
            return False
        stale = self._fetched_at is None or now - self._fetched_at >= KEPT_S
        return stale or kid not in self._keys

    async def _refresh(self) -> None:
        self._tried_at = self._clock()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                keys = await self._fetch()
        except (_FetchError, ApiError, ConfigError, TimeoutError) as error:
            reason = str(error) or f"it took longer than {_TIMEOUT_S:g} s"
            _log.warning("the signing keys of %s: %s", self._issuer.names[0], reason)
            return
        self._keys, self._fetched_at = keys, self._clock()

    async def _fetch(self) -> dict[str, SigningKey]:
        url = self._jwks_url or await self._discover()
        keys = read_keys(await _get(url))
        if not keys:
            raise _FetchError(f"{url} lists none that can be used")
        return keys

    async def _discover(self) -> str:
        url = self._issuer.configuration_url
        try:
            found = msgspec.json.decode(await _get(url), type=_Configuration)
        except msgspec.DecodeError as error:
            raise _FetchError(f"{url} is no OpenID configuration") from error
        if found.issuer != self._issuer.names[0]:
            raise _FetchError(f"{url} is the configuration of {found.issuer[:200]!r}")
        if url.startswith("https:") and not found.jwks_uri.startswith("https:"):
            raise _FetchError(f"{url} names keys that don't come over https")
        return check_url(found.jwks_uri, "jwks_uri")


async def _get(url: str) -> bytes:
    """What is there; nothing redirects.

    Raises:
        ApiError: nothing answers, or not properly.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    transport = HttpTransport(f"{parts.scheme}://{parts.netloc}", fresh_connections=True)
    try:
        asked = {"accept": "application/json"}
        call = HttpCall(method="GET", path=parts.path or "/", query=query, headers=asked)
        async with transport.send(call) as reply:
            if reply.status != 200:
                raise _FetchError(f"{url} answers with status {reply.status}")
            body = b""
            async for chunk in reply.chunks:
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise _FetchError(f"{url} is longer than {_MOST_BYTES} bytes")
            return body
    finally:
        await transport.close()


def read_keys(body: bytes) -> dict[str, SigningKey]:
    """The usable keys of a key set, by name; what isn't usable is left out.

    Raises:
        _FetchError: it is no key set.
    """
    try:
        listed = msgspec.json.decode(body, type=_KeyList).keys
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _FetchError("what is there is no key set") from error
    keys: dict[str, SigningKey] = {}
    for entry in listed[:_MOST_KEYS]:
        kid = entry.get("kid")
        key = _read_key(entry)
        if isinstance(kid, str) and key is not None:
            keys.setdefault(kid, key)
    return keys


def _read_key(entry: Mapping[str, object]) -> SigningKey | None:
    stated = entry.get("alg")
    if entry.get("use", "sig") != "sig":
        return None
    try:
        match entry.get("kty"):
            case "RSA":
                public: object = jwt.algorithms.RSAAlgorithm.from_jwk(dict(entry))
            case "EC":
                public = jwt.algorithms.ECAlgorithm.from_jwk(dict(entry))
            case _:
                return None
    except (jwt.InvalidKeyError, ValueError, TypeError):
        return None
    key = _usable(public)
    if key is None or not isinstance(stated, str):
        return key
    return SigningKey(key.public, key.algorithms & {stated})


def _usable(public: object) -> SigningKey | None:
    """The key with what it may be used for, where that is anything."""
    match public:
        case rsa.RSAPublicKey() if public.key_size >= _MIN_RSA_BITS:
            return SigningKey(public, _RSA)
        case ec.EllipticCurvePublicKey() if isinstance(public.curve, ec.SECP256R1):
            return SigningKey(public, _EC)
        case _:
            return None
