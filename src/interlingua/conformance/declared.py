"""What a deployment says that it can do: by its server's catalogue, else as probing shows."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from interlingua.types.models import Capabilities, Operation

from .calls import Caller, Got
from .case import Deviation
from .samples import ROUTES, asking

_PROBED: tuple[Operation, ...] = (
    "chat_completions",
    "completions",
    "embeddings",
    "image_embeddings",
)
#: What says that there is no such operation here.
ABSENT = frozenset({404, 405})


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment, as the suite takes it."""

    #: What calls name; empty: the server's own choice.
    name: str = ""
    operations: frozenset[Operation]
    #: What is ``None`` isn't known: then a known parameter may be honoured or refused by name.
    can: Capabilities = Capabilities()
    #: Whether the server is Interlingua, and promises more than the API does.
    ours: bool = False
    has_info: bool = True
    has_openai: bool = False
    #: Whether the same request always has the same answer.
    exact: bool = False

    def body(self, fields: Mapping[str, object]) -> dict[str, object]:
        """A request's body to this deployment."""
        return {**({"model": self.name} if self.name else {}), **fields}

    def steady(self, **fields: Any) -> dict[str, Any]:
        """``fields``, and what makes answers the same, as far as it takes that."""
        wished: dict[str, Any] = {"temperature": 0, "seed": 1}
        taken = {name: value for name, value in wished.items() if self.honours(name) is not False}
        return {**taken, **fields}

    def honours(self, parameter: str) -> bool | None:
        """Whether a known parameter is; ``None``: it isn't known."""
        if parameter in (getattr(self.can, "refuses", None) or ()):
            return False
        if self.can.parameters is None:
            return None
        return parameter in self.can.parameters or parameter in (self.can.extensions or ())


class _Ability(msgspec.Struct, frozen=True):
    capabilities: Capabilities = Capabilities()


class _Entry(msgspec.Struct, frozen=True):
    """A model of ``GET /catalog/models``, as GitHub Models had it; what a deployment can do
    stands in a member of its own.
    """

    name: str
    interlingua: _Ability = _Ability()


async def discover(caller: Caller, deployment: str | None) -> tuple[Declared, ...]:
    """The deployments of a server, or the one that is named.

    Raises:
        Deviation: nothing of this API is there, or not that deployment.
    """
    ours = (await caller.get("/health/live")).body == b'{"status":"live"}'
    openai = (await caller.get("/v1/models")).status == 200
    entries = _entries(await caller.get("/catalog/models"))
    wanted = [entry for entry in entries if deployment in {None, entry.name}]
    if not wanted:
        wanted = [_Entry(name=deployment or "")]
    found = []
    for entry in wanted:
        stated = entry.interlingua.capabilities
        operations = stated.operations or await probe(caller, entry.name)
        path = f"/info?model={quote(entry.name)}" if entry.name else "/info"
        declared = Declared(
            name=entry.name,
            operations=operations,
            can=stated,
            ours=ours,
            has_info=(await caller.get(path)).status == 200,
            has_openai=openai,
        )
        found.append(declared)
    if not any(declared.operations or declared.has_info for declared in found):
        raise Deviation("none of this API's operations is there: is the path right?")
    return tuple(found)


async def probe(caller: Caller, name: str) -> frozenset[Operation]:
    """The operations that the deployment doesn't deny to have."""
    found = set()
    for operation in _PROBED:
        body = {**asking(operation), **({"model": name} if name else {})}
        reply = await caller.call(ROUTES[operation], body)
        if reply.status not in ABSENT and reply.status != 400:
            found.add(operation)
    return frozenset(found)


def _entries(reply: Got) -> tuple[_Entry, ...]:
    try:
        return msgspec.json.decode(reply.body, type=tuple[_Entry, ...])
    except msgspec.DecodeError:
        return ()
