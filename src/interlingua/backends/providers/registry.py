"""The providers that a deployment may name, as data, and what one is asked to serve.

Rules of this file:
- A row is data, and behaviour is a file: nothing asks which provider it is.
- A row states what the provider documents; its ``source`` says where.
- What a deployment can honour: dialect's default < row < family of the model < config.
- A dialect is found by its name among the entry points ``interlingua.dialects``.
"""

import difflib
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal, cast

import msgspec

from interlingua.backends.transport import CONNECT_TIMEOUT_S
from interlingua.dialects.base import ClientDialect
from interlingua.types.models import Capabilities, ModelType, Operation, merge

from .entra import EntraIdentity
from .families import Family, combined, families_of
from .sigv4 import AwsKeys

#: ``own``: the encoding that the caller wants, since the provider makes them all itself.
VectorEncoding = Literal["float", "base64", "own"]

_FILE = Path(__file__).with_name("registry.toml")
_PLACE = "{model}"
_REGION = "{region}"

#: What holds where neither row nor config say otherwise: a provider judges for itself.
_ANY = Capabilities(
    extensions=frozenset(),
    passes_through=True,
    modalities=frozenset({"text", "image", "audio"}),
    image_text=True,
)
#: What models of a type answer.
OPERATIONS: dict[ModelType, frozenset[Operation]] = {
    "chat-completion": frozenset({"chat_completions"}),
    "text-generation": frozenset({"completions"}),
    "embedding": frozenset({"embeddings"}),
    "image-embedding": frozenset({"image_embeddings"}),
}


def _bearer() -> dict[str, str]:
    return {"authorization": "Bearer {key}"}


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider: where it answers, in which dialect, and its quirks."""

    name: str
    #: What ``/info`` says of a model's publisher unless the config does.
    title: str
    #: An entry point of the group ``interlingua.dialects``.
    dialect: str
    #: ``None``: only the config can know it. May hold ``{region}``, for providers on AWS.
    base_url: str | None = None
    #: What stands between ``base_url`` and the operation; may hold ``{model}``.
    path: str = ""
    #: Where GET tells its models, which costs nothing; empty: nowhere. May hold ``{path}``.
    lists: str = "{path}/models"
    #: The headers that carry the key, in place of ``{key}``.
    key_headers: dict[str, str] = msgspec.field(default_factory=_bearer)
    needs_key: bool = True
    #: The name of a service on AWS, which takes signed calls instead of a key.
    aws_service: str | None = None
    api_version: str | None = None
    #: What every call says besides.
    headers: dict[str, str] = {}
    #: Whether a stream's usage must be asked for with ``stream_options``.
    asks_for_usage: bool = True
    #: Whether its chat models continue texts, too.
    completes: bool = False
    #: The encoding in which vectors are asked for; ``float`` asks for nothing.
    vectors: VectorEncoding = "float"
    image_vectors: VectorEncoding = "float"
    #: The most inputs of one call; more are asked for in several.
    max_inputs: int | None = None
    max_images: int | None = None
    capabilities: Capabilities = Capabilities()
    #: The document that says so.
    source: str

    @property
    def needs_model(self) -> bool:
        """Whether the address holds the model, which then only the config may name."""
        return _PLACE in self.path

    @property
    def needs_region(self) -> bool:
        return self.base_url is not None and _REGION in self.base_url

    def base_url_in(self, region: str | None) -> str | None:
        """The provider's address there."""
        if self.base_url is None or region is None:
            return self.base_url
        return self.base_url.replace(_REGION, region)

    @property
    def lists_at(self) -> str:
        return self.lists.replace("{path}", self.path)


class ProviderModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that a provider serves, under a deployment's name and limits."""

    #: The deployment's name: what replies call the model.
    name: str
    row: Row
    base_url: str
    #: The provider's name for it; ``None``: the caller's goes on.
    model: str | None = None
    #: What it is, where its name doesn't say so.
    family: str | None = None
    key: str | None = None
    #: What calls are signed with instead.
    aws: AwsKeys | None = None
    #: Whose tokens of Microsoft Entra ID are sent instead.
    entra: EntraIdentity | None = None
    api_version: str | None = None
    type: ModelType = "chat-completion"
    publisher: str
    #: The longest silence; ``None``: see :data:`~.http.SILENCE_S`.
    timeout_s: float | None = None
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    #: How long the reply's head may take; ``None``: the longest silence.
    first_byte_timeout_s: float | None = None
    concurrency: int = 256
    #: The config's statements, merged over the row's.
    stated: Capabilities = Capabilities()

    @property
    def families(self) -> tuple[Family, ...]:
        """What is known of models of its name."""
        return families_of(self.family or self.model, self.row.name)

    @property
    def capabilities(self) -> Capabilities:
        row = self.row
        wire = dialect(row.dialect).CAPABILITIES
        operations = OPERATIONS[self.type]
        if row.completes and self.type == "chat-completion":
            operations |= {"completions"}
        offered = row.capabilities.operations
        if offered is not None:
            operations &= offered
        can = Capabilities(operations=operations & (wire.operations or frozenset()))
        families = (family.capabilities for family in self.families)
        return merge(combined((_ANY, wire, row.capabilities, *families, can)), self.stated)


class _Registry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    row: tuple[Row, ...]


@cache
def rows() -> tuple[Row, ...]:
    """Every row, by name."""
    return msgspec.toml.decode(_FILE.read_bytes(), type=_Registry).row


@cache
def dialect(name: str) -> type[ClientDialect]:
    """The wire of that name.

    Raises:
        KeyError: there is none.
    """
    (found,) = entry_points(group="interlingua.dialects", name=name) or (None,)
    if found is None:
        raise KeyError(name)
    return cast("type[ClientDialect]", found.load())


def find(name: str) -> Row | None:
    """The row of that name; ``None``: there is none."""
    return next((row for row in rows() if row.name == name), None)


def suggest(name: str) -> tuple[str, ...]:
    """The nearest names that there are."""
    return tuple(difflib.get_close_matches(name.lower(), [row.name for row in rows()], n=3))
