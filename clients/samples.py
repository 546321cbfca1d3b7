"""The samples of the official Python package: which answers each, and what it must print.

Rules of this file:
- A sample is run as it was published, in a folder with the data files that its comments ask
  for; only environment variables say where the server is.
- That it ends with 0 isn't enough: a sample that finds no server prints so and ends with 0.
- ``scripted`` samples need a skill that the packaged models lack: to choose tools, to see, to
  hear, to take any extra parameter, or to bring a long answer without a limit to its end. A
  scripted upstream stands behind their deployment.
"""

import json
import math
import re
from collections.abc import Callable
from typing import Literal

import msgspec

Check = Callable[[str], None]
Needs = Literal["packaged", "scripted", "entra"]


class Sample(msgspec.Struct, frozen=True):
    """One sample: its file's stem, what it shows, what must stand behind it."""

    name: str
    operation: str
    check: Check
    needs: Needs = "packaged"

    @property
    def file(self) -> str:
        folder = "async_samples/" if self.name.endswith("_async") else ""
        return f"{folder}sample_{self.name}.py"


def says(*patterns: str) -> Check:
    """Each pattern is in what was printed, whatever its case."""

    def check(printed: str) -> None:
        for pattern in patterns:
            assert re.search(pattern, printed, re.IGNORECASE), f"it doesn't say {pattern!r}"

    return check


def usage(printed: str) -> None:
    """The usage that was printed adds up."""
    counts = dict(re.findall(r"'(\w+_tokens)': (\d+)", printed.partition("Token usage: ")[2]))
    assert set(counts) >= {"prompt_tokens", "completion_tokens", "total_tokens"}, "no usage"
    prompt, completion = int(counts["prompt_tokens"]), int(counts["completion_tokens"])
    assert prompt > 0 < completion, f"usage is {counts}"
    assert prompt + completion == int(counts["total_tokens"]), f"usage is {counts}"


def lines(count: int) -> Check:
    """So many answers, each with some words in it."""

    def check(printed: str) -> None:
        said = [line for line in printed.splitlines() if line.strip()]
        assert len(said) >= count, f"{len(said)} lines, not {count}"
        assert all(re.search(r"\w{2}", line) for line in said[:1]), "no words"

    return check


def both(*checks: Check) -> Check:
    def check(printed: str) -> None:
        for one in checks:
            one(printed)

    return check


_VECTOR = re.compile(
    r"data\[(\d+)\](?: decoded)?(?:: length=| \(vector length=)(\d+)\)?[:,] \[(.*), \.\.\., (.*)\]"
)


def vectors(count: int, length: int, first: tuple[float, ...] = ()) -> Check:
    """``count`` vectors of ``length``, finite and different (``first``: their first numbers)."""

    def check(printed: str) -> None:
        found = _VECTOR.findall(printed)
        assert len(found) == count, f"{len(found)} vectors, not {count}"
        assert {int(n) for _, n, _, _ in found} == {length}, f"lengths {[f[1] for f in found]}"
        numbers = [[float(x) for x in (a + ", " + b).split(", ")] for _, _, a, b in found]
        assert all(math.isfinite(x) for vector in numbers for x in vector)
        if first:
            assert [vector[0] for vector in numbers] == list(first), f"they begin {numbers}"
        else:
            assert any(numbers[0]), "nothing but zeros"
            assert len({tuple(vector) for vector in numbers}) == count, "all the same"

    return check


def recipe(printed: str) -> None:
    """A recipe of the sample's own schema."""
    text = printed.partition("json_response_message = ")[2] or printed
    made = json.loads(text)
    assert set(made) == {
        *("title", "servings", "ingredients", "steps", "prep_time", "cooking_time", "notes")
    }, f"it has {sorted(made)}"
    assert isinstance(made["servings"], int)
    assert all(set(item) == {"name", "quantity"} for item in made["ingredients"])
    assert all(isinstance(step["step"], int) for step in made["steps"])


def silent_on_usage(printed: str) -> None:
    """Azure OpenAI's streams tell usage only when asked; this sample doesn't ask."""
    assert "Token usage" not in printed


def spans(printed: str) -> None:
    """The console exporter's spans: two chats with the conventions' attributes, and a tool."""
    decoder = json.JSONDecoder()
    starts = re.finditer(r"^\{", printed, re.MULTILINE)
    found = [decoder.raw_decode(printed, start.start())[0] for start in starts]
    chats = [s for s in found if s["attributes"].get("gen_ai.operation.name") == "chat"]
    assert len(chats) == 2, f"{len(chats)} chat spans"
    for span, reason in zip(chats, ("tool_calls", "stop"), strict=True):
        told = span["attributes"]
        assert told["gen_ai.system"] == "az.ai.inference"
        assert told["gen_ai.response.finish_reasons"] == [reason], told
        assert told["gen_ai.usage.input_tokens"] > 0
        assert told["gen_ai.response.id"]
    (tool,) = (s for s in found if s["name"] == "get_temperature")
    assert tool["attributes"]["requested_city"] == "Seattle"


_MILE = both(says(r"feet|foot|mile"), lines(1))
_FLIGHT = says(
    r"Calling function `get_flight_info` with arguments .*Seattle.*Miami",
    r'Function response = \{"airline": "Delta"',
    r"Model response = The tools said: .*DL123",
)
_WEATHER = says(
    r"Calling function `get_weather` with arguments \{'city': 'Seattle'\}",
    r"Function response = Nice weather",
    r"Calling function `get_temperature`",
    r"Model response = The tools said: Nice weather 75",
)
_INFO = says(
    r"Model name: smollm2\n", r"Model provider name: HuggingFaceTB\n", r"type: chat-completion"
)
_LOADED = both(
    says(r"Created client of type `EmbeddingsClient`", "Embeddings response:"), vectors(3, 384)
)
_BASE64 = both(says(r"encoded \(string length=2048\)"), vectors(3, 384))
_DEFAULTS = vectors(6, 1024, first=(2.0, 2.0, 2.0, 1.0, 1.0, 1.0))
_SEEN_FILE = says(r"An image of \d{4,} characters, detail high")
_SEEN_URL = says(r"An image of \d{2,3} characters, detail high")
_EXTRAS = says(r'Upstream got \{"key1": "value1", "key2": "value2"\}')
_HEARD = says(r"Hola, ¿cómo estás\? \(mp3, \d+ characters\)")
_EXERCISE = both(says("exercise|health"), usage)

SAMPLES = (
    Sample("chat_completions", "chat", both(_MILE, usage)),
    Sample("chat_completions_async", "chat", both(_MILE, usage)),
    Sample("chat_completions_azure_openai", "chat", _MILE),
    Sample("chat_completions_from_input_bytes", "chat", lines(1)),
    Sample("chat_completions_from_input_bytes_async", "chat", lines(1)),
    Sample("chat_completions_from_input_dict", "chat", both(says("feet|foot|mile"), lines(2))),
    Sample("chat_completions_from_input_dict_async", "chat", lines(1)),
    Sample("chat_completions_from_input_dict_with_image_url", "media", _SEEN_URL, "scripted"),
    Sample("chat_completions_from_input_prompt_string", "chat", says("breakfast|check|hotel")),
    Sample("chat_completions_from_input_prompty", "chat", says("breakfast|check|hotel")),
    Sample("chat_completions_streaming", "stream", _EXERCISE),
    Sample("chat_completions_streaming_async", "stream", _EXERCISE),
    Sample(
        "chat_completions_streaming_azure_openai_async",
        "stream",
        both(says("exercise|health"), silent_on_usage),
    ),
    Sample("chat_completions_streaming_with_entra_id_auth", "entra", _EXERCISE, "entra"),
    Sample("chat_completions_streaming_with_tools", "tools", _FLIGHT, "scripted"),
    Sample("chat_completions_with_audio_data", "media", _HEARD, "scripted"),
    Sample("chat_completions_with_azure_monitor_tracing", "tracing", _WEATHER, "scripted"),
    Sample("chat_completions_with_defaults", "chat", both(says("feet|mile"), lines(2))),
    Sample("chat_completions_with_entra_id_auth", "entra", _MILE, "entra"),
    Sample("chat_completions_with_history", "chat", lines(2)),
    Sample("chat_completions_with_image_data", "media", _SEEN_FILE, "scripted"),
    Sample("chat_completions_with_image_url", "media", _SEEN_URL, "scripted"),
    Sample("chat_completions_with_model_extras", "extras", _EXTRAS, "scripted"),
    Sample("chat_completions_with_structured_output", "structured", recipe, "scripted"),
    Sample("chat_completions_with_structured_output_pydantic", "structured", recipe, "scripted"),
    Sample("chat_completions_with_tools", "tools", _FLIGHT, "scripted"),
    Sample("chat_completions_with_tracing", "tracing", both(_WEATHER, spans), "scripted"),
    Sample("embeddings", "embeddings", vectors(3, 384)),
    Sample("embeddings_async", "embeddings", vectors(3, 384)),
    Sample("embeddings_azure_openai", "embeddings", vectors(3, 384)),
    Sample("embeddings_with_base64_encoding", "embeddings", _BASE64),
    Sample("embeddings_with_defaults", "embeddings", _DEFAULTS, "scripted"),
    Sample("get_model_info", "info", _INFO),
    Sample("image_embeddings", "images", vectors(1, 1280)),
    Sample("image_embeddings_async", "images", vectors(1, 1280)),
    Sample(
        "image_embeddings_with_defaults", "images", vectors(2, 16, first=(2.0, 1.0)), "scripted"
    ),
    Sample(
        "load_client",
        "info",
        both(says("Created client of type `ChatCompletionsClient`"), _MILE),
    ),
    Sample("load_client_async", "info", _LOADED),
)
