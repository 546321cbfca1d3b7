"""The OpenAPI document of the server, made of the tables that the server itself goes by.

Paths, methods and who needs a key come from ``server/routes.py``; bodies from the structs that
dialects decode and write (``schemas.py``); statuses and codes from ``errors.py``; headers from
``headers.py``; only names and summaries are ``words.py``'s own.

It is written into ``server/openapi.json`` by ``make docs``, and a test holds that it is current:
so what changes on the wire is seen in review, generators read the same file without a server,
and a server only reads it.
"""

import json
import re
from collections.abc import Iterable, Iterator

from interlingua import errors, headers
from interlingua.dialects.azure import REASONING_SINCE
from interlingua.dialects.chat_reply import ChatReply
from interlingua.dialects.chat_stream import ChatChunk
from interlingua.dialects.chat_wire import ChatBody, OpenAIChatBody
from interlingua.dialects.completions_wire import (
    CompletionBody,
    CompletionReply,
    OpenAICompletionBody,
)
from interlingua.dialects.embeddings_wire import (
    EmbeddingsBody,
    EmbeddingsReply,
    ImageEmbeddingsBody,
)
from interlingua.dialects.error_wire import (
    AzureError,
    AzureErrorEvent,
    OpenAIError,
    OpenAIErrorEvent,
)
from interlingua.dialects.info_wire import InfoReply
from interlingua.errors import ApiError
from interlingua.server import ops
from interlingua.server.routes import DialectName, Resource, Row, table
from interlingua.types.models import Operation

from . import samples, words
from .schemas import Schema, Schemas

_BODIES: dict[tuple[Operation, DialectName], object] = {
    ("chat_completions", "azure"): ChatBody,
    ("chat_completions", "openai"): OpenAIChatBody,
    ("completions", "azure"): CompletionBody,
    ("completions", "openai"): OpenAICompletionBody,
    ("embeddings", "azure"): EmbeddingsBody,
    ("embeddings", "openai"): EmbeddingsBody,
    ("image_embeddings", "azure"): ImageEmbeddingsBody,
    ("image_embeddings", "openai"): ImageEmbeddingsBody,
}
_REPLIES: dict[Operation | Resource, object] = {
    "chat_completions": ChatReply,
    "completions": CompletionReply,
    "embeddings": EmbeddingsReply,
    "image_embeddings": EmbeddingsReply,
    "info": InfoReply,
    "catalog": list[ops.CatalogModel],
    "models": ops.ModelList,
    "model": ops.Model,
    "live": ops.Health,
    "ready": ops.Health,
}
#: The data of a stream's events.
_CHUNKS: dict[Operation, object] = {
    "chat_completions": ChatChunk,
    "completions": CompletionReply,
}
_ERRORS: dict[DialectName, tuple[object, object]] = {
    "azure": (AzureError, AzureErrorEvent),
    "openai": (OpenAIError, OpenAIErrorEvent),
}
#: What a GET can meet besides what every path with a key can.
_MEETS: dict[Operation | Resource, tuple[type[ApiError], ...]] = {
    "info": (errors.CallerError, errors.NotFound),
    "model": (errors.NotFound,),
}
_COLUMNS = 100
_WITH_KEY: tuple[type[ApiError], ...] = (
    errors.Unauthorized,
    errors.Forbidden,
    errors.InternalError,
    errors.Unavailable,
)


def document() -> Schema:
    """The whole of it, but for the version and the address, which a running server knows."""
    return _Document().whole()


def text() -> str:
    """The document as ``openapi.json`` holds it, at most 100 columns wide where that can be."""
    return _text(document(), "") + "\n"


def _text(value: object, indent: str) -> str:
    line = json.dumps(value, ensure_ascii=False)
    inner = indent + "  "
    if not value or not isinstance(value, dict | list) or len(indent + line) < _COLUMNS:
        return line
    if isinstance(value, dict):
        parts = [f"{json.dumps(name)}: {_text(part, inner)}" for name, part in value.items()]
        begin, end = "{}"
    else:
        parts = [_text(part, inner) for part in value]
        begin, end = "[]"
    return f"{begin}\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}{end}"


def errors_of(row: Row) -> set[int]:
    """The statuses of the errors that a call of this row can meet."""
    if row.public:
        return set()
    if row.method == "POST":
        # 405 is the answer to another method, which has no operation.
        return {kind.status for kind in errors.kinds()} - {errors.MethodNotAllowed.status}
    met = (*_WITH_KEY, *_MEETS.get(row.operation or row.resource, ()))
    return {kind.status for kind in met}


class _Document:
    def __init__(self) -> None:
        self._schemas = Schemas()
        self._responses: dict[str, Schema] = {}

    def whole(self) -> Schema:
        paths: dict[str, Schema] = {}
        for path, row, others in _once(table()):
            paths[path] = {row.method.lower(): self._operation(path, row, others)}
        return {
            "openapi": "3.1.0",
            "info": {
                "title": words.TITLE,
                "version": "0",
                "summary": words.SUMMARY,
                "description": words.DESCRIPTION,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "security": [{"apiKey": []}, {"bearer": []}],
            "tags": [
                {"name": tag} | ({"description": said} if said else {})
                for tag, said in words.TAGS.items()
            ],
            "paths": paths,
            "components": {
                "securitySchemes": _credentials(),
                "parameters": {_component(h.name): _parameter(h) for h in headers.REQUEST}
                | {"ApiVersion": _api_version()},
                "headers": {_component(h.name): self._header(h) for h in _documented()},
                "responses": dict(sorted(self._responses.items())),
                "schemas": self._schemas.components,
            },
        }

    def _operation(self, path: str, row: Row, others: list[str]) -> Schema:
        said = words.OPERATIONS[row.operation] if row.operation else words.RESOURCES[row.resource]
        openai = row.operation is not None and row.dialect == "openai"
        operation: Schema = {
            "operationId": said.id + ("OpenAI" if openai else ""),
            "summary": said.summary,
            "description": said.description + (words.OPENAI if openai else ""),
            "tags": ["OpenAI" if openai else said.tag],
        }
        if others:
            operation["x-also-at"] = others
        if row.public:
            operation["security"] = []
        if parameters := list(_parameters(path, row)):
            operation["parameters"] = parameters
        if row.operation in words.EXAMPLES:
            operation["requestBody"] = self._body(row.operation, row.dialect)
        operation["responses"] = self._replies(row)
        return operation

    def _body(self, operation: Operation, dialect: DialectName) -> Schema:
        content = {
            "schema": self._schemas.asked(_BODIES[operation, dialect]),
            "examples": {
                _component(summary): {"summary": summary, "value": value}
                for summary, value in words.EXAMPLES[operation].items()
            },
        }
        return {"required": True, "content": {"application/json": content}}

    def _replies(self, row: Row) -> Schema:
        replies: Schema = {"200": self._answer(row)}
        if row.resource == "ready":
            replies["503"] = self._answer(row) | {"description": "Not yet, or no longer."}
        for status in sorted(errors_of(row)):
            replies[str(status)] = self._error(status, row.dialect)
        return replies

    def _answer(self, row: Row) -> Schema:
        stated = [h for h in headers.REPLY if h.where == "every"]
        content: Schema = {}
        if row.resource == "metrics":
            content["text/plain"] = {"schema": {"type": "string"}}
        elif row.resource == "healthy":
            content["application/json"] = {"schema": {"const": "healthy"}}
        else:
            kind = _REPLIES[row.operation or row.resource]
            content["application/json"] = {"schema": self._schemas.written(kind)}
        if row.operation is not None:
            content["application/json"]["example"] = samples.answer(row.operation, row.dialect)
        if row.operation is not None and row.operation != "info":
            stated += [h for h in headers.REPLY if h.where == "answer"]
        if row.operation in _CHUNKS:
            stated += [h for h in headers.REPLY if h.where == "stream"]
            content["text/event-stream"] = {"schema": self._events(row.operation, row.dialect)}
        return {"description": "The answer.", "headers": _referred(stated), "content": content}

    def _events(self, operation: Operation, dialect: DialectName) -> Schema:
        """One event: a chunk, or what ends a stream, or what ends one that failed."""
        kinds = (_CHUNKS[operation], _ERRORS[dialect][1])
        data = [
            {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": self._schemas.written(kind),
            }
            for kind in kinds
        ]
        return {
            "type": "object",
            "description": "One event: a chunk, at last [DONE]. A stream that fails has an error "
            "instead, and is broken off.",
            "properties": {"data": {"anyOf": [{"const": "[DONE]"}, *data]}},
            "required": ["data"],
        }

    def _error(self, status: int, dialect: DialectName) -> Schema:
        name = f"{'OpenAI' if dialect == 'openai' else ''}Error{status}"
        if name not in self._responses:
            stated = [
                header
                for header in headers.REPLY
                if header.where == "every"
                or (header.where == "error" and (not header.statuses or status in header.statuses))
            ]
            schema = self._schemas.written(_ERRORS[dialect][0])
            self._responses[name] = {
                "description": _meanings(k for k in errors.kinds() if k.status == status),
                "headers": _referred(stated),
                "content": {"application/json": {"schema": schema}},
            }
        return {"$ref": f"#/components/responses/{name}"}

    def _header(self, header: headers.ReplyHeader) -> Schema:
        schema = self._schemas.written(header.values)
        # Whether an answer is a stream is the caller's choice, which a document can't say.
        always = header.always and header.where != "stream"
        return {"description": header.meaning, "required": always, "schema": schema}


def _once(rows: Iterable[tuple[str, Row]]) -> Iterator[tuple[str, Row, list[str]]]:
    """Each row once for each dialect, at its plainest path, with its other paths. Operations
    come first.
    """
    found: dict[tuple[Resource, Operation | None, DialectName], list[tuple[str, Row]]] = {}
    for path, row in rows:
        if not row.documentation:
            found.setdefault((row.resource, row.operation, row.dialect), []).append((path, row))
    for same in sorted(found.values(), key=lambda rows: rows[0][1].operation is None):
        path, row = min(same, key=lambda each: (each[0].count("{"), len(each[0])))
        yield path, row, [other for other, _ in same if other != path]


def _meanings(kinds: Iterable[type[ApiError]]) -> str:
    said: dict[str, list[str]] = {}
    for kind in kinds:
        said.setdefault(kind.code, []).append(errors.meaning(kind))
    return " ".join(f"`{code}`: {' '.join(dict.fromkeys(m))}" for code, m in said.items())


def _parameters(path: str, row: Row) -> Iterator[Schema]:
    for name in re.findall(r"{(\w+)}", path):
        schema: Schema = {"type": "string"}
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": words.PATHS[name],
            "schema": schema,
        }
    if row.operation == "info":
        yield {
            "name": "model",
            "in": "query",
            "description": "A deployment's name or alias. Without it: the first deployment.",
            "schema": {"type": "string"},
        }
    if row.operation is not None and row.dialect == "azure":
        yield {"$ref": "#/components/parameters/ApiVersion"}
    for header in headers.REQUEST if row.operation is not None else ():
        yield {"$ref": f"#/components/parameters/{_component(header.name)}"}


def _parameter(header: headers.RequestHeader) -> Schema:
    return {
        "name": header.name,
        "in": "header",
        "description": header.meaning,
        "schema": Schemas().asked(header.values),
    }


def _api_version() -> Schema:
    return {
        "name": "api-version",
        "in": "query",
        "description": f"Any, or none; of several the first counts. From {REASONING_SINCE} on, "
        "reasoning comes as reasoning_content; before, as <think> within content.",
        "schema": {"type": "string"},
    }


def _credentials() -> Schema:
    key, bearer = headers.CREDENTIALS
    return {
        "apiKey": {"type": "apiKey", "in": "header", "name": key.name, "description": key.meaning},
        "bearer": {"type": "http", "scheme": "bearer", "description": bearer.meaning},
    }


def _documented() -> list[headers.ReplyHeader]:
    """All but those of statuses that no operation has."""
    return [header for header in headers.REPLY if header is not headers.ALLOW]


def _referred(stated: Iterable[headers.ReplyHeader]) -> Schema:
    return {h.name: {"$ref": f"#/components/headers/{_component(h.name)}"} for h in stated}


def _component(name: str) -> str:
    return "".join(word.capitalize() for word in re.split(r"\W+", name))
