"""From messages to a prompt, by the model's own template, without forged turns.

A control token that stands in a caller's text would end the turn and begin another one. So
texts that hold one go through the template as placeholders, and are then put in as the
plain tokens of their letters; the prompt is then a list of ids instead of a text.
"""

import json
import re
import secrets
from collections.abc import Iterable, Sequence

import msgspec

from interlingua.types.chat import (
    AssistantMessage,
    Content,
    Message,
    SystemMessage,
    TextPart,
    Tool,
    ToolMessage,
)
from interlingua.types.chat import DeveloperMessage as Developer

from . import tools as calls
from .llamacpp_client import LlamaServer
from .llamacpp_wire import EnginePrompt
from .thinking import OPEN

_Wire = dict[str, object]
_Trie = dict[str, "_Trie"]


class Prompt(msgspec.Struct, frozen=True):
    """A prompt, and whether it ends inside ``<think>``."""

    tokens: EnginePrompt
    opened: bool


class Prompter:
    """Makes the prompts of one model."""

    def __init__(
        self, server: LlamaServer, *, template: str | None, control_tokens: Iterable[str]
    ) -> None:
        self._server = server
        self._control = control_pattern(control_tokens)
        self._knows_tools = (
            template is not None and calls.MARKER in template and "tools" in template
        )

    async def prompt(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Prompt:
        """The prompt at whose end the model answers.

        Raises:
            InvalidValue: the template refuses the messages.
        """
        native = self._knows_tools and not self._holds_control(_tool_texts(messages, tools))
        wire = native_messages(messages) if native else plain_messages(messages, tools)
        hidden = self._hide(wire)
        text = await self._server.render(wire, calls.declared(tools) if native else ())
        opened = text.rstrip().endswith(OPEN)
        if not hidden:
            return Prompt(text, opened)
        return Prompt(await self._with_hidden(text, hidden), opened)

    async def extended(self, prompt: EnginePrompt, said: str, then: str) -> EnginePrompt:
        """The prompt, with what the model said to it, and with a text of ours."""
        if isinstance(prompt, str):
            if not self._holds_control(said):
                return prompt + said + then
            prompt = await self._server.tokenize(prompt, control=True, begin=True)
        more = await self._server.tokenize(said, control=False) if said else []
        return prompt + more + await self._server.tokenize(then, control=True)

    def _holds_control(self, text: str) -> bool:
        return self._control is not None and self._control.search(text) is not None

    def _hide(self, wire: Sequence[_Wire]) -> dict[str, str]:
        """Put placeholders where a text holds a control token."""
        hidden: dict[str, str] = {}
        for message in wire:
            content = message.get("content")
            if isinstance(content, str) and self._holds_control(content):
                placeholder = f"@{secrets.token_hex(12)}@"
                hidden[placeholder] = content
                message["content"] = placeholder
        return hidden

    async def _with_hidden(self, text: str, hidden: dict[str, str]) -> list[int]:
        found: list[int] = []
        pieces = re.split("(" + "|".join(map(re.escape, hidden)) + ")", text)
        for i, piece in enumerate(pieces):
            if piece in hidden:
                found += await self._server.tokenize(hidden[piece], control=False)
            elif piece:
                found += await self._server.tokenize(piece, control=True, begin=i == 0)
        return found


def native_messages(messages: Sequence[Message]) -> list[_Wire]:
    """The messages for a template that knows tools."""
    return [_native(message) for message in messages]


def plain_messages(messages: Sequence[Message], tools: Sequence[Tool]) -> list[_Wire]:
    """The messages for a template that knows no tools: everything as text.

    A tool's result becomes a message of the user. Such messages in a row are joined, since
    many templates insist on turns.
    """
    found: list[_Wire] = []
    if tools:
        found.append({"role": "system", "content": calls.instruction(tools)})
    joins = False
    for message in messages:
        role, content = _plain(message)
        is_result = isinstance(message, ToolMessage)
        if found and (
            (found[-1]["role"] == role == "user" and (joins or is_result))
            or (tools and len(found) == 1 and role == "system")
        ):
            before = found[-1]["content"]
            # The caller's system message comes first, the functions after it.
            joined = (content, before) if role == "system" else (before, content)
            found[-1] = {"role": role, "content": "\n\n".join(map(str, joined))}
        else:
            found.append({"role": role, "content": content})
        joins = is_result
    return found


def text_of(content: Content | None) -> str:
    """The text of a content; its parts in a row. Other parts never get here."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text for part in content if isinstance(part, TextPart))


def control_pattern(tokens: Iterable[str]) -> re.Pattern[str] | None:
    """What finds any of the tokens in one pass over a text, however many there are."""
    root: _Trie = {}
    for token in tokens:
        node = root
        for character in token:
            node = node.setdefault(character, {})
        if token:
            node[""] = {}
    return re.compile(_branches(root)) if root else None


def _branches(node: _Trie) -> str:
    if "" in node:
        return ""  # the shortest token is enough
    parts = [re.escape(character) + _branches(rest) for character, rest in node.items()]
    return parts[0] if len(parts) == 1 else "(?:" + "|".join(parts) + ")"


def _tool_texts(messages: Sequence[Message], tools: Sequence[Tool]) -> str:
    """Everything that a template with tools puts in besides contents."""
    made = [
        (call.name, call.arguments)
        for message in messages
        if isinstance(message, AssistantMessage)
        for call in message.tool_calls
    ]
    return json.dumps([made, calls.declared(tools)], ensure_ascii=False)


def _native(message: Message) -> _Wire:
    role, content = _role(message), text_of(message.content)
    found: _Wire = {"role": role, "content": content}
    if isinstance(message, AssistantMessage) and message.tool_calls:
        found["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if isinstance(message, ToolMessage) and message.tool_call_id is not None:
        found["tool_call_id"] = message.tool_call_id
    return found


def _plain(message: Message) -> tuple[str, str]:
    content = text_of(message.content)
    if isinstance(message, ToolMessage):
        return "user", calls.answered(content)
    if isinstance(message, AssistantMessage) and message.tool_calls:
        written = calls.written(message.tool_calls)
        return "assistant", f"{content}\n{written}" if content else written
    return _role(message), content


def _role(message: Message) -> str:
    if isinstance(message, SystemMessage | Developer):
        return "system"
    if isinstance(message, AssistantMessage):
        return "assistant"
    return "tool" if isinstance(message, ToolMessage) else "user"
