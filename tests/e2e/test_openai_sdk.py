"""The unmodified OpenAI client, in its v1 and Azure modes, against a real server."""

from collections.abc import Iterator

import openai
import pytest

from .conftest import Server

ASK = [{"role": "user", "content": "Name the capital of France."}]


@pytest.fixture(scope="module", params=["/v1", "/openai/v1", "azure"])
def client(server: Server, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    if request.param == "azure":
        made: openai.OpenAI = openai.AzureOpenAI(
            azure_endpoint=server.url, api_key=server.key, api_version="2024-10-21"
        )
    else:
        made = openai.OpenAI(base_url=server.url + request.param, api_key=server.key)
    with made:
        yield made


def test_chat_and_its_stream_agree(client: openai.OpenAI) -> None:
    options = {"model": "smollm2", "messages": ASK, "max_tokens": 24, "temperature": 0}
    whole = client.chat.completions.create(**options)
    assert "Paris" in whole.choices[0].message.content
    assert whole.id.startswith("chatcmpl-")
    chunks = list(client.chat.completions.create(**options, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert all(chunk.usage is None for chunk in chunks)


def test_usage_in_a_stream_comes_when_asked_for(client: openai.OpenAI) -> None:
    *chunks, last = client.chat.completions.create(
        model="smollm2",
        messages=ASK,
        max_completion_tokens=4,
        stream=True,
        stream_options={"include_usage": True},
    )
    assert last.choices == []
    assert last.usage.completion_tokens == 4
    assert chunks[-1].choices[0].finish_reason == "length"


def test_several_choices_logprobs_and_bias(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="smollm2",
        messages=ASK,
        n=2,
        max_tokens=3,
        logprobs=True,
        top_logprobs=2,
        seed=5,
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.usage.completion_tokens == 6
    (first, *_) = answer.choices[0].logprobs.content
    assert len(first.top_logprobs) == 2
    assert first.logprob <= 0


def test_structured_output_is_parsed(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="smollm2",
        messages=ASK,
        max_tokens=60,
        temperature=0,
        response_format={
            "type": "json_schema",
            "json_schema": {
                "name": "capital",
                "strict": True,
                "schema": {
                    "type": "object",
                    "properties": {"capital": {"enum": ["Paris", "Rome"]}},
                    "required": ["capital"],
                    "additionalProperties": False,
                },
            },
        },
    )
    assert answer.choices[0].message.content.replace(" ", "").replace("\n", "") in {
        '{"capital":"Paris"}',
        '{"capital":"Rome"}',
    }


def test_streamed_tool_calls_make_one_whole_call(client: openai.OpenAI) -> None:
    tool = {
        "type": "function",
        "function": {
            "name": "add",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}},
                "required": ["a"],
            },
        },
    }
    chunks = client.chat.completions.create(
        model="smollm2",
        messages=[{"role": "user", "content": "Add 3"}],
        tools=[tool],
        tool_choice="required",
        max_tokens=100,
        temperature=0,
        stream=True,
    )
    names, arguments, reason = [], "", None
    for chunk in chunks:
        for call in chunk.choices[0].delta.tool_calls or ():
            assert call.index == 0
            names += [call.function.name] if call.function.name else []
            arguments += call.function.arguments or ""
        reason = chunk.choices[0].finish_reason or reason
    assert names == ["add"]
    assert '"a"' in arguments
    assert reason == "tool_calls"


def test_completions_of_texts_and_tokens(client: openai.OpenAI) -> None:
    options = {"model": "smollm2", "max_tokens": 6, "temperature": 0}
    one = client.completions.create(prompt="The capital of France is", **options)
    assert "Paris" in one.choices[0].text
    assert one.object == "text_completion"
    two = client.completions.create(prompt=["The capital of France is", "1, 2, 3,"], **options)
    assert [choice.index for choice in two.choices] == [0, 1]
    assert two.choices[0].text == one.choices[0].text
    assert two.usage.completion_tokens == 12
    ids = client.completions.create(prompt=[504, 3575, 282, 4649, 314], **options)
    assert ids.usage.prompt_tokens == 5
    streamed = client.completions.create(prompt="1, 2, 3,", stream=True, **options)
    text = "".join(chunk.choices[0].text for chunk in streamed if chunk.choices)
    assert text == two.choices[1].text


@pytest.mark.parametrize("option", [{"echo": True}, {"suffix": "end"}, {"best_of": 3}])
def test_what_completions_cannot_honour_is_refused(
    client: openai.OpenAI, option: dict[str, object]
) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.completions.create(model="smollm2", prompt="a", max_tokens=2, **option)
    assert caught.value.param == next(iter(option))


def test_embeddings_in_the_clients_own_default_encoding(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="minilm", input="Hello")
    assert len(answer.data[0].embedding) == 384
    assert sum(x * x for x in answer.data[0].embedding) == pytest.approx(1, abs=1e-3)


def test_models_are_listed(client: openai.OpenAI) -> None:
    if isinstance(client, openai.AzureOpenAI):
        pytest.skip("Azure OpenAI lists models under /openai/models, which is not served")
    assert {model.id for model in client.models.list()} >= {"smollm2", "minilm"}
    assert client.models.retrieve("smollm2").id == "smollm2"


def test_errors_have_the_clients_own_classes(client: openai.OpenAI) -> None:
    with pytest.raises(
        openai.NotFoundError
        if isinstance(client, openai.AzureOpenAI) or "/openai" in str(client.base_url)
        else openai.BadRequestError
    ) as caught:
        client.chat.completions.create(model="gpt-5", messages=ASK)
    assert "smollm2" in str(caught.value)
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.chat.completions.create(model="smollm2", messages=ASK, temperature=9)
    assert refused.value.param == "temperature"
    with pytest.raises(openai.AuthenticationError):
        client.copy(api_key="wrong-key").chat.completions.create(model="smollm2", messages=ASK)


def test_an_unknown_parameter_is_dropped_and_said_so(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="smollm2", messages=ASK, max_tokens=2, extra_body={"custom": 1}
    )
    assert raw.headers["x-interlingua-changes"] == 'dropped=("custom")'
    assert raw.parse().choices
