"""Extra parameters that become known ones."""

import pytest

from interlingua.errors import ExtraForbidden, InvalidValue
from interlingua.types.chat import ChatRequest, UserMessage
from interlingua.types.completions import CompletionRequest
from interlingua.types.embeddings import EmbeddingsRequest
from interlingua.types.lift import check_lifted, lift

ASK = ChatRequest(messages=(UserMessage("x"),))


@pytest.mark.parametrize(
    ("name", "value", "field", "lifted"),
    [
        ("n", 2, "n", 2),
        ("top_k", 40, "top_k", 40),
        ("min_p", 0.1, "min_p", 0.1),
        ("repetition_penalty", 1.1, "repetition_penalty", 1.1),
        ("logit_bias", {"5": -100}, "logit_bias", {"5": -100.0}),
        ("logprobs", True, "logprobs", True),
        ("top_logprobs", 3, "top_logprobs", 3),
        ("max_completion_tokens", 5, "max_tokens", 5),
        ("max_completion_tokens", None, "max_tokens", None),
        ("stream_options", {"include_usage": True}, "include_usage", True),
        ("stop", "x", "stop", ("x",)),
        ("stop", ["x", "y"], "stop", ("x", "y")),
        ("n", None, "n", None),
    ],
)
def test_a_right_value_is_set_and_leaves_the_extra_ones(
    name: str, value: object, field: str, lifted: object
) -> None:
    request = ChatRequest(messages=ASK.messages, extra={name: value, "other": 1})
    after = lift(request, name, value)
    assert getattr(after, field) == lifted
    assert after.extra == {"other": 1}


def test_user_has_no_field_and_is_only_judged() -> None:
    assert lift(ASK, "user", "someone") == ASK
    assert lift(EmbeddingsRequest(inputs=("x",)), "user", "someone").inputs == ("x",)
    with pytest.raises(InvalidValue, match="user must be a string"):
        lift(ASK, "user", 5)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n", 0, "n must be an integer from 1 to 128, not 0."),
        ("n", "2", 'n must be an integer from 1 to 128, not "2".'),
        ("n", 10**6, "n must be an integer from 1 to 128, not 1000000."),
        ("top_logprobs", 10**6, "top_logprobs must be an integer from 0 to 20, not 1000000."),
        ("logit_bias", {"1": 101}, "Each value in logit_bias must be a number from -100 to 100."),
        ("repetition_penalty", 0, "must be a number above 0 and at most 10, not 0."),
        ("logprobs", 5, "logprobs must be true or false, not 5."),
        ("stop", ["a", ""], r'stop\[1\] must be a non-empty string, not "".'),
    ],
)
def test_a_wrong_value_is_refused_with_what_would_be_right(
    name: str, value: object, message: str
) -> None:
    with pytest.raises(InvalidValue, match=message) as caught:
        lift(ASK, name, value)
    assert caught.value.location[:2] == ("body", name)


def test_logprobs_of_text_completions_is_a_number() -> None:
    request = CompletionRequest(prompts=("x",))
    assert lift(request, "logprobs", 5).logprobs == 5
    with pytest.raises(InvalidValue, match="from 0 to 5"):
        lift(request, "logprobs", 6)


@pytest.mark.parametrize("name", ["grammar", "messages", "extra", "include_usage", "a\r\nb"])
def test_a_name_without_a_field_is_forbidden(name: str) -> None:
    with pytest.raises(ExtraForbidden):
        lift(ASK, name, 1)


def test_two_different_limits_are_refused() -> None:
    request = lift(ASK, "max_tokens", 3)
    assert lift(request, "max_completion_tokens", 3).max_tokens == 3
    with pytest.raises(InvalidValue, match="are the same parameter"):
        lift(request, "max_completion_tokens", 4)


def test_top_logprobs_needs_logprobs() -> None:
    request = lift(ASK, "top_logprobs", 2)
    with pytest.raises(InvalidValue, match="needs logprobs"):
        check_lifted(request)
    check_lifted(lift(request, "logprobs", True))
    check_lifted(EmbeddingsRequest(inputs=("x",)))
