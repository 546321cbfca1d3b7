"""What Mistral's wire has besides OpenAI's: golden requests, replies and failures."""

import json

from msgspec.structs import replace

from interlingua.dialects.base import Target
from interlingua.dialects.mistral import MistralDialect
from interlingua.errors import ExtraForbidden
from interlingua.types.chat import (
    AssistantMessage,
    ChatRequest,
    DeveloperMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from interlingua.types.embeddings import EmbeddingsRequest
from interlingua.types.usage import Usage

from .wires import golden

MISTRAL = MistralDialect()
TARGET = Target(model="mistral-large-latest", renames=MistralDialect.CAPABILITIES.renames or {})


def test_messages_hold_only_what_it_knows() -> None:
    """The id of its own call stays, one of another provider's becomes nine letters."""
    calls = (
        ToolCall(id="D681PevKs", name="get_weather", arguments='{"city":"Rome"}'),
        ToolCall(id="call_2", name="now", arguments="{}"),
    )
    request = ChatRequest(
        messages=(
            DeveloperMessage("You are brief."),
            UserMessage("What is the weather in Rome?", "me"),
            AssistantMessage(tool_calls=calls, reasoning="Hm", name="it"),
            ToolMessage("24 degrees", "D681PevKs"),
            ToolMessage("noon", "call_2"),
            AssistantMessage("It is"),
        ),
        max_tokens=256,
        limit_name="max_completion_tokens",
        seed=7,
        stream=True,
        extra={"safe_prompt": True},
    )
    written = json.loads(MISTRAL.write_chat_call(request, TARGET).body)
    assert written == json.loads(golden("mistral_chat_request.json"))
    plain = (SystemMessage("You are brief."), ToolMessage("24"), UserMessage("Hi"))
    asked = replace(request, messages=plain)
    assert json.loads(MISTRAL.write_chat_call(asked, TARGET).body)["messages"] == [
        {"role": "system", "content": "You are brief."},
        {"role": "tool", "content": "24"},
        {"role": "user", "content": "Hi"},
    ]


def test_thoughts_inside_the_content_are_reasoning() -> None:
    reply = golden("mistral_thinking_reply.json")
    whole = MISTRAL.read_chat(reply)
    assert (whole.choices[0].reasoning, whole.choices[0].text) == ("Let me count.", "Three.")
    assert whole.usage == Usage(16, 34)
    chunk = json.loads(reply)
    chunk["choices"][0]["delta"] = chunk["choices"][0].pop("message")
    (delta,) = MISTRAL.chat_reader().read(json.dumps(chunk).encode())
    assert (delta.reasoning, delta.text) == ("Let me count.", "Three.")


def test_a_forbidden_name_is_told_as_one() -> None:
    error = MISTRAL.read_error(422, {}, golden("mistral_error_extra_forbidden.json"))
    assert isinstance(error, ExtraForbidden)
    assert (error.param, error.value) == ("seed", 7)


def test_dimensions_have_its_name() -> None:
    request = EmbeddingsRequest(inputs=("x = 1",), dimensions=512)
    call = MISTRAL.write_embeddings_call(request, Target(model="codestral-embed"))
    assert json.loads(call.body) == json.loads(golden("mistral_embeddings_request.json"))
    plain = MISTRAL.write_embeddings_call(replace(request, dimensions=None), TARGET)
    assert "output_dimension" not in json.loads(plain.body)
