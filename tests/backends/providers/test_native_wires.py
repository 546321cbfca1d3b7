"""Wires of another shape than OpenAI's, over real sockets."""

import json
import struct

import pytest

from interlingua.errors import RateLimited, UpstreamError
from interlingua.types.embeddings import EmbeddingsRequest, ImageEmbeddingsRequest, ImageInput
from interlingua.types.usage import Usage

from ...support import amazon_events as amazon
from ...support import scripted_upstream as wire
from ...support.scripted_upstream import Reply, Request, ScriptedUpstream
from .upstreams import CALL, CANARY, answer, deltas, opened

pytestmark = pytest.mark.anyio

CONVERSE = "/model/theirs/converse-stream"
PICTURE = "data:image/png;base64,iVBORw0KGgo="


async def test_bedrock_takes_a_bearer_key_too() -> None:
    with ScriptedUpstream(answers={CONVERSE: amazon.stream(*amazon.said("He", "llo"))}) as upstream:
        async with opened(upstream.url, "bedrock") as provider:
            whole = await answer(provider)
    assert (whole.choices[0].text, whole.usage) == ("Hello", Usage(3, 2))
    (request,) = upstream.requests
    assert request.headers["authorization"] == f"Bearer {CANARY}"
    assert "model" not in request.json()


async def test_bedrock_that_does_not_stream_is_understood() -> None:
    reply = {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 3, "outputTokens": 2},
    }
    with ScriptedUpstream(answers={CONVERSE: wire.json_reply(reply)}) as upstream:
        async with opened(upstream.url, "bedrock") as provider:
            assert (await answer(provider)).choices[0].text == "Hi"


@pytest.mark.parametrize(
    "reply",
    [
        amazon.stream(*amazon.said("Hi")[:2]),
        amazon.stream(*amazon.said("Hi")).ending("cut"),
        amazon.stream(amazon.said("Hi")[1][:-1]),
        amazon.stream(),
        Reply((b"<html>",), content_type="text/html"),
        wire.json_reply({"message": "An error inside."}),
        amazon.stream(amazon.said("Hi")[1], amazon.exception("modelStreamErrorException", "no")),
        amazon.stream(amazon.exception("internalServerException", "no")),
    ],
    ids=[
        "early",
        "cut",
        "part of an event",
        "empty",
        "a page",
        "200 with an error",
        "mid",
        "first",
    ],
)
async def test_a_bedrock_stream_that_is_none_is_never_an_answer(reply: Reply) -> None:
    with ScriptedUpstream(answers={CONVERSE: reply}) as upstream:
        async with opened(upstream.url, "bedrock") as provider:
            with pytest.raises(UpstreamError):
                await deltas(provider)


async def test_bedrock_throttles_before_and_in_the_middle() -> None:
    before = wire.json_reply(
        {"message": "Too many requests"},
        429,
        **{"x-amzn-errortype": "ThrottlingException", "retry-after": "7"},
    )
    middle = amazon.stream(amazon.exception("throttlingException", "Too many tokens"))
    with ScriptedUpstream() as upstream:
        upstream.on(CONVERSE, before, middle)
        async with opened(upstream.url, "bedrock") as provider:
            for wait in (7, 1):
                with pytest.raises(RateLimited) as caught:
                    await deltas(provider)
                assert caught.value.retry_after_s == wait


async def test_bedrock_that_refuses_our_credentials_is_not_the_caller_s_fault() -> None:
    said = {"message": f"The security token {CANARY} is invalid."}
    refusal = wire.json_reply(said, 403, **{"x-amzn-errortype": "UnrecognizedClientException"})
    with ScriptedUpstream(answers={CONVERSE: refusal}) as upstream:
        async with opened(upstream.url, "bedrock") as provider:
            with pytest.raises(UpstreamError, match="credential") as caught:
                await deltas(provider)
    assert CANARY not in caught.value.message


def cohere_vectors(request: Request) -> Reply:
    """As many vectors as texts, each telling its text's number."""
    body = request.json()
    (kind,) = body["embedding_types"]  # type: ignore[misc]  # JSON
    inputs = body.get("texts") or body.get("images") or body["inputs"]
    vectors = [[len(str(each)), 1] for each in inputs]  # type: ignore[attr-defined]  # JSON
    meta = {"billed_units": {"input_tokens": len(vectors)}}
    return wire.json_reply({"embeddings": {kind: vectors}, "meta": meta})


async def test_more_texts_than_cohere_takes_are_several_calls_and_one_answer() -> None:
    texts = tuple("x" * (number % 90 + 1) for number in range(200))
    with ScriptedUpstream(answers={"/embed": cohere_vectors}) as upstream:
        async with opened(upstream.url, "cohere-v2", type="embedding") as provider:
            made = await provider.embed(EmbeddingsRequest(inputs=texts), CALL)
    assert [len(request.json()["texts"]) for request in upstream.requests] == [96, 96, 8]  # type: ignore[arg-type]  # JSON
    assert [struct.unpack("<2f", vector)[0] for vector in made.vectors] == [
        len(text) for text in texts
    ]
    assert made.usage == Usage(200)


async def test_one_call_of_several_that_fails_fails_all() -> None:
    with ScriptedUpstream() as upstream:
        ok = wire.json_reply({"embeddings": {"float": [[1, 2]] * 96}, "meta": {}})
        upstream.on("/embed", ok, wire.json_reply({"message": "slow down"}, 429))
        async with opened(upstream.url, "cohere-v2", type="embedding") as provider:
            with pytest.raises(RateLimited):
                await provider.embed(EmbeddingsRequest(inputs=("x",) * 200), CALL)
        assert len(upstream.requests) == 2
        longer = wire.json_reply({"embeddings": {"float": [[1, 2, 3]] * 4}, "meta": {}})
        upstream.on("/embed", ok, longer)
        async with opened(upstream.url, "cohere-v2", type="embedding") as provider:
            with pytest.raises(UpstreamError, match="several lengths"):
                await provider.embed(EmbeddingsRequest(inputs=("x",) * 100), CALL)


async def test_images_go_to_cohere_one_by_one() -> None:
    inputs = (ImageInput(image=PICTURE), ImageInput(image=PICTURE, text="a cat"))
    with ScriptedUpstream(answers={"/embed": cohere_vectors}) as upstream:
        async with opened(upstream.url, "cohere-v2", type="image-embedding") as provider:
            made = await provider.embed_images(ImageEmbeddingsRequest(inputs=inputs), CALL)
    assert len(made.vectors) == 2
    assert [
        sorted(set(request.json()) & {"images", "inputs"}) for request in upstream.requests
    ] == [
        ["images"],
        ["inputs"],
    ]


@pytest.mark.parametrize("provider", ["cohere-v2", "voyage"])
@pytest.mark.parametrize(
    ("encoding", "values"),
    [("int8", (-128, 3)), ("uint8", (255, 0)), ("binary", (-128, 127)), ("ubinary", (0, 255))],
)
async def test_whole_numbers_are_the_providers_own(
    provider: str, encoding: str, values: tuple[int, int]
) -> None:
    def reply(request: Request) -> Reply:
        body = request.json()
        assert encoding in (body.get("output_dtype"), *body.get("embedding_types", ()))  # type: ignore[misc]  # JSON
        if provider == "voyage":
            return wire.embeddings([values])
        return wire.json_reply({"embeddings": {encoding: [values]}, "meta": {}})

    paths = {"/embed": reply, "/embeddings": reply}
    with ScriptedUpstream(answers=paths) as upstream:
        async with opened(upstream.url, provider, type="embedding") as backend:
            request = EmbeddingsRequest(inputs=("a",), encoding_format=encoding)  # type: ignore[arg-type]  # one of them
            made = await backend.embed(request, CALL)
    assert made.encoding == encoding
    assert made.vectors == (struct.pack("<2f", *values),)


@pytest.mark.parametrize("values", [(-129, 0), (0, 128), (0.5, 1)])
async def test_numbers_that_are_no_int8_are_an_error(values: tuple[float, float]) -> None:
    reply = wire.json_reply({"embeddings": {"int8": [values]}, "meta": {}})
    with ScriptedUpstream(answers={"/embed": reply}) as upstream:
        async with opened(upstream.url, "cohere-v2", type="embedding") as backend:
            with pytest.raises(UpstreamError, match="not int8"):
                await backend.embed(EmbeddingsRequest(inputs=("a",), encoding_format="int8"), CALL)


async def test_other_encodings_are_of_full_precision() -> None:
    """Images at Voyage and everything at Jina come as numbers, to be encoded here."""
    vectors = wire.embeddings([(0.5, -1.0)])
    image = ImageEmbeddingsRequest(inputs=(ImageInput(image=PICTURE),), encoding_format="int8")
    text = EmbeddingsRequest(inputs=("a",), encoding_format="int8")
    with ScriptedUpstream() as upstream:
        upstream.on("/multimodalembeddings", vectors)
        upstream.on("/embeddings", vectors)
        async with opened(upstream.url, "voyage", type="image-embedding") as backend:
            made = [await backend.embed_images(image, CALL)]
        async with opened(upstream.url, "jina", type="embedding") as backend:
            made.append(await backend.embed(text, CALL))
        async with opened(upstream.url, "voyage", type="embedding") as backend:
            upstream.on("/embeddings", wire.embeddings([(0.5, -1.0)], encoded=True))
            for encoding in ("base64", "float"):
                wanted = EmbeddingsRequest(inputs=("a",), encoding_format=encoding)
                made.append(await backend.embed(wanted, CALL))
    assert {(each.vectors, each.encoding) for each in made} == {
        ((struct.pack("<2f", 0.5, -1.0),), None)
    }
    asked = [json.loads(request.body) for request in upstream.requests]
    assert [body.get("encoding_format") for body in asked] == [None, None, "base64", None]
    assert all("output_dtype" not in body for body in asked)
