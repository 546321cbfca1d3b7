"""URLs in a request: only those that carry their content."""

import pytest

from interlingua.errors import InvalidValue
from interlingua.server.media import refuse_remote_images, refuse_remote_parts
from interlingua.types.chat import (
    AssistantMessage,
    AudioPart,
    ChatRequest,
    ImagePart,
    TextPart,
    UserMessage,
)
from interlingua.types.embeddings import ImageEmbeddingsRequest, ImageInput


def test_content_that_is_there_passes() -> None:
    parts = (
        TextPart("http://text.is/no/url"),
        ImagePart("DATA:image/png;base64,AAAA"),
        AudioPart(data="AAAA", format="wav"),
        AudioPart(url="data:audio/mp3;base64,AAAA"),
    )
    refuse_remote_parts(ChatRequest(messages=(AssistantMessage(None), UserMessage(parts))))
    refuse_remote_images(ImageEmbeddingsRequest(inputs=(ImageInput(text="only text"),)))


@pytest.mark.parametrize(
    "url",
    ["http://a/x.png", "https://a", "file:///etc/passwd", "//a", "", " data:,x", "ftp://a", "x"],
)
def test_content_elsewhere_is_refused_by_its_place(url: str) -> None:
    for part, name in ((ImagePart(url), "image_url"), (AudioPart(url=url), "audio_url")):
        with pytest.raises(InvalidValue) as caught:
            refuse_remote_parts(ChatRequest(messages=(UserMessage((TextPart("a"), part)),)))
        assert caught.value.param == f"messages[0].content[1].{name}.url"
        assert caught.value.value == url
    with pytest.raises(InvalidValue):
        refuse_remote_images(ImageEmbeddingsRequest(inputs=(ImageInput(image=url),)))


def test_a_long_url_is_not_repeated() -> None:
    with pytest.raises(InvalidValue) as caught:
        refuse_remote_parts(ChatRequest(messages=(UserMessage((ImagePart("x" * 101),)),)))
    assert caught.value.value is None
