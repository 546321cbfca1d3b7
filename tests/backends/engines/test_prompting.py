"""Messages, tools and control tokens on the way to a prompt; the wire's small print."""

import re

import msgspec
import pytest

from interlingua.backends.engines import lark
from interlingua.backends.engines.llamacpp_wire import (
    Chunk,
    Generate,
    logprobs,
    sampling,
    seeded,
)
from interlingua.backends.engines.prompting import (
    control_pattern,
    native_messages,
    plain_messages,
    text_of,
)
from interlingua.backends.engines.tools import read_call, tool_use
from interlingua.errors import InvalidValue, ParameterNotSupported
from interlingua.types.chat import (
    AssistantMessage,
    ChatRequest,
    DeveloperMessage,
    NamedTool,
    SystemMessage,
    TextPart,
    Tool,
    ToolCall,
    ToolMessage,
    UserMessage,
)

CALL = ToolCall(id="call_1", name="f", arguments='{"x": 1}')
TOOL = Tool(name="f", description="does f", parameters={"type": "object"})


def test_control_tokens_are_found_however_many_there_are():
    tokens = [f"<|reserved_{i}|>" for i in range(3000)] + ["<s>", "[INST]", "<|end|>", ""]
    pattern = control_pattern(tokens)
    assert pattern
    for token in tokens[:-1]:
        assert pattern.search(f"a {token} b")
    assert not pattern.search("<" * 100_000)
    assert not pattern.search("<|reserved_3001|>")
    assert control_pattern(()) is None


def test_the_history_of_tools_is_written_as_text_where_the_template_knows_none():
    messages = (
        SystemMessage(content="Be kind."),
        UserMessage(content="go"),
        AssistantMessage(content="ok", tool_calls=(CALL,)),
        ToolMessage(content="42", tool_call_id="call_1"),
        ToolMessage(content="43", tool_call_id="call_2"),
        UserMessage(content="and?"),
        AssistantMessage(tool_calls=(CALL,)),
    )
    wire = plain_messages(messages, (TOOL,))
    assert [message["role"] for message in wire] == [
        "system", "user", "assistant", "user", "assistant",
    ]  # fmt: skip
    system, _, called, results, again = (str(message["content"]) for message in wire)
    assert system.startswith("Be kind.\n\n")
    assert '"name": "f"' in system
    written = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'
    assert called == f"ok\n{written}"
    assert "<tool_response>\n42\n</tool_response>" in results
    assert results.endswith("and?")
    assert again == written


def test_without_tools_messages_stay_as_they_are():
    messages = (
        DeveloperMessage(content="d"),
        UserMessage(content=(TextPart(text="a"), TextPart(text="b"))),
        UserMessage(content="c"),
        AssistantMessage(),
    )
    assert plain_messages(messages, ()) == [
        {"role": "system", "content": "d"},
        {"role": "user", "content": "a\nb"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": ""},
    ]
    assert text_of(None) == ""


def test_a_template_that_knows_tools_gets_them_as_they_are():
    messages = (AssistantMessage(tool_calls=(CALL,)), ToolMessage(content="1", tool_call_id="c"))
    assert native_messages(messages) == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"x": 1}'},
                }
            ],
        },
        {"role": "tool", "content": "1", "tool_call_id": "c"},
    ]


def ask(**fields) -> ChatRequest:
    return ChatRequest(messages=(UserMessage(content="x"),), **fields)


def test_no_tools_are_used_without_any_or_with_none():
    assert tool_use(ask(), lark) is None
    assert tool_use(ask(tools=(TOOL,), tool_choice="none"), lark) is None


def test_a_named_choice_allows_one_function():
    tools = (TOOL, Tool(name="g"))
    both = tool_use(ask(tools=tools), lark)
    one = tool_use(ask(tools=tools, tool_choice=NamedTool("g")), lark)
    assert both
    assert one
    assert not both.forced
    assert one.forced
    assert r"\"f\"" in both.grammar
    assert r"\"f\"" not in one.grammar


def test_a_choice_that_is_not_declared_is_invalid():
    with pytest.raises(InvalidValue, match="'h'") as raised:
        tool_use(ask(tools=(TOOL,), tool_choice=NamedTool("h")), lark)
    assert raised.value.param == "tool_choice"


@pytest.mark.parametrize("parameters", [{"type": "string"}, {"$ref": "http://x"}])
def test_parameters_that_can_not_be_held_are_refused_by_place(parameters):
    tools = (TOOL, Tool(name="g", parameters=parameters))
    with pytest.raises(ParameterNotSupported) as raised:
        tool_use(ask(tools=tools), lark)
    assert raised.value.param == "tools[1].function.parameters"


def test_a_call_is_read_with_its_arguments_as_written():
    call = read_call('{"name": "f", "arguments": {"x" : 1.0}} ')
    assert call
    assert (call.name, call.arguments) == ("f", '{"x" : 1.0}')
    assert re.fullmatch("call_[0-9a-f]{24}", call.id)
    assert read_call('{"name": "f", "argum') is None


@pytest.mark.parametrize("seed", [0, 1, -1, 2**32 - 1, 2**32, 2**63 - 1, -(2**63)])
def test_a_seed_is_folded_without_the_one_that_means_any(seed):
    folded = [seeded(Generate(prompt=""), seed, choice) for choice in (0, 1)]
    assert all(0 <= body.seed < 2**32 - 1 for body in folded if body.seed is not None)
    assert folded[0].seed != folded[1].seed
    assert not folded[0].cache_prompt
    assert folded[0] == seeded(Generate(prompt=""), seed, 0)


def test_without_a_seed_the_prompt_cache_is_used():
    assert seeded(Generate(prompt=""), None, 3) == Generate(prompt="")


def test_only_known_names_go_to_the_engine():
    request = ask(
        temperature=0.5, max_tokens=3, stop=("a", ""), logit_bias={"5": -100.0}, top_k=3,
        frequency_penalty=1, repetition_penalty=1.5, extra={"id_slot": 3, "grammar": "x"},
    )  # fmt: skip
    body = sampling(request, "p", default_max=None)
    assert body.n_predict == 3
    assert body.stop == ("a",)
    assert body.logit_bias == ((5, -100.0),)
    assert body.repeat_penalty == 1.5
    assert body.repeat_last_n == 65536
    assert body.grammar == ""
    assert sampling(ask(), "p", default_max=256).n_predict == 256
    assert sampling(ask(max_tokens=None), "p", default_max=256).n_predict == -1


@pytest.mark.parametrize("key", ["x", "-1", "1.5", "٣", "", "1" * 30])
def test_a_bias_of_something_that_is_no_token_id_is_invalid(key):
    with pytest.raises(InvalidValue) as raised:
        sampling(ask(logit_bias={key: 1.0}), "p", default_max=None)
    assert raised.value.param == "logit_bias"


def test_probabilities_are_finite_and_cut_to_what_was_asked():
    tops = [{"token": "a", "logprob": None}, {"token": "b", "logprob": -3.4e38}]
    data = {"completion_probabilities": [{"token": "a", "logprob": -1, "top_logprobs": tops}]}
    found = logprobs(msgspec.convert(data, Chunk), 1)
    assert found[0].logprob == -1
    assert [top.logprob for top in found[0].top_logprobs] == [-9999.0]
    assert len(logprobs(msgspec.convert(data, Chunk), 5)[0].top_logprobs) == 2
