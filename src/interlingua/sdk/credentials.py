"""Who calls: a key, or what gives tokens. Recognised by what it can do, not by its class.

Rules of this file:
- Whatever has a ``key`` is a key (azure-core's ``AzureKeyCredential`` has), and whatever has
  ``get_token`` or ``get_token_info`` gives tokens (azure-identity's credentials do).
- A key goes into headers and nowhere else: no message, no ``repr``.
"""

import re
from typing import Any, NamedTuple, Protocol, runtime_checkable


class AzureKeyCredential:
    """A key, which :meth:`update` can replace while clients use it."""

    def __init__(self, key: str) -> None:
        if not isinstance(key, str):
            raise TypeError("key must be a string.")
        self._key = key

    @property
    def key(self) -> str:
        return self._key

    def update(self, key: str) -> None:
        """Use another key from the next request on.

        Raises:
            ValueError: it is empty.
        """
        if not key:
            raise ValueError("The key used for updating can not be None or empty")
        if not isinstance(key, str):
            raise TypeError("The key used for updating must be a string.")
        self._key = key


class AccessToken(NamedTuple):
    """A token, and when it ends, in seconds since 1970."""

    token: str
    expires_on: int


@runtime_checkable
class HasKey(Protocol):
    @property
    def key(self) -> str: ...


@runtime_checkable
class GivesTokens(Protocol):
    """A credential of azure-identity, or anything with this method; sync or async."""

    def get_token(self, *scopes: str, **options: Any) -> Any: ...


Credential = str | HasKey | GivesTokens

_SENDABLE = re.compile(r"[!-~]*")


def key_of(credential: object) -> str | None:
    """The key, if it is one.

    Raises:
        ValueError: it holds what no header can carry.
    """
    key = credential if isinstance(credential, str) else getattr(credential, "key", None)
    if not isinstance(key, str):
        return None
    if not _SENDABLE.fullmatch(key):
        raise ValueError("the key holds characters that no header can carry (a space, a line end?)")
    return key


def check(credential: object) -> None:
    """Refuse what is no credential.

    Raises:
        TypeError: it has neither a key nor a way to get a token.
    """
    if credential is None or key_of(credential) is not None:
        return
    if not (hasattr(credential, "get_token") or hasattr(credential, "get_token_info")):
        raise TypeError(f"Unsupported credential: {type(credential).__name__}")
