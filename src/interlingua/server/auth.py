"""Who may call, and what: holders of a key everything, holders of a token what its roles say.

Rules of this file:
- Any valid key in ``api-key``, ``Authorization: Bearer K`` or ``Authorization: K`` suffices,
  since clients send several of them (Azure: both, with the same key).
- What can't be a key is not even hashed, and an empty key is none.
- A key is looked up by a digest that is keyed with this process's own secret, which tells
  nothing of other keys however long it takes, and compared in constant time; every candidate
  is. How many keys there are costs nothing.
- A bearer that is no key is a token or nothing; a token that isn't valid is 401, one that is
  and doesn't permit the call 403.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from typing import Protocol

import msgspec

from interlingua.config.issuers import Grant
from interlingua.config.schema import KeyConfig
from interlingua.errors import Forbidden, Unauthorized
from interlingua.headers import API_KEY, AUTHORIZATION
from interlingua.types.models import Operation

from .asgi import RawHeaders

_API_KEY = API_KEY.name.encode("ascii")
_AUTHORIZATION = AUTHORIZATION.name.encode("ascii")
#: RFC 7693: BLAKE2 with a key, a quarter of what OpenSSL's SHA-256 takes for so few bytes.
_OURS = secrets.token_bytes(32)
_KEY = re.compile(rb"[\x21-\x7e]{1,512}")
_BEARER = re.compile(rb"\Abearer +", re.IGNORECASE)
#: More credentials than this in one request are not looked at.
_MOST_CANDIDATES = 8
#: RFC 7515: header, payload, signature.
_DOTS_IN_A_TOKEN = 2


class Caller(msgspec.Struct, frozen=True):
    """Who calls, as far as it matters: what is permitted, and whose usage it is."""

    grants: frozenset[Grant]
    #: What usage is counted under; no secret.
    name: str = ""

    @property
    def unlimited(self) -> bool:
        """Whether everything is permitted."""
        return Grant() in self.grants

    def deployments_for(self, operation: Operation) -> frozenset[str] | None:
        """The deployments that the caller may ask for this, in lower case; ``None``: any.

        Raises:
            Forbidden: there is none.
        """
        if self.grants is _EVERYTHING:
            return None
        fit = {g.deployment for g in self.grants if g.operation in {None, operation}}
        if not fit:
            raise Forbidden(f"No role of the token permits the operation {operation!r}.")
        return None if None in fit else frozenset(name for name in fit if name is not None)

    def sees(self, deployment: str) -> bool:
        """Whether the caller may ask this deployment for anything at all."""
        return any(g.deployment in {None, deployment.lower()} for g in self.grants)


_EVERYTHING = frozenset({Grant()})
#: Who may do what a holder of a key may.
UNLIMITED = Caller(_EVERYTHING)
#: What a key that is unknown is compared with.
_NOBODY = (bytes(32), Caller(frozenset()))


class Tokens(Protocol):
    """Judges bearer tokens."""

    async def check(self, token: bytes) -> Caller:
        """Whose token it is.

        Raises:
            Unauthorized: it isn't valid.
            Unavailable: nobody can say yet.
        """
        ...


class Authenticator:
    """Lets callers in: by key, else by token where tokens are accepted."""

    def __init__(self, keys: "Keys", tokens: Tokens | None = None) -> None:
        self._keys = keys
        self._tokens = tokens

    def holder(self, headers: RawHeaders) -> Caller | None:
        """Who holds a valid key that the call has, if it has one."""
        return self._keys.holder(headers)

    async def check(self, headers: RawHeaders) -> Caller:
        """Who calls; raises as :meth:`bearer` does."""
        return self.holder(headers) or await self.bearer(headers)

    async def bearer(self, headers: RawHeaders) -> Caller:
        """Who calls without a valid key.

        Raises:
            Unauthorized: there is no valid token either.
            Unavailable: whether the token is valid can't be said yet.
        """
        token = _token(headers)
        if self._tokens is not None and token is not None:
            return await self._tokens.check(token)
        reason = "the key is not valid" if _candidates(headers) else "there is no key"
        raise Unauthorized(
            f"Auth token validation failed: {reason}. Send one of the server's keys as "
            "'api-key: KEY' or 'Authorization: Bearer KEY'."
        )


class Keys:
    """The keys that callers may use. Holds digests only."""

    def __init__(self, keys: Iterable[str], named: Iterable[KeyConfig] = ()) -> None:
        """``named``: those of ``keys`` that have a name, and others."""
        names = {key: _named(key) for key in keys} | {each.key: each.name for each in named}
        digests = {_looked_up(key.encode("ascii")): name for key, name in names.items()}
        self._callers = {
            digest: (digest, Caller(_EVERYTHING, name)) for digest, name in digests.items()
        }

    def holder(self, headers: RawHeaders) -> Caller | None:
        """Who holds the key; ``None``: there is no key, or none that is valid."""
        admitted: Caller | None = None
        for candidate in _candidates(headers):
            digest = _looked_up(candidate)
            known, caller = self._callers.get(digest, _NOBODY)
            if hmac.compare_digest(digest, known):
                admitted = caller
        return admitted


def _looked_up(key: bytes) -> bytes:
    """A digest that only this process can make."""
    return hashlib.blake2b(key, digest_size=32, key=_OURS).digest()


def _named(key: str) -> str:
    """What tells a key from others and doesn't help to guess it."""
    return f"key-{hashlib.sha256(key.encode('ascii')).digest()[:4].hex()}"


def _candidates(headers: RawHeaders) -> list[bytes]:
    found = []
    for name, value in headers:
        if name == _API_KEY:
            found.append(value.strip(b" \t"))
        elif name == _AUTHORIZATION:
            key = value.strip(b" \t")
            bearer = _BEARER.match(key)
            found.append(key if bearer is None else key[bearer.end() :])
    return [key for key in found[:_MOST_CANDIDATES] if _KEY.fullmatch(key)]


def _token(headers: RawHeaders) -> bytes | None:
    """The first bearer that is no key by its form."""
    for name, value in headers:
        if name == _AUTHORIZATION:
            bearer, found = _BEARER.subn(b"", value.strip(b" \t"), count=1)
            if found and bearer.count(b".") == _DOTS_IN_A_TOKEN:
                return bearer
    return None
