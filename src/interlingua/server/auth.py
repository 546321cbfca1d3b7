"""Who may call: keys as digests, compared in constant time.

Rules of this file:
- Any valid key in ``api-key``, ``Authorization: Bearer K`` or ``Authorization: K`` suffices,
  since clients send several of them (Azure: both, with the same key).
- What can't be a key is not even hashed, and an empty key is none.
- No early exit: every candidate is compared with every digest.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable

from interlingua.errors import Unauthorized

from .asgi import RawHeaders

_KEY = re.compile(rb"[\x21-\x7e]{1,512}")
_BEARER = re.compile(rb"\Abearer +", re.IGNORECASE)
#: More credentials than this in one request are not looked at.
_MOST_CANDIDATES = 8


class Keys:
    """The keys that callers may use. Holds digests only."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(hashlib.sha256(key.encode("ascii")).digest() for key in keys)

    def check(self, headers: RawHeaders) -> None:
        """Let a caller with a valid key pass.

        Raises:
            Unauthorized: there is no key, or none that is valid.
        """
        candidates = _candidates(headers)
        admitted = False
        for candidate in candidates:
            digest = hashlib.sha256(candidate).digest()
            for known in self._digests:
                admitted |= hmac.compare_digest(digest, known)
        if admitted:
            return
        reason = "the key is not valid" if candidates else "there is no key"
        raise Unauthorized(
            f"Auth token validation failed: {reason}. Send one of the server's keys as "
            "'api-key: KEY' or 'Authorization: Bearer KEY'."
        )


def _candidates(headers: RawHeaders) -> list[bytes]:
    found = []
    for name, value in headers:
        if name == b"api-key":
            found.append(value.strip(b" \t"))
        elif name == b"authorization":
            found.append(_BEARER.sub(b"", value.strip(b" \t"), count=1))
    return [key for key in found[:_MOST_CANDIDATES] if _KEY.fullmatch(key)]
