"""Small pictures as data URLs."""

import base64
import io

from PIL import Image


def picture(color: str, size: tuple[int, int] = (64, 48), kind: str = "PNG") -> bytes:
    """An image file of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, kind)
    return buffer.getvalue()


def data_url(content: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
