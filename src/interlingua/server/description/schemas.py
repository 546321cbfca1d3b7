"""JSON schemas of the structs that requests are decoded with and replies written from.

Rules of this file:
- What a request may be is what msgspec takes: types, ranges, lengths, patterns. What a reply
  has is what msgspec writes: all but what may be unset.
- A struct in ``NAMES`` is a component of that name; any other stands where it is used.

msgspec's own ``schema_components`` can't say a default that is raw JSON, gives every struct a
component, and says of a written field that it may be missing as soon as it has a default.
"""

import builtins
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

import msgspec
from msgspec import UnsetType, inspect

Schema = dict[str, Any]

#: By module and name, what a struct is called in the document.
NAMES = {
    "chat_wire.ChatBody": "ChatRequest",
    "chat_wire.OpenAIChatBody": "OpenAIChatRequest",
    "chat_wire._Tool": "Tool",
    "completions_wire.CompletionBody": "CompletionRequest",
    "completions_wire.OpenAICompletionBody": "OpenAICompletionRequest",
    "embeddings_wire.EmbeddingsBody": "EmbeddingsRequest",
    "embeddings_wire.ImageEmbeddingsBody": "ImageEmbeddingsRequest",
    "messages_wire._System": "SystemMessage",
    "messages_wire._Developer": "DeveloperMessage",
    "messages_wire._User": "UserMessage",
    "messages_wire._Assistant": "AssistantMessage",
    "messages_wire._Tool": "ToolMessage",
    "messages_wire.ToolCallWire": "ToolCall",
    "chat_reply.ChatReply": "ChatCompletion",
    "chat_stream.ChatChunk": "ChatCompletionChunk",
    "chat_stream._Call": "ToolCallPiece",
    "completions_wire.CompletionReply": "Completion",
    "completions_wire._Logprobs": "CompletionLogprobs",
    "embeddings_wire.EmbeddingsReply": "Embeddings",
    "reply_wire.UsageOut": "Usage",
    "reply_wire.LogprobsOut": "ChatLogprobs",
    "info_wire.InfoReply": "ModelInfo",
    "error_wire.AzureError": "Error",
    "error_wire.AzureErrorEvent": "ErrorEvent",
    "error_wire.OpenAIError": "OpenAIError",
    "error_wire.OpenAIErrorEvent": "OpenAIErrorEvent",
    "ops.ModelList": "ModelList",
    "ops.Model": "Model",
    "ops.CatalogModel": "CatalogModel",
    "ops.Health": "Health",
}
#: Unions with a name of their own, by module and what tells their structs apart.
UNIONS = {
    ("messages_wire", "role"): "Message",
    ("messages_wire", "type"): "ContentPart",
    ("chat_wire", "type"): "ResponseFormat",
}
_INT64 = (-(2**63), 2**63 - 1)


class Schemas:
    """Collects components. Not safe to share."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def asked(self, kind: object) -> Schema:
        """What a caller may send."""
        return _Reader(self.components, written=False).of(inspect.type_info(kind))

    def written(self, kind: object) -> Schema:
        """What the server sends."""
        return _Reader(self.components, written=True).of(inspect.type_info(kind))


class _Reader:
    def __init__(self, components: dict[str, Schema], *, written: bool) -> None:
        self._components = components
        self._written = written

    def of(self, node: inspect.Type) -> Schema:
        match node:
            case inspect.Metadata(type=inner, extra_json_schema=stated):
                return _stated(self.of(inner), stated or {})
            case inspect.UnionType(types=options):
                return self._union(options)
            case inspect.StructType():
                return self._struct(node)
            case inspect.ListType() | inspect.VarTupleType():
                items = {"type": "array", "items": self.of(node.item_type)}
                return items | _bounds(minItems=node.min_length, maxItems=node.max_length)
            case inspect.DictType():
                values = self.of(node.value_type)
                schema: Schema = {"type": "object"}
                if values:
                    schema["additionalProperties"] = values
                return schema | _bounds(maxProperties=node.max_length)
            case _:
                return _scalar(node)

    def _union(self, options: tuple[inspect.Type, ...]) -> Schema:
        structs = [option for option in options if isinstance(option, inspect.StructType)]
        others = [self.of(option) for option in options if option not in structs]
        if len(structs) > 1:
            others.insert(0, self._tagged(structs))
        elif structs:
            others.insert(0, self._struct(structs[0]))
        null = {"type": "null"}
        stated = [other for other in others if other != null]
        if len(stated) == 1 and null in others and isinstance(stated[0].get("type"), str):
            only = stated[0]
            if "enum" in only:
                only = only | {"enum": [*only["enum"], None]}
            return only | {"type": [only["type"], "null"]}
        return others[0] if len(others) == 1 else {"oneOf": others}

    def _tagged(self, structs: list[inspect.StructType]) -> Schema:
        field = structs[0].tag_field
        module = structs[0].cls.__module__.rpartition(".")[2]
        options = [self._struct(struct) for struct in structs]
        union: Schema = {"oneOf": options}
        if all("$ref" in option for option in options):
            mapping = {str(s.tag): o["$ref"] for s, o in zip(structs, options, strict=True)}
            union["discriminator"] = {"propertyName": field, "mapping": mapping}
        return self._component(UNIONS.get((module, str(field))), union)

    def _struct(self, struct: inspect.StructType) -> Schema:
        kind = struct.cls
        name = NAMES.get(f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}")
        schema: Schema = {"type": "object"}
        said = " ".join((kind.__doc__ or "").partition("\n\n")[0].split()).replace("``", "`")
        if name is not None and said:
            schema["description"] = said
        properties: Schema = {}
        required = []
        if struct.tag_field is not None:
            properties[struct.tag_field] = {"const": struct.tag}
            required.append(struct.tag_field)
        for field in sorted(struct.fields, key=lambda f: not (f.required or self._written)):
            properties[field.encode_name] = self.of(field.type)
            if self._is_there(kind, field):
                required.append(field.encode_name)
        schema["properties"] = properties
        if required:
            schema["required"] = required
        return self._component(name, schema)

    def _is_there(self, kind: type[msgspec.Struct], field: inspect.Field) -> bool:
        if not self._written:
            return field.required
        if kind.__struct_config__.omit_defaults and not field.required:
            return False
        return UnsetType not in get_args(get_type_hints(kind)[field.name])

    def _component(self, name: str | None, schema: Schema) -> Schema:
        if name is None:
            return schema
        known = self._components.setdefault(name, schema)
        if known != schema:
            raise ValueError(f"{name} is not the same to read and to write: it needs two names.")
        return {"$ref": f"#/components/schemas/{name}"}


def _scalar(node: inspect.Type) -> Schema:
    schema: Schema = {}
    match node:
        case inspect.NoneType():
            schema = {"type": "null"}
        case inspect.BoolType():
            schema = {"type": "boolean"}
        case inspect.IntType(ge=low, le=high) if (low, high) == _INT64:
            schema = {"type": "integer", "format": "int64"}
        case inspect.IntType() | inspect.FloatType():
            schema = {"type": "integer" if isinstance(node, inspect.IntType) else "number"}
            schema |= _bounds(minimum=node.ge, exclusiveMinimum=node.gt, maximum=node.le)
        case inspect.StrType():
            schema = {"type": "string"} | _bounds(minLength=node.min_length, pattern=node.pattern)
        case inspect.LiteralType(values=(only,)):
            schema = {"const": only}
        case inspect.LiteralType(values=values):
            schema = {"type": "string", "enum": list(values)}
        case inspect.BytesType():
            schema = {"type": "string", "contentEncoding": "base64"}
        case inspect.AnyType() | inspect.RawType() | inspect.CustomType(cls=builtins.object):
            pass
        case _:
            raise TypeError(f"Nothing is known of the schema of {node!r}.")
    return schema


def _bounds(**stated: object) -> Schema:
    return {name: value for name, value in stated.items() if value is not None}


def _stated(schema: Schema, more: Mapping[str, object]) -> Schema:
    """With what the code says besides; a shape of its own replaces the type's."""
    if "oneOf" in more:
        return dict(more)
    return schema | dict(more)
