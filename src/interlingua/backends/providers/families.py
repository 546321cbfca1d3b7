"""What a provider's model can do, by the family that its name says it belongs to, as data.

Rules of this file:
- A family states what its ``source`` says of the model, whoever serves it; what holds at some
  providers alone names their rows.
- Every entry that fits counts, in the order of the file: a later one replaces what an earlier
  one states.
- What no document says is left out: then the provider judges.
"""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import msgspec

from interlingua.types.models import Capabilities, ModelType, merge

_FILE = Path(__file__).with_name("families.toml")

#: A date, a version of the service, or a word for "the newest one", at the end of a name.
_SUFFIX = re.compile(
    r"(-\d{4}-\d{2}-\d{2}|-20\d{6}|-\d{2}-20\d{2}|-\d{2}-\d{2}|-[01]\d{3}|-2[3-9]\d{2}"
    r"|-latest|-preview|-exp|-fp8|-v\d+(\.\d+)*)$"
)


class Family(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Models that can do the same."""

    name: str
    #: Who made them, as ``/info`` says it.
    publisher: str
    #: Their names: ``*`` stands for anything; publisher, date and version may be left out.
    models: tuple[str, ...]
    #: The providers whose models of that name these are; empty: anybody's.
    rows: tuple[str, ...] = ()
    type: ModelType = "chat-completion"
    capabilities: Capabilities = Capabilities()
    #: The document that says so.
    source: str


class _Families(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    family: tuple[Family, ...]


@cache
def families() -> tuple[Family, ...]:
    """Every family, in the order in which their statements are merged."""
    return msgspec.toml.decode(_FILE.read_bytes(), type=_Families).family


def families_of(model: str | None, row: str | None = None) -> tuple[Family, ...]:
    """The families of a provider's model; without ``row`` those of any provider."""
    if not model:
        return ()
    names = _spellings(model)
    return tuple(
        family
        for family in families()
        if (row is None or not family.rows or row in family.rows)
        and any(fnmatchcase(name, pattern) for pattern in family.models for name in names)
    )


def combined(layers: Iterable[Capabilities]) -> Capabilities:
    """The layers' statements together: what one refuses no other takes, and a parameter that
    is renamed twice has its last name.
    """
    layers = tuple(layers)
    refused: frozenset[str] = frozenset()
    renames: dict[str, str] = {}
    for layer in layers:
        refused |= layer.refuses or frozenset()
        for name, new in (layer.renames or {}).items():
            if renames.get(new) == name:
                del renames[new]
            renames[name] = new
    both = Capabilities(refuses=refused or None, renames=renames or None)
    return merge(*layers, both)


def _spellings(model: str) -> tuple[str, ...]:
    """The name as families are written, with and without what says which release it is."""
    name = model.lower().removeprefix("ft:")
    name = name.rpartition("/")[2]  # publisher/name, accounts/…/models/name
    name = re.sub(
        r"^((us|eu|apac|global)\.)?(ai21|anthropic|cohere|deepseek|meta|mistral)\.", "", name
    )
    name = name.partition(":")[0]  # a tag, a price, a fine-tuning
    bare = name
    while shorter := _SUFFIX.sub("", bare):
        if shorter == bare:
            break
        bare = shorter
    return (name,) if bare == name else (name, bare)
