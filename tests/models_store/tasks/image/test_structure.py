"""Images that cost far more to decode than their bytes: each is refused before anything is decoded."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from models_store.archives.rules import CompressionTooHigh
from models_store.datasets.intake import take_in
from models_store.tasks.image import codec, intake, orientation
from models_store.tasks.image.codec import UndecodableImage
from models_store.tasks.image.pixel_budget import PixelBudget, TooManyPixels
from tests import samples
from tests.models_store.datasets.dataset_stores import a_zip

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def a_jpeg_of(scans: int, *, mode: str = "RGB", size: tuple[int, int] = (90, 60)) -> bytes:
    """Return a progressive JPEG whose last scan comes again and again."""
    data = saved(NOISE.convert(mode).resize(size), "JPEG", progressive=True)
    there = data.count(b"\xff\xda")
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (scans - there) + data[-2:]


def a_png_with(chunks: bytes) -> bytes:
    data = saved(NOISE, "PNG")
    at = data.index(b"IDAT") - 4
    return data[:at] + chunks + data[at:]


def a_chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))


def a_jpeg_with(inserted: bytes) -> bytes:
    data = saved(NOISE.convert("CMYK"), "JPEG")
    return data[:2] + inserted + data[2:]


def a_gif_with(inserted: bytes) -> bytes:
    data = saved(NOISE.convert("P"), "GIF")
    at = 13 + 3 * 256
    return data[:at] + inserted + data[at:]


def a_run_length_bmp(width: int, height: int, runs: bytes, *, kind: Literal[1, 2] = 1) -> bytes:
    palette = bytes(4 * 256)
    start = 14 + 40 + len(palette)
    head = struct.pack("<LHHL", start + len(runs), 0, 0, start)
    facts = struct.pack("<LllHHLLllLL", 40, width, height, 1, 8 if kind == 1 else 4, kind, len(runs), 0, 0, 256, 0)
    return b"BM" + head + facts + palette + runs


def a_tiff_of(parts: int, *, tiles: bool, order: Literal["<", ">"] = "<") -> bytes:
    """Return a grey TIFF of one column, each of whose pixels is a strip or a tile."""
    start = 8 + 2 + 12 * 9 + 4
    layout = [(322, 1), (323, 1)] if tiles else [(277, 1), (278, 1)]
    offsets, counts = ((324, start), (325, start + 4 * parts)) if tiles else ((273, start), (279, start + 4 * parts))
    tags = [
        (256, 1, 1),
        (257, 1, parts),
        (258, 1, 8),
        (259, 1, 1),
        (262, 1, 1),
        *((tag, 1, one) for tag, one in layout),
    ]
    tags += [(offsets[0], parts, offsets[1]), (counts[0], parts, counts[1])]
    directory = b"".join(struct.pack(order + "HHLL", tag, 4, count, value) for tag, count, value in sorted(tags))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "LH", 8, len(tags))
    return head + directory + bytes(4) + struct.pack(order + "L", 8) * parts + struct.pack(order + "L", 1) * parts


def a_tiff_around(jpeg: bytes, *, size: tuple[int, int]) -> bytes:
    """Return a TIFF of one strip, which is a JPEG."""
    start = 8 + 2 + 12 * 9 + 4
    width, height = size
    values = {256: width, 257: height, 258: 8, 259: 7, 262: 6, 273: start, 277: 3, 278: height, 279: len(jpeg)}
    directory = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in values.items())
    return b"II*\0" + struct.pack("<LH", 8, len(values)) + directory + bytes(4) + jpeg


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (a_jpeg_of(201), "200 JPEG scans"),
        (a_jpeg_of(201, mode="CMYK"), "200 JPEG scans"),
        (a_jpeg_of(30, size=(900, 900)), "19 JPEG scans"),
        (a_jpeg_of(30, size=(900, 900), mode="CMYK"), "19 JPEG scans"),
        (a_tiff_around(a_jpeg_of(30, size=(900, 900)), size=(900, 900)), "19 JPEG scans"),
        (a_jpeg_with(b"\xff\xfe\0\2" * 70_000), "segments"),
        (a_jpeg_with(b"\xff" * 70_000), "between its segments"),
        (b"\xff\xd8" + b"\xff" * 70_000, "between its segments"),
        (b"\xff\xd8" + b"\xff" * 70_000 + b"\xff\xd9", "between its segments"),
        (a_png_with(a_chunk(b"IDAT") * 70_000), "chunks"),
        (a_png_with(a_chunk(b"tEXt", b"a\0b") * 70_000), "chunks"),
        (a_png_with(a_chunk(b"abCd") * 70_000), "chunks"),
        (a_png_with(a_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(8 << 20)))), "Decompressed data too large"),
        (a_gif_with(b"!\xfe\1a\0" * 70_000), "blocks"),
        (a_gif_with(b"!\xfe" + b"\1a" * 70_000 + b"\0"), "blocks"),
        (a_gif_with(b"!\xf9\4\0\0\0\0\0" * 70_000), "blocks"),
        (a_gif_with(bytes(70_000)), "blocks"),
        (a_run_length_bmp(4000, 4000, b"\0\0\0\1"), "8388608"),
        (a_run_length_bmp(4000, -4000, b"\0\0\0\1", kind=2), "8388608"),
        (a_run_length_bmp(10, 10, b"\xff\1" * 100_000), "run lengths"),
        (a_tiff_of(70_000, tiles=False), "strips"),
        (a_tiff_of(70_000, tiles=True), "tiles"),
        (a_tiff_of(70_000, tiles=True, order=">"), "tiles"),
    ],
)
def test_an_image_of_countless_parts_is_refused(data: bytes, said: str) -> None:
    for call in (
        codec.inspect,
        lambda *args, **limits: codec.decode(*args, size=8, channels=3, fit="crop", **limits),
    ):
        with pytest.raises(UndecodableImage, match=said):
            call(data, max_pixels=1_000_000 if said == "19 JPEG scans" else 64_000_000)


@pytest.mark.parametrize("inserted", [b"\xff" * 70_000, b"\xff\xfe\0\2" * 70_000, b"\xff\x01" * 70_000])
def test_an_orientation_behind_countless_parts_is_not_looked_for(inserted: bytes) -> None:
    data = saved(NOISE, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0" + bytes(4))

    assert orientation.of_jpeg(data) == 6
    assert orientation.of_jpeg(data[:2] + inserted + data[2:]) == orientation.UPRIGHT


@pytest.mark.parametrize(
    "data",
    [
        a_jpeg_of(10, size=(1000, 1000)),
        a_jpeg_of(150),
        a_tiff_around(a_jpeg_of(10), size=(90, 60)),
        saved(NOISE, "JPEG") + b"\xff\xda\0\0" * 1000,  # a film behind the picture
        a_jpeg_with(b"\xff\xe1\x10\x02" + b"\xff\xda\0\0" * 1024),  # bytes of a thumbnail
        a_png_with(a_chunk(b"tEXt", b"a\0b") * 1000),
        a_run_length_bmp(10, 10, b"\x0a\1\0\0" * 10 + b"\0\1"),
        a_tiff_of(1000, tiles=False),
        a_tiff_of(1000, tiles=True, order=">"),
        a_gif_with(b"!\xfe\1a\0" * 1000 + b"!\xfe" + (b"\xff" + b"," * 255) * 1000 + b"\0"),
        saved(NOISE, "GIF", save_all=True, append_images=[NOISE.rotate(n) for n in range(20)]),
    ],
)
def test_an_image_of_many_parts_is_read(data: bytes) -> None:
    assert codec.decode(data, size=8, channels=3, fit="crop", max_pixels=1_000_000).shape == (8, 8, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_images_share_a_budget_of_pixels(kind: str) -> None:
    data = saved(NOISE, kind)
    budget = PixelBudget(2 * 90 * 60)

    codec.decode(data, size=8, channels=3, fit="crop", budget=budget)
    codec.inspect(data, budget=budget)

    with pytest.raises(TooManyPixels, match="10800 pixels"):
        codec.decode(data, size=8, channels=3, fit="crop", budget=budget)


def test_an_archive_of_blank_images_is_refused_by_their_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "FREE_PIXELS", 1_000_000)
    blank = {
        f"a/{hue}.webp": saved(Image.new("RGB", (1000, 1000), (hue, 0, 0)), "WEBP", lossless=True) for hue in range(3)
    }
    archive = tmp_path / "blank.zip"
    archive.write_bytes(a_zip(blank))

    with pytest.raises(CompressionTooHigh, match="400 pixels"):
        take_in(archive, tmp_path, samples.quick_settings(tmp_path / "home"))
