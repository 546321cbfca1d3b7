"""The table of routes: a path is [``/endpoints/{name}``] + a base + an operation.

Rules of this file:
- A path is looked up as it was decoded, segment by segment, once: no prefix is stripped, no
  dots or double slashes are resolved. One trailing slash is tolerated.
- What isn't in the table is 404. A literal segment is preferred to a parameter, and no two
  rows meet in one place.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal

import msgspec

from interlingua.types.models import Operation

DialectName = Literal["azure", "openai"]
Method = Literal["GET", "POST"]
#: What answers: one of the five operations, or the server about itself.
Resource = Literal[
    "operation",
    "healthy",
    "live",
    "ready",
    "models",
    "model",
    "catalog",
    "metrics",
    "docs",
    "openapi",
]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What answers at a path."""

    resource: Resource
    method: Method = "GET"
    dialect: DialectName = "azure"
    operation: Operation | None = None
    #: A path under ``/openai``: an unknown deployment is 404 there.
    openai: bool = False
    #: Answered without a key.
    public: bool = False
    #: There only where ``docs`` allows it, and then without a key.
    documentation: bool = False


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A row, with what the path says in its parameters."""

    row: Row
    endpoint: str | None = None
    deployment: str | None = None
    model: str | None = None


class _Base(msgspec.Struct, frozen=True):
    path: str
    dialect: DialectName
    has_info: bool


_BASES = (
    _Base("", "azure", has_info=True),
    _Base("/models", "azure", has_info=True),
    _Base("/api/models", "azure", has_info=True),
    _Base("/inference", "azure", has_info=False),
    _Base("/orgs/{org}/inference", "azure", has_info=False),
    # AzureOpenAI(base_url=".../models") makes this one.
    _Base("/models/deployments/{deployment}", "openai", has_info=True),
    _Base("/openai/deployments/{deployment}", "openai", has_info=False),
    _Base("/openai/v1", "openai", has_info=False),
    _Base("/v1", "openai", has_info=False),
)

_OPERATIONS: tuple[tuple[str, Method, Operation], ...] = (
    ("/info", "GET", "info"),
    ("/chat/completions", "POST", "chat_completions"),
    ("/completions", "POST", "completions"),
    ("/embeddings", "POST", "embeddings"),
    ("/images/embeddings", "POST", "image_embeddings"),
)

#: ``{model}`` at the end takes the rest of the path: names may be ``publisher/name``.
_OTHERS: tuple[tuple[str, Row], ...] = (
    ("/", Row(resource="healthy", public=True)),
    ("/endpoints/{endpoint}", Row(resource="healthy", public=True)),
    ("/health/live", Row(resource="live", public=True)),
    ("/health/ready", Row(resource="ready", public=True)),
    ("/v1/models", Row(resource="models", dialect="openai")),
    ("/v1/models/{model}", Row(resource="model", dialect="openai")),
    ("/openai/v1/models", Row(resource="models", dialect="openai", openai=True)),
    ("/openai/v1/models/{model}", Row(resource="model", dialect="openai", openai=True)),
    # Azure OpenAI lists its models here, whatever the deployment.
    ("/openai/models", Row(resource="models", dialect="openai", openai=True)),
    ("/openai/models/{model}", Row(resource="model", dialect="openai", openai=True)),
    ("/catalog/models", Row(resource="catalog")),
    ("/metrics", Row(resource="metrics")),
    ("/docs", Row(resource="docs", documentation=True)),
    ("/openapi.json", Row(resource="openapi", documentation=True)),
)


def table() -> tuple[tuple[str, Row], ...]:
    """Every path that is answered, with ``{parameters}``, and what answers there."""
    rows = list(_OTHERS)
    for prefix in ("", "/endpoints/{endpoint}"):
        for base in _BASES:
            for suffix, method, operation in _OPERATIONS:
                if operation == "info" and not base.has_info:
                    continue
                row = Row(
                    resource="operation",
                    method=method,
                    dialect=base.dialect,
                    operation=operation,
                    openai=base.path.startswith("/openai"),
                )
                rows.append((prefix + base.path + suffix, row))
    return tuple(rows)


class _Node(msgspec.Struct, frozen=True, kw_only=True):
    """A place in the tree of segments."""

    row: Row | None
    literals: Mapping[str, "_Node"]
    parameter: str | None
    child: "_Node | None"


def _tree(rows: Sequence[tuple[tuple[str, ...], Row]]) -> _Node:
    here: Row | None = None
    below: dict[str, list[tuple[tuple[str, ...], Row]]] = {}
    for segments, row in rows:
        if segments:
            below.setdefault(segments[0], []).append((segments[1:], row))
        else:
            here = row
    parameters = [segment for segment in below if segment.startswith("{")]
    name = parameters[0] if parameters else None
    return _Node(
        row=here,
        literals={s: _tree(rest) for s, rest in below.items() if s != name},
        parameter=name.strip("{}") if name else None,
        child=_tree(below[name]) if name else None,
    )


_ROOT = _tree([(tuple(path.split("/")[1:]) if path != "/" else (), row) for path, row in table()])
#: The longest row has nine segments; a model's name may have one slash more.
_MOST_SEGMENTS = 12
#: Callers use few paths, and look each up again and again; so many, and none that is longer.
_REMEMBERED, _LONGEST_REMEMBERED = 256, 128


def match(path: str) -> Match | None:
    """What answers at ``path``; ``None``: nothing does."""
    return _known(path) if len(path) <= _LONGEST_REMEMBERED else _match(path)


def _match(path: str) -> Match | None:
    if not path.startswith("/"):
        return None
    segments = path[1:].split("/", _MOST_SEGMENTS)
    if segments[-1] == "":
        segments.pop()
    node = _ROOT
    parameters: dict[str, str] = {}
    for place, segment in enumerate(segments):
        following = node.literals.get(segment)
        if following is None:
            if node.child is None or node.parameter is None or not segment:
                return None
            following = node.child
            rest = node.parameter == "model"
            parameters[node.parameter] = "/".join(segments[place:]) if rest else segment
            if rest:
                node = following
                break
        node = following
    if node.row is None:
        return None
    return Match(
        row=node.row,
        endpoint=parameters.get("endpoint"),
        deployment=parameters.get("deployment"),
        model=parameters.get("model"),
    )


_known = lru_cache(_REMEMBERED)(_match)


def dialect_of(path: str) -> DialectName:
    """The dialect whose error shape a caller of ``path`` expects, whether it exists or not."""
    segments = path.split("/", 5)[1:]
    if segments[:1] == ["endpoints"]:
        segments = segments[2:]
    if segments[:1] in (["v1"], ["openai"]) or segments[:2] == ["models", "deployments"]:
        return "openai"
    return "azure"
