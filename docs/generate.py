"""Writes the parts of the documentation that come from the code.

``make docs`` runs it; a test compares what it would write with what is there. A page holds
``<!-- from the code: NAME -->`` … ``<!-- end -->``, and what stands between is replaced.
"""

import inspect
import json
import re
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

import click
import msgspec

from interlingua import errors, headers
from interlingua.backends.providers import registry
from interlingua.backends.providers.families import families
from interlingua.catalog.catalog import load_cards
from interlingua.cli.families import capability_facts
from interlingua.cli.main import cli
from interlingua.config import schema
from interlingua.dialects.error_wire import write_azure_error, write_openai_error
from interlingua.gateway.fates import PARAMETERS, Fate, fates
from interlingua.server.description import document
from interlingua.server.routes import table
from interlingua.types.models import Capabilities, ModelType

DOCS = Path(__file__).parent
OPENAPI = DOCS.parent / "src" / "interlingua" / "server" / "openapi.json"
BLOCK = re.compile(r"(<!-- from the code: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> dict[Path, str]:
    """Every page with such parts, and the OpenAPI document, as they should be."""
    found = {path: path.read_text("utf-8") for path in sorted(DOCS.rglob("*.md"))}
    written = {path: BLOCK.sub(_block, text) for path, text in found.items() if BLOCK.search(text)}
    return written | {OPENAPI: document.text()}


def _block(match: re.Match[str]) -> str:
    body = "\n".join(BLOCKS[match[2]]()).rstrip()
    body = re.sub("(?<!`)``(?!`)", "`", body)  # from a docstring's markup to Markdown's
    return f"{match[1]}\n{body}\n\n{match[3]}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


# -- Settings -------------------------------------------------------------------------------


def _configuration() -> Iterator[str]:
    for part in (
        schema.ServerConfig,
        schema.KeyConfig,
        schema.DeploymentConfig,
        schema.AwsConfig,
        schema.EntraConfig,
        schema.EndpointConfig,
        schema.IssuerConfig,
    ):
        yield f"## {(part.__doc__ or '').strip()}"
        yield ""
        hints = get_type_hints(part, include_extras=True)
        rows = [
            (
                f"`{field.name}`",
                _spelled(hints[field.name]),
                _default(field),
                _description(hints[field.name]),
            )
            for field in msgspec.structs.fields(part)
        ]
        yield from _table(("setting", "type", "default", "meaning"), rows)


def _description(hint: object) -> str:
    metas = [m for m in get_args(hint)[1:] if isinstance(m, msgspec.Meta)]
    return next((m.description for m in metas if m.description), "")


def _spelled(hint: object) -> str:
    """A type as the reader of a TOML file would say it."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _spelled(args[0]) + _bounds(args[1:])
    if origin in {Union, types.UnionType}:
        return " or ".join(_spelled(a) for a in args if a is not type(None))
    if origin is Literal:
        return ", ".join(f"`{json.dumps(a)}`" for a in args)
    if origin in {tuple, frozenset}:
        return f"list of {_spelled(args[0])}"
    if origin is dict:
        return f"table of {_spelled(args[1])}"
    names = {str: "string", int: "integer", float: "number", bool: "boolean"}
    return names.get(hint, "table") if isinstance(hint, type) else "table"


def _bounds(metas: tuple[object, ...]) -> str:
    said = []
    for meta in metas:
        if isinstance(meta, msgspec.Meta):
            bounds = (("≥", meta.ge), (">", meta.gt), ("≤", meta.le), ("<", meta.lt))
            said += [f"{sign} {value}" for sign, value in bounds if value is not None]
    return f" ({', '.join(said)})" if said else ""


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default
    if value is msgspec.NODEFAULT:
        value = field.default_factory()
    if value is None:
        return "unset"
    if isinstance(value, str | int | float | tuple):
        return f"`{json.dumps(value)}`"
    return "empty"


def _capabilities() -> Iterator[str]:
    """The comment above each field of the struct says what it means."""
    meaning: dict[str, str] = {}
    said: list[str] = []
    for line in inspect.getsource(Capabilities).splitlines():
        if comment := re.match(r"\s+#: (.*)", line):
            said.append(comment[1])
        elif field := re.match(r"    (\w+): ", line):
            meaning[field[1]] = " ".join(said)
            said = []
    hints = get_type_hints(Capabilities, include_extras=True)
    rows = [(f"`{name}`", _spelled(hint), meaning[name]) for name, hint in hints.items()]
    yield from _table(("statement", "type", "meaning"), rows)


# -- Errors ---------------------------------------------------------------------------------

#: Where an error comes from, by whose fault it is.
FAULTS = {
    "caller": "the request",
    "server": "the server",
    "upstream": "the model: its engine or provider",
}


def _errors() -> Iterator[str]:
    rows = [
        (
            str(kind.status),
            f"`{kind.code}`",
            errors.meaning(kind),
            FAULTS[kind.fault],
            "yes" if kind.retryable else "no",
            kind.remedy,
        )
        for kind in errors.kinds()
    ]
    yield from _table(("status", "code", "when", "from", "a retry can help", "remedy"), rows)


def _error_bodies() -> Iterator[str]:
    error = errors.ParameterNotSupported(
        "This model doesn't support the parameter 'tools'. Leave it out.",
        location=("body", "tools"),
    )
    for title, written in (
        ("On the Azure AI inference paths:", write_azure_error(error)),
        ("On the OpenAI and Azure OpenAI paths:", write_openai_error(error)),
    ):
        yield title
        yield ""
        yield "```json"
        yield msgspec.json.format(written.body, indent=2).decode()
        yield "```"
        yield ""


# -- Routes ---------------------------------------------------------------------------------


def _routes() -> Iterator[str]:
    rows = [
        (
            f"`{row.method} {path}`",
            (row.operation or row.resource).replace("_", " "),
            row.dialect,
            "no" if row.public or row.documentation else "yes",
        )
        for path, row in table()
        if not path.startswith("/endpoints/{endpoint}/")
    ]
    yield from _table(("route", "answers", "dialect", "key"), rows)


def _headers() -> Iterator[str]:
    asked = [(f"`{each.name}`", each.meaning) for each in (*headers.CREDENTIALS, *headers.REQUEST)]
    yield from _table(("request", "meaning"), asked)
    said: dict[tuple[str, str], list[str]] = {}
    for each in headers.REPLY:
        where = {"every": "every reply", "answer": "answers", "stream": "streams"}.get(each.where)
        on = where or ", ".join(map(str, sorted(each.statuses))) or "errors"
        said.setdefault((on, each.meaning), []).append(f"`{each.name}`")
    rows = [(", ".join(names), on, meaning) for (on, meaning), names in said.items()]
    yield from _table(("reply", "on", "meaning"), rows)


# -- Models ---------------------------------------------------------------------------------


def _models() -> Iterator[str]:
    rows = [
        (
            f"`{card.name}`",
            card.publisher,
            card.type,
            card.parameters or "",
            f"{card.context_length:,}" if card.context_length else "",
            card.license,
            card.download or _size(sum(file.size_bytes or 0 for file in card.files)),
            card.engine or f"needs {card.needs}",
        )
        for card in load_cards()
    ]
    head = ("name", "publisher", "type", "parameters", "context", "licence", "download", "engine")
    yield from _table(head, rows)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.0f} MB" if size_bytes else ""


# -- Providers ------------------------------------------------------------------------------


def _providers() -> Iterator[str]:
    listed = [
        (
            f"`{row.name}`",
            row.title,
            row.dialect,
            f"`{row.base_url or 'base_url'}{row.path}`",
            ", ".join(f"`{name}`" for name in row.key_headers)
            + ("" if row.needs_key else " (optional)")
            + (", or signed for AWS" if row.aws_service else ""),
            "yes" if row.completes else "no",
            ", ".join(f"`{old}` → `{new}`" for old, new in _renames(row).items()),
            row.source,
        )
        for row in registry.rows()
    ]
    head = ("name", "who", "dialect", "address", "key", "texts too", "renames", "source")
    yield from _table(head, listed)


def _parameters() -> Iterator[str]:
    """A table for each operation: who does what with which parameter."""
    for operation, names in PARAMETERS.items():
        kinds = [kind for kind, can in registry.OPERATIONS.items() if operation in can]
        kinds += ["chat-completion"] * (operation == "completions")
        told = {}
        for row in registry.rows():
            for kind in kinds:
                can = _of(row, kind)
                if operation in (can.operations or ()):
                    told[f"`{row.name}`"] = fates(can, operation)
        yield f"### {operation.replace('_', ' ').capitalize()}: `{_wire(operation)}`"
        yield ""
        yield from _fates_table(names, told)


def _family_parameters() -> Iterator[str]:
    for operation in ("chat_completions", "embeddings"):
        told = {}
        for family in families():
            if (family.type == "embedding") == (operation == "embeddings"):
                where = f" (at {', '.join(f'`{row}`' for row in family.rows)})" * bool(family.rows)
                told[family.name + where] = fates(family.capabilities, operation)
        yield f"### {operation.replace('_', ' ').capitalize()}"
        yield ""
        yield from _fates_table(PARAMETERS[operation], told)


def _families() -> Iterator[str]:
    rows = [
        (
            family.name,
            family.publisher,
            ", ".join(f"`{name}`" for name in family.models),
            "; ".join(
                f"{label}: {text}"
                for label, text in capability_facts(family.capabilities)
                if label not in {"refuses", "renames"}
            ),
            family.source,
        )
        for family in families()
    ]
    yield from _table(("family", "publisher", "names", "what is known", "source"), rows)


def _fates_table(names: tuple[str, ...], told: dict[str, dict[str, Fate]]) -> Iterator[str]:
    """A line each; what all of them take is said once, above."""
    everywhere = [n for n in names if all(fate[n] == Fate("honoured") for fate in told.values())]
    others = [name for name in names if name not in everywhere]
    if everywhere:
        yield f"Honoured by all: {', '.join(f'`{name}`' for name in everywhere)}."
        yield ""
    if others:
        rows = [(who, *(_cell(fate[name]) for name in others)) for who, fate in told.items()]
        yield from _table(("", *(f"`{name}`" for name in others)), rows)


def _cell(fate: Fate) -> str:
    if fate.to:
        return f"→ `{fate.to}`"
    if fate.state == "refused":
        return "refused"
    return ", ".join(fate.values) or "✓"


def _of(row: registry.Row, kind: ModelType) -> Capabilities:
    model = registry.ProviderModel(name="x", row=row, base_url="x", publisher="x", type=kind)
    return model.capabilities


def _wire(operation: str) -> str:
    return "/" + operation.replace("chat_", "chat/").replace("image_", "images/")


def _renames(row: registry.Row) -> dict[str, str]:
    model = registry.ProviderModel(name="x", row=row, base_url="x", publisher="x")
    return model.capabilities.renames or {}


# -- Constants ------------------------------------------------------------------------------

PACKAGE = DOCS.parent / "src" / "interlingua"
#: Where a constant is, its name, and what it decides.
CONSTANTS = (
    ("dialects/request_body.py", "MAX_UNKNOWN_NAMES", "unknown top-level fields in one request"),
    ("dialects/request_body.py", "MAX_DEPTH", "levels of nesting in what has no type of its own"),
    ("dialects/chat_wire.py", "MAX_SCHEMA_BYTES", "length of a JSON schema"),
    ("dialects/chat_wire.py", "MAX_SCHEMA_DEPTH", "its levels"),
    ("types/embeddings.py", "MAX_INPUTS", "inputs of one embeddings call"),
    ("server/exchange.py", "BODY_TIMEOUT_S", "how long a request's body may take to arrive …"),
    ("server/exchange.py", "LEAST_BYTES_A_S", "… and longer while so many bytes a second come"),
    ("server/protocol.py", "HEAD_S", "how long a request's head may take from its first byte"),
    ("server/exchange.py", "STALL_S", "how long a client may read nothing before it is given up"),
    ("server/tokens.py", "MAX_TOKEN_BYTES", "length of a bearer token"),
    ("server/tokens.py", "LEEWAY_S", "how far an issuer's clock and ours may be apart"),
    ("server/signing_keys.py", "KEPT_S", "how long an issuer's keys are kept"),
    ("server/signing_keys.py", "PAUSE_S", "shortest time between two fetches of them"),
    ("gateway/gateway.py", "_IDLE_CHECK_S", "how often idle serverless models are looked for"),
    ("backends/engines/images.py", "MOST_BYTES", "length of one image"),
    ("backends/engines/images.py", "MOST_PIXELS", "its pixels, counted before it is unpacked"),
    ("gateway/circuit.py", "FAILURES", "failures in a row that open a deployment's circuit"),
    ("gateway/circuit.py", "FIRST_OPEN_S", "how long it stays open; doubles with failed trials"),
    ("gateway/circuit.py", "LONGEST_OPEN_S", "the longest that it does"),
    ("gateway/circuit.py", "LONGEST_REST_S", "the longest rest for a provider's Retry-After"),
    ("gateway/circuit.py", "RETRY_SHARE", "retries, as a share of a deployment's calls under way"),
    ("gateway/allowance.py", "BYTES_A_TOKEN", "bytes of a prompt's text that are reckoned a token"),
    ("gateway/allowance.py", "ANSWER_TOKENS", "what an answer is reckoned to take without a limit"),
    ("server/leases.py", "_TELL_EVERY_S", "how often a worker tells what it used of its limits"),
    ("server/leases.py", "_ANSWER_WITHIN_S", "how long a call waits for a piece of a limit"),
    ("gateway/routing.py", "RETRY_PAUSE_S", "the pause before a retry, and by chance up to …"),
    ("gateway/routing.py", "RETRY_JITTER_S", "… so much more"),
    ("backends/engines/restarts.py", "_MOST_IN_WINDOW", "crashes that open the circuit …"),
    ("backends/engines/restarts.py", "_WINDOW_S", "… when they fall within this time"),
    ("backends/engines/restarts.py", "_FIRST_DELAY_S", "wait before a restart; doubles each time"),
    ("backends/engines/restarts.py", "_LONGEST_DELAY_S", "the longest such wait"),
    ("backends/engines/child.py", "_LEAVE_WITHIN_S", "time for an engine to end before a kill"),
)


def _constants() -> Iterator[str]:
    rows = [(f"`{name}`", _value(file, name), said, f"`{file}`") for file, name, said in CONSTANTS]
    yield from _table(("name", "value", "what it decides", "file"), rows)


def _value(file: str, name: str) -> str:
    found = re.search(rf"^{name} = (.+)$", (PACKAGE / file).read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise LookupError(f"{file} has no {name}")
    return f"`{found[1]}`"


# -- Command line ---------------------------------------------------------------------------


def _commands() -> Iterator[str]:
    yield from _command(cli, ("interlingua",), None)


def _command(
    command: click.Command, names: tuple[str, ...], parent: click.Context | None
) -> Iterator[str]:
    context = command.make_context(
        names[-1], [], parent=parent, resilient_parsing=True, max_content_width=88
    )
    yield f"{'#' * (len(names) + 1)} {' '.join(names)}"
    yield ""
    yield "```text"
    yield command.get_help(context).rstrip()
    yield "```"
    yield ""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if (child := command.get_command(context, name)) and not child.hidden:
                yield from _command(child, (*names, name), context)


BLOCKS: dict[str, Callable[[], Iterator[str]]] = {
    "settings": _configuration,
    "capabilities": _capabilities,
    "constants": _constants,
    "error_bodies": _error_bodies,
    "errors": _errors,
    "headers": _headers,
    "models": _models,
    "providers": _providers,
    "parameters": _parameters,
    "families": _families,
    "family_parameters": _family_parameters,
    "routes": _routes,
    "commands": _commands,
}

if __name__ == "__main__":
    for path, text in pages().items():
        if path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            print(f"wrote {path.relative_to(DOCS.parent)}")
