"""Images out of ``data:`` URLs: decoded with caps, turned upright, and made into pixels.

Rules of this file:
- Nothing is fetched: whatever a URL names, its content must be in it.
- The media type that a URL states is not believed; the bytes say what they are, and only the
  four formats are tried.
- Bytes are counted before they are decoded, pixels before they are unpacked, so a bomb costs
  no more than its header. What is cut out of an image is chosen before it is resized.
- Whatever is wrong with an image is the caller's: :class:`InvalidValue`, never a failure.
"""

import binascii
import io
import struct
import threading
import zlib

import numpy as np
import pybase64
from PIL import Image, ImageOps

from interlingua.catalog.card import ImageEmbedding
from interlingua.errors import InvalidValue, Location

from .onnx_graph import Floats

MOST_BYTES = 20 * 1024 * 1024
MOST_PIXELS = 50_000_000
#: Images above this are unpacked one at a time: they take up to 200 MB each.
_LARGE_PIXELS = 8_000_000

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_EXPECTED = "a PNG, JPEG, WebP or GIF image as 'data:image/png;base64,…'"
#: What Pillow's readers raise at damaged files.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
_RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


class ImageReader:
    """Reads images as one model wants them. Safe to call from several threads."""

    def __init__(self, card: ImageEmbedding) -> None:
        self._card = card
        self._mean = [np.float32(value) for value in card.mean]
        self._std = [np.float32(value) for value in card.std]
        self._large = threading.Lock()

    def read(self, url: str, location: Location) -> Floats:
        """The pixels, as channels by rows by columns.

        Raises:
            InvalidValue: it isn't a ``data:`` URL, or holds no image that can be read.
        """
        image = _open(_content(url, location), location)
        if image.width * image.height <= _LARGE_PIXELS:
            return self._pixels(self._unpack(image, location))
        with self._large:
            return self._pixels(self._unpack(image, location))

    def _unpack(self, image: Image.Image, location: Location) -> Image.Image:
        """The image upright, opaque, in RGB and of the model's size."""
        try:
            shorter = self._card.resize or self._card.size
            image.draft("RGB", (2 * shorter, 2 * shorter))  # JPEG: unpack it smaller at once
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _opaque(self._fit(_drawable(image)))
        except _DAMAGE as error:
            raise InvalidValue(
                f"The image is cut short or damaged: send {_EXPECTED}.", location=location
            ) from error
        finally:
            image.close()  # the error, or Pillow's own cycles, would keep its memory for a while

    def _fit(self, image: Image.Image) -> Image.Image:
        card = self._card
        width, height = float(image.width), float(image.height)
        box = (0.0, 0.0, width, height)
        if card.fit == "crop":
            side = min(width, height) * min(card.size / (card.resize or card.size), 1.0)
            left, top = (width - side) / 2, (height - side) / 2
            box = (left, top, left + side, top + side)
        resampling = _RESAMPLING[card.interpolation]
        return image.resize((card.size, card.size), resampling, box=box, reducing_gap=3.0)

    def _pixels(self, image: Image.Image) -> Floats:
        # Channel by channel: numpy is slow where the innermost axis has three numbers.
        packed = np.asarray(image)
        values = np.empty((3, *packed.shape[:2]), np.float32)
        for channel, (mean, std) in enumerate(zip(self._mean, self._std, strict=True)):
            np.subtract(packed[:, :, channel], mean, out=values[channel])
            values[channel] /= std
        return values


def _content(url: str, location: Location) -> bytes:
    """The bytes of a ``data:`` URL (RFC 2397), of which only base64 is taken."""
    if url[:5].lower() != "data:":
        raise InvalidValue(
            f"This isn't a data URL, and nothing is fetched: send {_EXPECTED}.",
            location=location,
            value=url if len(url) <= 100 and url.isprintable() else None,
        )
    head, comma, data = url.partition(",")
    if not comma or not head.lower().rstrip().endswith(";base64"):
        raise InvalidValue(f"The data URL isn't in base64: send {_EXPECTED}.", location=location)
    if len(data) // 4 * 3 > MOST_BYTES:
        raise InvalidValue(
            f"The image has about {len(data) // 4 * 3} bytes, and at most {MOST_BYTES} are taken: "
            "send a smaller one.",
            location=location,
        )
    try:
        return _decoded(data)
    except ValueError as error:
        raise InvalidValue(
            f"The data URL's base64 is malformed: send {_EXPECTED}.", location=location
        ) from error


def _decoded(data: str) -> bytes:
    """Base64 with or without its padding and white space, of which there rarely is any."""
    try:
        return pybase64.b64decode(data, validate=True)
    except ValueError:
        packed = "".join(data.split())
        return binascii.a2b_base64(packed + "=" * (-len(packed) % 4), strict_mode=True)


def _open(content: bytes, location: Location) -> Image.Image:
    """The image with its header read and nothing unpacked."""
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large("more", location) from error
    except _DAMAGE as error:
        raise InvalidValue(
            f"This is no image that can be read: send {_EXPECTED}.", location=location
        ) from error
    if image.width * image.height > MOST_PIXELS:
        raise _too_large(f"{image.width} by {image.height}", location)
    return image


def _too_large(size: str, location: Location) -> InvalidValue:
    return InvalidValue(
        f"The image has {size} pixels, and at most {MOST_PIXELS // 1_000_000} million are taken: "
        "send a smaller one.",
        location=location,
    )


def _drawable(image: Image.Image) -> Image.Image:
    """The image in RGB or RGBA, copied only where it is neither: a copy may be 200 MB."""
    if image.mode.startswith("I"):  # 16 bits of grey, which converting would clip
        grey = np.asarray(image).astype(np.uint16) >> 8
        image = Image.fromarray(grey.astype(np.uint8))
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _opaque(image: Image.Image) -> Image.Image:
    """The image in RGB, what is transparent over white."""
    if image.mode == "RGB":
        return image
    ground = Image.new("RGBA", image.size, "white")
    ground.alpha_composite(image)
    return ground.convert("RGB")
