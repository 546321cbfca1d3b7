"""Bearer tokens of the config's issuers: whether one is valid, and what its roles permit.

Rules of this file:
- What is read before the signature is checked chooses the issuer and the key, nothing else:
  the algorithm must be on the list and fit the key, and the issuer's name is checked again.
- What can't be a token costs a little decoding; no key is fetched for it and no signature
  checked.
- The reasons that callers get to read repeat nothing of the token and nothing of the config.
"""

import base64
import binascii
import re
import time
from collections.abc import Callable, Iterable, Mapping

import jwt
import msgspec

from interlingua.config.issuers import Grant, read_grant, read_issuer
from interlingua.config.schema import IssuerConfig
from interlingua.errors import Unauthorized

from .auth import UNLIMITED, Caller
from .signing_keys import ALGORITHMS, SigningKeys

MAX_TOKEN_BYTES = 16 * 1024
#: How far clocks may be apart.
LEEWAY_S = 60

_TOKEN = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
_MAX_KID_CHARS = 256
_NO_TOKEN = "it is not a token"  # noqa: S105 - a reason
_REASONS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "the token has expired"),
    (jwt.ImmatureSignatureError, "the token is not valid yet"),
    (jwt.InvalidAudienceError, "the token is for another audience"),
    (jwt.InvalidIssuerError, "the token's issuer is not accepted"),
    (jwt.MissingRequiredClaimError, "the token lacks a claim that it must have"),
    (jwt.InvalidSignatureError, "the token's signature is not valid"),
)


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str
    crit: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Claims(msgspec.Struct, frozen=True):
    iss: str


class _Issuer:
    """One entry of the config."""

    def __init__(self, config: IssuerConfig, clock: Callable[[], float]) -> None:
        issuer = read_issuer(config)
        self.names = issuer.names
        self.audiences = [
            spelled for each in config.audiences for spelled in (each, _other_slash(each))
        ]
        self.keys = SigningKeys(issuer, config.jwks_url, clock)
        self._roles_claim = config.roles_claim
        self._grants: dict[str, frozenset[Grant]] = {
            role: frozenset(map(read_grant, grants)) for role, grants in config.roles.items()
        }
        self._allow_all = config.allow_all

    def caller(self, claims: Mapping[str, object]) -> Caller:
        """What the roles of a valid token permit."""
        name = _subject(claims)
        if self._allow_all:
            return Caller(UNLIMITED.grants, name)
        held = (self._grants.get(role, frozenset()) for role in self._roles(claims))
        return Caller(frozenset().union(*held), name)

    def _roles(self, claims: Mapping[str, object]) -> list[str]:
        if self._roles_claim is not None:
            return _listed(_claim(claims, self._roles_claim))
        # Entra ID: `scp` is what a program may do for its user, `roles` what whoever signed in
        # was given. The latter counts where there is one.
        return _listed(claims["roles"] if "roles" in claims else claims.get("scp"))


class IssuedTokens:
    """Checks tokens; keys are fetched when the first one comes."""

    def __init__(
        self, issuers: Iterable[IssuerConfig], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._issuers = {
            name: issuer
            for issuer in (_Issuer(config, clock) for config in issuers)
            for name in issuer.names
        }

    async def check(self, token: bytes) -> Caller:
        """See :meth:`interlingua.server.auth.Tokens.check`."""
        header, claims = _unverified(token)
        issuer = self._issuers.get(claims.iss)
        if issuer is None:
            raise _refused("the token's issuer is not accepted")
        if header.alg not in ALGORITHMS or header.crit is not msgspec.UNSET:
            raise _refused("the token's algorithm is not accepted")
        key = await issuer.keys.find(header.kid)
        if key is None or header.alg not in key.algorithms:
            raise _refused("the token is not signed by a key of its issuer")
        try:
            verified = jwt.decode(
                token,
                key.public,
                algorithms=[header.alg],
                audience=issuer.audiences,
                issuer=issuer.names,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            reason = next((text for kind, text in _REASONS if isinstance(error, kind)), _NO_TOKEN)
            raise _refused(reason) from error
        except (TypeError, ValueError, OverflowError) as error:
            # Signed, but with times that aren't numbers.
            raise _refused(_NO_TOKEN) from error
        return issuer.caller(verified)


def _unverified(token: bytes) -> tuple[_Header, _Claims]:
    """What a token says of itself, for the choice of its issuer and key."""
    if len(token) > MAX_TOKEN_BYTES:
        raise _refused(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
    parts = _TOKEN.fullmatch(token)
    if parts is None:
        raise _refused(_NO_TOKEN)
    try:
        header = msgspec.json.decode(_decoded(parts[1]), type=_Header)
        claims = msgspec.json.decode(_decoded(parts[2]), type=_Claims)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, binascii.Error) as error:
        raise _refused(_NO_TOKEN) from error
    if len(header.kid) > _MAX_KID_CHARS:
        raise _refused(_NO_TOKEN)
    return header, claims


def _decoded(part: bytes) -> bytes:
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def _refused(reason: str) -> Unauthorized:
    return Unauthorized(f"Auth token validation failed: {reason}.")


def _other_slash(audience: str) -> str:
    return audience[:-1] if audience.endswith("/") else f"{audience}/"


def _claim(claims: Mapping[str, object], name: str) -> object:
    """A claim by its name, else by a path: ``realm_access.roles``."""
    if name in claims:
        return claims[name]
    outer, _, inner = name.partition(".")
    below = claims.get(outer)
    return _claim(below, inner) if inner and isinstance(below, dict) else None


def _subject(claims: Mapping[str, object]) -> str:
    """Whose token it is. Entra ID: `oid` is the same for every application, `sub` is not."""
    named = (claims[name] for name in ("oid", "sub", "azp", "client_id") if name in claims)
    return next((f"token-{each[:64]}" for each in named if isinstance(each, str)), "token")


def _listed(claim: object) -> list[str]:
    """A list of strings, or words in one string (OAuth: ``scope``)."""
    if isinstance(claim, str):
        return claim.split()
    return [each for each in claim if isinstance(each, str)] if isinstance(claim, list) else []
