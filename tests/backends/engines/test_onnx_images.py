"""Images out of data URLs: every format, upright and opaque; every bad one the caller's."""

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from interlingua.backends.engines.images import MOST_BYTES, ImageReader
from interlingua.catalog.card import ImageEmbedding
from interlingua.errors import InvalidValue

PLACE = ("body", "input", 3, "image")
#: Values stay what they are, from 0 to 255.
PLAIN = ImageEmbedding(size=8, mean=(0, 0, 0), std=(1, 1, 1))


def file(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def url(content: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def read(address: str, card: ImageEmbedding = PLAIN) -> np.ndarray:
    return ImageReader(card).read(address, PLACE)


def refusal(address: str, card: ImageEmbedding = PLAIN) -> InvalidValue:
    with pytest.raises(InvalidValue) as refused:
        read(address, card)
    assert refused.value.location == PLACE
    return refused.value


def halves(size: tuple[int, int] = (32, 32)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, "red")
    image.paste((0, 0, 255), (size[0] // 2, 0, *size))
    return image


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_every_format_gives_the_same_pixels(kind: str) -> None:
    pixels = read(url(file(halves(), kind)))
    assert pixels.shape == (3, 8, 8)
    assert pixels.dtype == np.float32
    assert pixels[:, 4, 1] == pytest.approx([255, 0, 0], abs=12)
    assert pixels[:, 4, 6] == pytest.approx([0, 0, 255], abs=12)


@pytest.mark.parametrize("media_type", ["", "image/jpeg", "text/plain", "image/png;name=a.png"])
def test_the_bytes_say_what_an_image_is_and_the_media_type_does_not(media_type: str) -> None:
    assert read(url(file(halves()), media_type)).shape == (3, 8, 8)


def test_white_space_and_missing_padding_in_base64_are_taken() -> None:
    address = url(file(halves())).rstrip("=")
    head, _comma, data = address.partition(",")
    broken = "\r\n".join(data[at : at + 76] for at in range(0, len(data), 76))
    assert (read(f"{head},{broken}\n") == read(address)).all()


def test_the_card_scales_the_values() -> None:
    card = ImageEmbedding(size=8, mean=(127, 127, 127), std=(128, 128, 128))
    assert read(url(file(halves())), card)[:, 4, 1] == pytest.approx(
        [1.0, -0.992, -0.992], abs=0.01
    )


def test_an_image_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the row 0 of the file is the right side of the picture
    pixels = read(url(file(halves(), "JPEG", exif=exif)))
    assert pixels[:, 1, 4] == pytest.approx([255, 0, 0], abs=12)
    assert pixels[:, 6, 4] == pytest.approx([0, 0, 255], abs=12)


def test_transparency_is_laid_on_white() -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    image.paste((0, 0, 0, 128), (0, 0, 4, 8))
    pixels = read(url(file(image)))
    assert pixels[:, 4, 7] == pytest.approx([255, 255, 255], abs=1)
    assert pixels[:, 4, 0] == pytest.approx([127, 127, 127], abs=2)


def test_a_transparent_colour_of_a_palette_is_laid_on_white() -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([200, 0, 0])
    assert read(url(file(image, "GIF", transparency=0))).min() == 255


def test_sixteen_bits_of_grey_are_scaled() -> None:
    image = Image.fromarray(np.full((8, 8), 0x8000, np.uint16))
    assert read(url(file(image))) == pytest.approx(128, abs=1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    content = file(Image.new("L", (9, 9), 255).convert(mode), "JPEG" if mode == "CMYK" else "PNG")
    assert read(url(content)) == pytest.approx(255, abs=2)


def test_of_an_animation_the_first_frame_counts() -> None:
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    content = file(first, "GIF", save_all=True, append_images=[second])
    assert read(url(content))[:, 4, 4] == pytest.approx([255, 0, 0], abs=2)


def test_the_centre_is_cut_out_of_a_wide_image() -> None:
    image = Image.new("RGB", (90, 30), "red")
    image.paste((0, 0, 255), (30, 0, 60, 30))
    assert read(url(file(image)))[2, :, 1:7] == pytest.approx(255, abs=2)
    squash = ImageEmbedding(size=9, fit="squash", mean=(0, 0, 0), std=(1, 1, 1))
    squashed = read(url(file(image)), squash)
    assert squashed[0, 4, 1] == pytest.approx(255, abs=12)
    assert squashed[2, 4, 4] == pytest.approx(255, abs=12)


def test_cutting_before_resizing_gives_what_resizing_before_cutting_gives() -> None:
    noise = np.random.default_rng(3).integers(0, 255, (90, 140, 3), np.uint8)
    image = Image.fromarray(noise).resize((280, 180), Image.Resampling.BICUBIC)
    card = ImageEmbedding(size=56, resize=64, mean=(0, 0, 0), std=(1, 1, 1))
    scaled = image.resize((100, 64), Image.Resampling.BICUBIC)
    expected = np.asarray(scaled.crop((22, 4, 78, 60)), np.float32).transpose(2, 0, 1)
    found = read(url(file(image)), card)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1), (7, 3)])
def test_odd_shapes_are_taken(size: tuple[int, int]) -> None:
    assert read(url(file(Image.new("RGB", size, "red"))))[0] == pytest.approx(255, abs=2)


def test_a_large_photograph_is_read() -> None:
    content = file(halves((4000, 3000)), "JPEG")
    assert read(url(content))[:, 4, 1] == pytest.approx([255, 0, 0], abs=12)


def bomb(width: int, height: int) -> bytes:
    """A PNG that is small packed and large unpacked."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(100_000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("width", "height"), [(8000, 8000), (12_000, 12_000), (40_000, 40_000), (2**31 - 1, 2**31 - 1)]
)
def test_a_bomb_is_refused_by_its_header(width: int, height: int) -> None:
    assert "million" in refusal(url(bomb(width, height))).message


@pytest.mark.parametrize("kind", ["WEBP", "GIF"])
def test_a_bomb_of_another_format_is_refused(kind: str) -> None:
    content = bytearray(file(halves(), kind))
    if kind == "GIF":
        content[6:10] = struct.pack("<HH", 65_535, 65_535)
        assert "million" in refusal(url(bytes(content))).message
    else:
        large = Image.new("L", (16_383, 3_100))
        assert "million" in refusal(url(file(large, "WEBP", method=0, quality=1))).message


def test_more_bytes_than_are_taken_are_refused_before_they_are_decoded() -> None:
    address = "data:image/png;base64," + "A" * (MOST_BYTES // 3 * 4 + 8)
    assert str(MOST_BYTES) in refusal(address).message


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("https://example.com/a.png", "nothing is fetched"),
        ("file:///etc/passwd", "nothing is fetched"),
        ("", "data URL"),
        ("data:", "base64"),
        ("data:image/png,%89PNG", "base64"),
        ("data:image/png;base64", "base64"),
        ("data:image/png;base64,!!!!", "malformed"),
        ("data:image/png;base64,AAAAA", "malformed"),
        ("data:image/png;base64,AA==AAAA", "malformed"),
        ("data:image/png;base64,\u00e4\u00e4", "malformed"),
        ("data:image/png;base64,", "no image"),
        (url(b"hello"), "no image"),
        (url(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"), "no image"),
        (url(file(halves(), "TIFF"), "image/tiff"), "no image"),
        (url(file(halves(), "BMP"), "image/bmp"), "no image"),
    ],
)
def test_what_is_no_image_is_refused_with_what_would_be(address: str, word: str) -> None:
    message = refusal(address).message
    assert word in message
    assert "data:image/png;base64,…" in message


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_cut_image_is_refused(kind: str) -> None:
    noise = np.random.default_rng(5).integers(0, 255, (64, 64, 3), np.uint8)
    content = file(Image.fromarray(noise), kind)
    assert "image" in refusal(url(content[: len(content) // 2])).message


FILES = [file(halves(), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF")]


@settings(max_examples=300, deadline=None)
@given(
    content=st.sampled_from(FILES),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6),
)
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_image_is_read_or_refused(content: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(content)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    try:
        assert np.isfinite(read(url(bytes(damaged)))).all()
    except InvalidValue as refused:
        assert refused.location == PLACE
