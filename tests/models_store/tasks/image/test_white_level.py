import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from models_store.tasks.image import codec
from models_store.tasks.image.codec import UndecodableImage
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.facts import fitting_white
from models_store.tasks.image.spec import ImageSpec
from tests.models_store.datasets.dataset_stores import Files, Store, checks
from tests.models_store.tasks.image.image_files import a_pgm, encoded
from tests.samples import LEAVES, PLAIN

STEPS = np.array([[0, 819, 1638, 2457, 3276, 4095]], np.uint16)  # of 12 bits
SHOWN = [0, 51, 102, 153, 204, 255]


def a_grey(values: np.ndarray, format_: str) -> bytes:
    if format_ == "PGM":
        return a_pgm(values, 65535)
    return encoded(Image.fromarray(values), format_)


def a_colour_png(values: np.ndarray) -> bytes:
    """Return a PNG of 16-bit colour (H, W, 3), which Pillow can't write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))

    height, width, _ = values.shape
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">LLBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def files_of(bits: int, *, format_: str = "PNG") -> Files:
    random = np.random.default_rng(0)
    suffix = format_.lower()
    files: Files = {}
    for label in "ab":
        for number in range(6):
            values = random.integers(0, 1 << bits, (24, 24)).astype(np.uint16)
            values[0, 0] = (1 << bits) - 1
            files[f"{label}/{number}.{suffix}"] = a_grey(values, format_)
    return files


@pytest.mark.parametrize("format_", ["PNG", "TIFF", "PGM"])
def test_values_of_12_bits_in_16_are_scaled_by_the_white_level(format_: str) -> None:
    data = a_grey(STEPS, format_)

    assert codec.decode_whole(data, channels=1, white_level=4095)[0, :, 0].tolist() == SHOWN
    assert codec.decode_whole(data, channels=3, white_level=4095)[0, :, 2].tolist() == SHOWN
    assert codec.decode_whole(data, channels=1)[0, :, 0].max() == 15
    assert codec.inspect(data).peak == 4095
    tile = codec.decode(
        a_grey(np.full((9, 9), 2048, np.uint16), format_), size=4, channels=1, fit="crop", white_level=4095
    )
    assert set(tile.ravel().tolist()) == {128}


def test_values_above_the_white_level_are_white_and_65535_is_the_default() -> None:
    data = a_grey(np.array([[0, 1000, 1023, 1024, 65535]], np.uint16), "PNG")

    assert codec.decode_whole(data, channels=1, white_level=1023)[0, :, 0].tolist() == [0, 249, 255, 255, 255]
    explicit = codec.decode_whole(data, channels=1, white_level=65535)
    assert np.array_equal(explicit, codec.decode_whole(data, channels=1))


def test_what_gives_its_own_white_and_what_has_8_bits_is_not_changed() -> None:
    eight = encoded(Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)), "PNG")
    own_white = a_pgm(STEPS, 4095)

    for data in (eight, own_white, encoded(Image.new("RGB", (8, 8), (9, 99, 199)), "JPEG")):
        plain = codec.decode_whole(data, channels=3)
        assert np.array_equal(plain, codec.decode_whole(data, channels=3, white_level=1023))
        assert codec.inspect(data).peak is None
    assert codec.decode_whole(own_white, channels=1)[0, :, 0].tolist() == SHOWN


def test_colour_of_16_bits_is_scaled_too() -> None:
    values = np.stack([STEPS, STEPS[:, ::-1], STEPS], axis=2)

    shown = codec.decode_whole(a_colour_png(values), channels=3, white_level=4095)

    assert codec.inspect(a_colour_png(values)).peak == 4095
    assert np.abs(shown[0, :, 0].astype(int) - SHOWN).max() <= 8  # of the upper 8 bits 16 levels are left
    exact = b"P6 6 1 65535\n" + values.astype(">u2").tobytes()
    assert codec.decode_whole(exact, channels=3, white_level=4095)[0, :, 1].tolist() == SHOWN[::-1]


def test_the_white_level_leaves_opacity_as_it_is() -> None:
    opacity = np.full_like(STEPS, 32768)
    header = b"P7\nWIDTH 6\nHEIGHT 1\nDEPTH 2\nMAXVAL 65535\nTUPLTYPE GRAYSCALE_ALPHA\nENDHDR\n"
    data = header + np.stack([STEPS, opacity], axis=2).astype(">u2").tobytes()

    assert codec.decode_whole(data, channels=4, white_level=4095)[0, :, 3].tolist() == [128] * 6
    assert codec.inspect(data).peak == 4095


def test_a_tiff_where_0_is_white_is_turned_round() -> None:
    data = encoded(Image.fromarray(STEPS), "TIFF", tiffinfo={262: 0})

    assert codec.decode_whole(data, channels=1, white_level=4095)[0, :, 0].tolist() == SHOWN[::-1]
    assert codec.decode_whole(data, channels=1)[0, :, 0].tolist() == [255 - value // 256 for value in STEPS[0]]


@pytest.mark.parametrize(("bits", "white"), [(8, 255), (10, 1023), (12, 4095), (14, 16383), (15, 32767)])
@pytest.mark.parametrize("format_", ["PNG", "TIFF", "PGM"])
def test_the_report_warns_of_16_bits_that_are_used_in_part(bits: int, white: int, format_: str, store: Store) -> None:
    dataset = store.ingest(files_of(bits, format_=format_))

    found = checks(dataset)["narrow_16_bit"]
    assert (found["severity"], found["count"]) == ("warning", 12)
    assert f"0 to {white} of 65535" in found["message"]
    assert f"`input.white_level` {white}" in found["message"]
    assert dataset.card["largest_16_bit"] == white


def test_the_report_does_not_warn_of_whole_16_bits_or_of_8(store: Store) -> None:
    whole = store.ingest(files_of(16))
    eight = store.ingest(
        {
            f"{label}/{n}.png": encoded(Image.new("L", (20, 20), 9 + n + 40 * (label == "b")), "PNG")
            for label in "ab"
            for n in range(4)
        }
    )

    assert "narrow_16_bit" not in checks(whole)
    assert "narrow_16_bit" not in checks(eight)
    assert (whole.card["largest_16_bit"], eight.card["largest_16_bit"]) == (65535, 0)


@pytest.mark.parametrize(
    ("largest", "white_level", "said"),
    [
        (4095, None, "set `input.white_level` to 4095"),
        (1000, None, "set `input.white_level` to 1023"),
        (4095, 4095, None),
        (65535, None, None),
        (60000, 4095, "become white"),
        (0, 4095, "does nothing"),
        (0, None, None),
        (None, 4095, None),
    ],
)
def test_a_resolved_spec_warns_of_a_white_level_that_does_not_fit(
    largest: int | None, white_level: int | None, said: str | None
) -> None:
    spec = ImageSpec.model_validate(
        {"name": "x", "dataset": "ds_0000000000", **PLAIN, "input": {"size": 32, "white_level": white_level}}
    )

    _, warnings = IMAGE.resolve(spec, replace(LEAVES, largest_16_bit=largest))

    found = [warning for warning in warnings if "white_level" in warning]
    assert bool(found) == (said is not None)
    assert said is None or said in found[0]


def test_the_white_of_the_fewest_bits_is_proposed() -> None:
    assert [fitting_white(value) for value in (1, 255, 256, 3000, 32767, 32768)] == [255, 255, 511, 4095, 32767, None]


def test_numbers_without_white_are_still_refused() -> None:
    with pytest.raises(UndecodableImage, match="floating-point"):
        codec.decode_whole(encoded(Image.new("F", (4, 4)), "TIFF"), channels=1, white_level=4095)
