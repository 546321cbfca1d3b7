"""The honest contract: every parameter is honoured, refused, dropped or passed through."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlingua.errors import (
    ApiError,
    CallerError,
    ExtraForbidden,
    InvalidValue,
    ParameterNotSupported,
    UnknownParameters,
)
from interlingua.gateway.negotiate import given as given_parameters
from interlingua.gateway.negotiate import negotiate
from interlingua.types.chat import (
    AudioPart,
    ChatRequest,
    ImagePart,
    JsonObjectFormat,
    JsonSchemaFormat,
    TextFormat,
    TextPart,
    Tool,
    UserMessage,
)
from interlingua.types.completions import CompletionRequest
from interlingua.types.embeddings import EmbeddingsRequest, ImageEmbeddingsRequest, ImageInput
from interlingua.types.models import Capabilities, ExtraParameters

HELLO = (UserMessage(content="Hello"),)

ENGINE = Capabilities(
    parameters=frozenset({"temperature", "max_tokens", "stop", "response_format"}),
    extensions=frozenset({"n", "top_k", "logprobs"}),
    modalities=frozenset({"text"}),
    response_formats=frozenset({"text", "json_object"}),
)
PROVIDER = Capabilities(passes_through=True, modalities=frozenset({"text", "image"}))
EMBEDDER = Capabilities(
    parameters=frozenset({"encoding_format", "input_type", "dimensions"}),
    extensions=frozenset(),
    encoding_formats=frozenset({"float", "base64"}),
    input_types=frozenset({"query"}),
    dimensions=frozenset({2}),
    embedding_length=4,
)
KINDS = {"engine": ENGINE, "provider": PROVIDER, "embedder": EMBEDDER}

#: A value for every parameter, none of them neutral.
CHAT_VALUES: dict[str, Any] = {
    "frequency_penalty": 0.5,
    "presence_penalty": 0.5,
    "temperature": 0.3,
    "top_p": 0.5,
    "max_tokens": 5,
    "stop": ("x",),
    "seed": 7,
    "n": 2,
    "logit_bias": {"1": 2.0},
    "top_k": 3,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "response_format": JsonObjectFormat(),
    "tools": (Tool(name="f"),),
    "tool_choice": "required",
    "modalities": ("text", "audio"),
    "user_security_context": {"a": 1},
    "logprobs": True,
    "top_logprobs": 2,
    "parallel_tool_calls": False,
    "reasoning_effort": "low",
    "audio": {"voice": "x"},
}
COMPLETION_VALUES: dict[str, Any] = {
    name: CHAT_VALUES[name]
    for name in CHAT_VALUES
    if name in CompletionRequest.__struct_fields__ and name != "logprobs"
} | {"echo": True, "suffix": "s", "best_of": 2, "logprobs": 1}
EMBEDDING_VALUES: dict[str, Any] = {
    "dimensions": 2,
    "encoding_format": "base64",
    "input_type": "query",
}


def test_every_known_parameter_has_a_value_here() -> None:
    """A parameter that is added to a request must be added to the property below."""
    for kind, values in (
        (ChatRequest(messages=HELLO), CHAT_VALUES),
        (CompletionRequest(prompts=("a",)), COMPLETION_VALUES),
        (EmbeddingsRequest(inputs=("a",)), EMBEDDING_VALUES),
        (ImageEmbeddingsRequest(inputs=()), EMBEDDING_VALUES),
    ):
        request = msgspec.structs.replace(kind, **values)
        assert {name for name, _ in given_parameters(request)} == set(values)
        assert set(kind.__struct_fields__) - set(values) <= {
            "messages", "prompts", "inputs", "model", "stream", "include_usage", "extra",
            "limit_name",
        }  # fmt: skip


REQUESTS = {
    "chat": (ChatRequest(messages=HELLO), CHAT_VALUES),
    "completion": (CompletionRequest(prompts=("a",)), COMPLETION_VALUES),
    "embeddings": (EmbeddingsRequest(inputs=("a",)), EMBEDDING_VALUES),
    "image embeddings": (
        ImageEmbeddingsRequest(inputs=(ImageInput(image="data:"),)),
        EMBEDDING_VALUES,
    ),
}
CASES = [
    (operation, kind, name)
    for operation, (_, values) in REQUESTS.items()
    for kind in KINDS
    for name in values
]


@pytest.mark.parametrize(("operation", "kind", "name"), CASES)
@pytest.mark.parametrize("policy", [None, "error", "drop", "pass-through"])
def test_a_known_parameter_is_honoured_or_refused_by_name(
    operation: str, kind: str, name: str, policy: ExtraParameters | None
) -> None:
    empty, values = REQUESTS[operation]
    request = msgspec.structs.replace(empty, **{name: values[name]})
    try:
        settled, changes = negotiate(request, KINDS[kind], policy)
    except ParameterNotSupported as refusal:
        assert refusal.status == 422
        assert refusal.location[:2] == ("body", name)
        assert name in refusal.message or name in refusal.param
    else:
        assert getattr(settled, name) == values[name]
        assert changes.header() is None


NAMES = st.one_of(
    st.text(),
    st.sampled_from([*CHAT_VALUES, "foo", "a\r\nb", "safe_mode", "grammar", "cache_prompt"]),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300)
@given(
    st.dictionaries(NAMES, JSON, min_size=1, max_size=5),
    st.sampled_from([*KINDS]),
    st.sampled_from([None, "error", "drop", "pass-through"]),
    st.sampled_from([*REQUESTS]),
)
def test_an_unknown_parameter_ends_in_one_of_four_states(
    extra: dict[str, object], kind: str, policy: ExtraParameters | None, operation: str
) -> None:
    can = KINDS[kind]
    request = msgspec.structs.replace(REQUESTS[operation][0], extra=extra)
    try:
        settled, changes = negotiate(request, can, policy)
    except UnknownParameters as refusal:
        assert policy == "error"
        assert refusal.status == 400
        assert refusal.names == tuple(extra)
    except (ExtraForbidden, InvalidValue, ParameterNotSupported) as refusal:
        assert policy == "pass-through"
        assert refusal.status == 422
        assert refusal.location[1] in extra
    else:
        dropped = set(changes.dropped)
        passed = set(settled.extra)
        honoured = set(extra) - dropped - passed
        assert not dropped & passed
        assert honoured <= (can.extensions or set())
        assert not dropped or policy in {"drop", None}
        assert not passed or (policy in {"pass-through", None} and can.passes_through)


def test_drop_says_what_was_dropped() -> None:
    request = ChatRequest(messages=HELLO, extra={"foo": 1, "bar": 2})
    settled, changes = negotiate(request, ENGINE, "drop")
    assert settled.extra == {}
    assert changes.header() == 'dropped=("foo" "bar")'


def test_an_engine_honours_what_it_lists_when_it_is_passed_through() -> None:
    request = ChatRequest(messages=HELLO, extra={"n": 2, "top_k": 5})
    settled, changes = negotiate(request, ENGINE, "pass-through")
    assert (settled.n, settled.top_k, settled.extra) == (2, 5, {})
    assert changes.header() is None


def test_a_passed_through_value_is_validated_as_on_the_openai_route() -> None:
    request = ChatRequest(messages=HELLO, extra={"n": 1_000_000})
    with pytest.raises(InvalidValue) as caught:
        negotiate(request, ENGINE, "pass-through")
    assert caught.value.location == ("body", "n")


def test_an_engine_refuses_to_be_passed_what_it_does_not_list() -> None:
    request = ChatRequest(messages=HELLO, extra={"grammar": "root ::= x"})
    with pytest.raises(ExtraForbidden) as caught:
        negotiate(request, ENGINE, "pass-through")
    assert caught.value.location == ("body", "grammar")


def test_a_provider_is_passed_anything() -> None:
    request = ChatRequest(messages=HELLO, extra={"safe_mode": True})
    for policy in ("pass-through", None):
        settled, changes = negotiate(request, PROVIDER, policy)
        assert settled.extra == {"safe_mode": True}
        assert changes.header() is None


@pytest.mark.parametrize("part", [ImagePart(url="data:x"), AudioPart(url="data:x")])
def test_content_that_the_model_cannot_sense_is_refused_by_its_place(part: Any) -> None:
    message = UserMessage(content=(TextPart("look"), part))
    with pytest.raises(ParameterNotSupported) as caught:
        negotiate(ChatRequest(messages=(*HELLO, message)), ENGINE, None)
    assert caught.value.location == ("body", "messages", 1, "content", 1)


def test_a_role_that_the_model_does_not_have_is_refused() -> None:
    can = Capabilities(roles=frozenset({"system"}))
    with pytest.raises(ParameterNotSupported) as caught:
        negotiate(ChatRequest(messages=HELLO), can, None)
    assert caught.value.location == ("body", "messages", 0, "role")


def test_a_value_beyond_what_the_model_takes_is_refused_by_name() -> None:
    can = Capabilities(ranges={"temperature": (0, 1)}, parameters=frozenset({"temperature"}))
    for value in (0, 0.5, 1):
        negotiate(ChatRequest(messages=HELLO, temperature=value), can, "error")
    with pytest.raises(ParameterNotSupported, match="takes temperature from 0 to 1") as caught:
        negotiate(ChatRequest(messages=HELLO, temperature=1.7), can, "drop")
    assert (caught.value.location, caught.value.value) == (("body", "temperature"), 1.7)


def test_a_format_that_the_model_does_not_have_is_refused() -> None:
    request = ChatRequest(messages=HELLO, response_format=JsonSchemaFormat(name="x", schema={}))
    with pytest.raises(ParameterNotSupported) as caught:
        negotiate(request, ENGINE, None)
    assert caught.value.location == ("body", "response_format")
    assert caught.value.value == "json_schema"


NEUTRAL_CHAT: list[tuple[str, Any]] = [
    ("n", 1),
    ("logprobs", False),
    ("logit_bias", {}),
    ("parallel_tool_calls", True),
    ("modalities", ("text",)),
    ("response_format", TextFormat()),
    ("tool_choice", "none"),
]


@pytest.mark.parametrize(("name", "value"), NEUTRAL_CHAT)
def test_a_value_that_asks_for_nothing_is_never_refused(name: str, value: Any) -> None:
    can = Capabilities(parameters=frozenset())
    request = msgspec.structs.replace(ChatRequest(messages=HELLO), **{name: value})
    assert negotiate(request, can, None)[0] == request


@pytest.mark.parametrize(
    ("name", "value"),
    [("dimensions", 3), ("encoding_format", "int8"), ("input_type", "document")],
)
def test_an_embedding_option_that_the_model_does_not_have_is_refused(name: str, value: Any) -> None:
    request = msgspec.structs.replace(EmbeddingsRequest(inputs=("a",)), **{name: value})
    with pytest.raises(ParameterNotSupported) as caught:
        negotiate(request, EMBEDDER, None)
    assert caught.value.location == ("body", name)
    assert caught.value.value == value


def test_the_vectors_own_length_may_always_be_named() -> None:
    fixed = Capabilities(
        parameters=frozenset({"encoding_format"}), embedding_length=4, dimensions=frozenset()
    )
    request = EmbeddingsRequest(inputs=("a",), dimensions=4)
    assert negotiate(request, fixed, None)[0] == request
    assert negotiate(request, EMBEDDER, None)[0] == request


def test_text_beside_an_image_needs_a_joint_model() -> None:
    request = ImageEmbeddingsRequest(inputs=(ImageInput(image="data:"), ImageInput(text="x")))
    with pytest.raises(ParameterNotSupported) as caught:
        negotiate(request, EMBEDDER, None)
    assert caught.value.location == ("body", "input", 1, "text")
    joint = msgspec.structs.replace(EMBEDDER, image_text=True)
    assert negotiate(request, joint, None)[0] == request


def test_refusals_never_repeat_a_long_value() -> None:
    request = ChatRequest(messages=HELLO, reasoning_effort="x" * 1000)
    with pytest.raises(ApiError) as caught:
        negotiate(request, ENGINE, None)
    assert isinstance(caught.value, CallerError)
    assert caught.value.value is None


RENAMING = Capabilities(passes_through=True, renames={"max_tokens": "max_completion_tokens"})


def test_what_the_provider_calls_otherwise_is_told() -> None:
    request = ChatRequest(messages=HELLO, max_tokens=5, temperature=0.5)
    settled, changes = negotiate(request, RENAMING, None)
    assert settled == request
    assert changes.header() == 'renamed=("max_tokens";to="max_completion_tokens")'


def test_a_name_that_the_caller_chose_right_is_no_change() -> None:
    request = ChatRequest(messages=HELLO, max_tokens=5, limit_name="max_completion_tokens")
    assert negotiate(request, RENAMING, None)[1].header() is None
    back = Capabilities(passes_through=True, renames={"max_completion_tokens": "max_tokens"})
    changes = negotiate(request, back, None)[1]
    assert changes.renamed == (("max_completion_tokens", "max_tokens"),)
    assert negotiate(ChatRequest(messages=HELLO, max_tokens=5), back, None)[1].header() is None


def test_a_rename_is_told_only_where_the_parameter_is_given_and_beside_what_was_dropped() -> None:
    assert negotiate(ChatRequest(messages=HELLO), RENAMING, None)[1].header() is None
    request = ChatRequest(messages=HELLO, max_tokens=5, extra={"foo": 1})
    changes = negotiate(request, RENAMING, "drop")[1]
    assert changes.header() == (
        'dropped=("foo"), renamed=("max_tokens";to="max_completion_tokens")'
    )


def test_a_parameter_may_not_be_given_by_both_of_its_names() -> None:
    request = ChatRequest(messages=HELLO, max_tokens=5, extra={"max_completion_tokens": 6})
    with pytest.raises(InvalidValue) as caught:
        negotiate(request, RENAMING, "pass-through")
    assert caught.value.location == ("body", "max_completion_tokens")


def test_names_of_text_completions_stay_as_they_are() -> None:
    request = CompletionRequest(prompts=("a",), max_tokens=5)
    assert negotiate(request, RENAMING, None)[1].header() is None
