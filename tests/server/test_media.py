"""URLs in a request: those that carry their content, and those that would be fetched."""

import pytest

from interlingua.errors import InvalidValue
from interlingua.server.media import remote_images, with_images
from interlingua.server.remote_images import RemoteImages
from interlingua.types.chat import (
    AssistantMessage,
    AudioPart,
    ChatRequest,
    ImagePart,
    Part,
    TextPart,
    UserMessage,
)
from interlingua.types.embeddings import ImageEmbeddingsRequest, ImageInput

ELSEWHERE = ["http://a/x.png", "https://a", "file:///etc/passwd", "//a", "", " data:,x", "ftp://a"]


def chat(*parts: Part) -> ChatRequest:
    return ChatRequest(messages=(AssistantMessage(None), UserMessage("a"), UserMessage(parts)))


def test_content_that_is_there_is_not_fetched() -> None:
    request = chat(
        TextPart("http://text.is/no/url"),
        ImagePart("DATA:image/png;base64,AAAA"),
        AudioPart(data="AAAA", format="wav"),
        AudioPart(url="data:audio/mp3;base64,AAAA"),
    )
    assert remote_images(request) == {}
    assert remote_images(ImageEmbeddingsRequest(inputs=(ImageInput(text="only text"),))) == {}


@pytest.mark.parametrize("url", ELSEWHERE)
def test_images_elsewhere_are_found_by_their_place(url: str) -> None:
    place = ("body", "messages", 2, "content", 1, "image_url", "url")
    assert remote_images(chat(TextPart("a"), ImagePart(url))) == {place: url}
    inputs = (ImageInput(text="a"), ImageInput(image=url))
    assert remote_images(ImageEmbeddingsRequest(inputs=inputs)) == {
        ("body", "input", 1, "image"): url
    }


@pytest.mark.parametrize("url", ELSEWHERE)
def test_audio_elsewhere_is_refused_by_its_place(url: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        remote_images(chat(TextPart("a"), AudioPart(url=url)))
    assert caught.value.param == "messages[2].content[1].audio_url.url"


def test_fetched_images_are_put_where_they_were_named() -> None:
    here, there = ImagePart("data:,a"), ImagePart("http://a", detail="low")
    request = chat(TextPart("a"), here, there, AudioPart(data="AAAA", format="wav"))
    (place,) = remote_images(request)
    filled = with_images(request, {place: "data:,b"})
    assert filled == chat(
        TextPart("a"),
        here,
        ImagePart("data:,b", detail="low"),
        AudioPart(data="AAAA", format="wav"),
    )
    inputs = (ImageInput(text="a"), ImageInput(image="http://a", text="b"))
    embeddings = ImageEmbeddingsRequest(inputs=inputs, dimensions=8)
    (place,) = remote_images(embeddings)
    assert with_images(embeddings, {place: "data:,b"}) == ImageEmbeddingsRequest(
        inputs=(ImageInput(text="a"), ImageInput(image="data:,b", text="b")), dimensions=8
    )


def test_without_hosts_a_short_url_is_repeated_and_a_long_one_is_not() -> None:
    off = RemoteImages(())
    for url, repeated in (("http://a", "http://a"), ("x" * 101, None), ("http://\n", None)):
        with pytest.raises(InvalidValue, match="remote_images is empty") as caught:
            off.check({("body", "input", 0, "image"): url})
        assert caught.value.value == repeated
