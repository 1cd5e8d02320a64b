"""Small image files: recognised by their heads, and nothing that may be a huge image is among them."""

import base64
import io
import zlib

import pytest
from PIL import Image

from models_store.tasks.image.small_files import MOST_BYTES, is_small


def a_file(format_: str, *, size: tuple[int, int] = (28, 28), **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (200, 30, 60)).save(buffer, format_, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("data", [a_file("JPEG"), a_file("PNG"), a_file("JPEG", progressive=True)])
def test_a_small_jpeg_or_png_is_small_as_a_file_and_as_base64(data: bytes) -> None:
    assert is_small(data)
    assert is_small(base64.b64encode(data).decode())
    assert is_small("data:image/png;base64," + base64.b64encode(data).decode())


@pytest.mark.parametrize(
    "data",
    [
        a_file("PNG", size=(1500, 1500)),
        a_file("JPEG", size=(200, 200)),
        a_file("BMP"),
        a_file("WEBP"),
        a_file("PNG") + bytes(MOST_BYTES),
        zlib.compress(bytes(1_000_000)),
        b"\xff\xd8\xff",
        b"",
    ],
)
def test_what_may_be_a_huge_image_is_not_small(data: bytes) -> None:
    assert not is_small(data)


def test_text_that_is_no_base64_is_not_small() -> None:
    assert not is_small("not an image!")


def test_a_jpeg_of_many_scans_is_as_large_as_all_of_them() -> None:
    data = a_file("JPEG", size=(120, 120), progressive=True)

    assert not is_small(data)
