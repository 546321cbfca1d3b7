"""What a call carries so that its provider accepts it.

Rules of this file:
- A credential comes from the config alone and adds headers; it never changes address or body.
- What it holds is told by ``secrets``, so that no error repeats it.
"""

from collections.abc import Mapping
from typing import Protocol

from interlingua.http import HttpCall


class Credential(Protocol):
    """Proves to one provider who calls. Safe for concurrent calls on one event loop."""

    @property
    def fixed(self) -> Mapping[str, str] | None:
        """The headers where every call needs the same; ``None``: ask for each call."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no text for a caller may hold, as of now."""
        ...

    async def headers(self, call: HttpCall) -> Mapping[str, str]:
        """The headers, by lower-case name, that this call needs in addition.

        Raises:
            UpstreamError: who issues the credential refuses to, or says nonsense.
            Unavailable: it can't be reached.
        """
        ...

    def refused(self) -> None:
        """The provider didn't accept it: what was kept is forgotten."""

    async def close(self) -> None:
        """Free what it holds. Idempotent."""
        ...


class Key:
    """A key in headers, as a row's ``key_headers`` spell it; ``None``: there is none."""

    def __init__(self, key: str | None, spelled: Mapping[str, str]) -> None:
        self.secrets = () if key is None else (key,)
        self.fixed: Mapping[str, str] = (
            {}
            if key is None
            else {name: form.replace("{key}", key) for name, form in spelled.items()}
        )

    async def headers(self, call: HttpCall) -> Mapping[str, str]:
        del call
        return self.fixed

    def refused(self) -> None:
        pass

    async def close(self) -> None:
        pass
