"""Instructions to a model without a role for them, and parameters that it doesn't take."""

import pytest

from interlingua.errors import ParameterNotSupported
from interlingua.gateway.negotiate import negotiate
from interlingua.gateway.roles import fold_roles
from interlingua.sdk.changes import read_changes
from interlingua.types.chat import (
    AssistantMessage,
    ChatRequest,
    DeveloperMessage,
    ImagePart,
    Message,
    SystemMessage,
    TextPart,
    UserMessage,
)
from interlingua.types.models import Capabilities

TWO = frozenset({"user", "assistant"})
IMAGE = ImagePart(url="data:image/png;base64,AAAA")


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ((SystemMessage("s"), UserMessage("u")), (UserMessage("s\n\nu"),)),
        (
            (SystemMessage("s"), DeveloperMessage("d"), UserMessage((IMAGE,), name="n")),
            (UserMessage((TextPart("s\n\nd"), IMAGE), name="n"),),
        ),
        (
            (UserMessage("u"), SystemMessage("s"), AssistantMessage("a")),
            (UserMessage("u"), UserMessage("s"), AssistantMessage("a")),
        ),
        ((SystemMessage((TextPart("s"),)),), (UserMessage((TextPart("s"),)),)),
        ((UserMessage("u"),), (UserMessage("u"),)),
    ],
)
def test_instructions_go_on_inside_the_next_user_message(
    messages: tuple[Message, ...], told: tuple[Message, ...]
) -> None:
    assert fold_roles(messages, TWO)[0] == told


def test_a_developer_is_a_system_where_there_is_no_other_and_the_reverse() -> None:
    roles = TWO | {"system"}
    assert fold_roles((DeveloperMessage("d"),), roles) == (
        (SystemMessage("d"),),
        (("developer", "system"),),
    )
    roles = TWO | {"developer"}
    assert fold_roles((SystemMessage("s"),), roles)[0] == (DeveloperMessage("s"),)


def test_what_was_folded_is_said_in_the_reply() -> None:
    request = ChatRequest(messages=(SystemMessage("s"), UserMessage("u")))
    request, changes = negotiate(request, Capabilities(roles=TWO, passes_through=True), "error")
    assert request.messages == (UserMessage("s\n\nu"),)
    assert changes.header() == 'folded=("system";to="user")'
    read = read_changes(changes.header())
    assert read
    assert read.folded == (("system", "user"),)


REFUSES = Capabilities(
    passes_through=True,
    refuses=frozenset({"temperature", "logprobs", "n", "max_tokens", "verbosity"}),
    renames={"max_tokens": "max_completion_tokens"},
)


def ask(**fields: object) -> ChatRequest:
    return ChatRequest(messages=(UserMessage("u"),), **fields)  # type: ignore[arg-type]  # a test's choice


def test_what_a_model_does_not_take_is_refused_by_name() -> None:
    with pytest.raises(ParameterNotSupported, match="'temperature'") as caught:
        negotiate(ask(temperature=0.2), REFUSES, "pass-through")
    assert caught.value.location == ("body", "temperature")
    with pytest.raises(ParameterNotSupported, match="'verbosity'"):
        negotiate(ask(extra={"verbosity": "low"}), REFUSES, "pass-through")


def test_what_asks_for_nothing_is_not_sent_to_it() -> None:
    request, changes = negotiate(ask(temperature=1, logprobs=False, n=1), REFUSES, "error")
    assert (request.temperature, request.logprobs, request.n) == (None, None, None)
    assert changes.header() is None


def test_a_refused_name_that_has_another_is_renamed() -> None:
    _, changes = negotiate(ask(max_tokens=5), REFUSES, "error")
    assert changes.renamed == (("max_tokens", "max_completion_tokens"),)
