import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models_store.tasks.image import codec
from models_store.tasks.image.codec import ImageFacts, UndecodableImage

SMOOTH = np.asarray(Image.radial_gradient("L").resize((90, 60))).astype(np.uint8)
PICTURE = Image.fromarray(np.dstack([SMOOTH, SMOOTH[::-1], 255 - SMOOTH]))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(data: bytes, size: int = 32, channels: int = 3, fit: Any = "crop") -> np.ndarray[Any, Any]:
    return codec.decode(data, size=size, channels=channels, fit=fit)


def a_png_that_says(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))

    header = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_each_format_gives_nearly_the_same_pixels(kind: str) -> None:
    expected = decoded(saved(PICTURE, "PNG"), size=24).astype(int)

    for channels in (1, 3):
        assert decoded(saved(PICTURE, kind), 24, channels).shape == (24, 24, channels)
    assert np.abs(decoded(saved(PICTURE, kind), 24).astype(int) - expected).mean() < 6
    assert codec.inspect(saved(PICTURE, kind)) == ImageFacts(90, 60, kind)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_every_colour_mode_becomes_rgb_and_grey(mode: str, kind: str) -> None:
    image = Image.fromarray(SMOOTH.astype(np.uint16) * 257) if mode == "I;16" else PICTURE.convert(mode)
    try:
        data = saved(image, kind)
    except (OSError, KeyError):
        pytest.skip(f"{kind} has no {mode}")

    rgb, grey = decoded(data, 30), decoded(data, 30, 1)

    assert rgb.dtype == grey.dtype == np.uint8
    assert rgb.max() > rgb.min()
    assert np.abs(np.asarray(Image.fromarray(rgb).convert("L")).astype(int) - grey[..., 0]).mean() < 3


def test_sixteen_bit_grey_keeps_its_brightness() -> None:
    sixteen = saved(Image.fromarray(SMOOTH.astype(np.uint16) * 257), "PNG")

    assert np.array_equal(decoded(sixteen, 60, 1), decoded(saved(Image.fromarray(SMOOTH), "PNG"), 60, 1))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_an_image_without_an_agreed_white_is_refused(mode: str) -> None:
    with pytest.raises(UndecodableImage, match="white"):
        decoded(saved(Image.new(mode, (40, 40)), "TIFF"))


@pytest.mark.parametrize(("mode", "kind"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF")])
def test_transparency_lies_on_white(mode: str, kind: str) -> None:
    clear = saved(
        Image.new("RGBA", (40, 40), (0, 0, 0, 0)).convert(mode),
        kind,
        **({"lossless": True} if kind == "WEBP" else {}),
    )

    assert decoded(clear).min() == 255
    assert decoded(clear, channels=1).min() == 255


def test_a_transparent_palette_lies_on_white() -> None:
    palette = Image.new("P", (40, 40), 0)
    palette.putpalette([10, 20, 30] * 256)

    assert decoded(saved(palette, "GIF", transparency=0)).min() == 255
    assert decoded(saved(palette, "PNG", transparency=bytes([128] * 256))).mean() == pytest.approx(137.5, abs=2)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_is_its_first_frame(kind: str) -> None:
    red, blue = Image.new("RGB", (40, 40), "red"), Image.new("RGB", (40, 40), "blue")

    animation = saved(red, kind, save_all=True, append_images=[blue])

    assert decoded(animation)[..., 0].min() > 240
    assert decoded(animation)[..., 2].max() < 15


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_the_exif_orientation_is_honoured(kind: str, orientation: int, fit: str) -> None:
    turns = {
        2: "FLIP_LEFT_RIGHT",
        3: "ROTATE_180",
        4: "FLIP_TOP_BOTTOM",
        5: "TRANSPOSE",
        6: "ROTATE_90",
        7: "TRANSVERSE",
        8: "ROTATE_270",
    }
    upright = Image.fromarray(np.dstack([SMOOTH, np.tile(np.arange(90, dtype=np.uint8), (60, 1)), SMOOTH // 2]))
    stored = upright.transpose(Image.Transpose[turns[orientation]]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation

    data = saved(stored, kind, exif=exif, **({"quality": 97} if kind in {"JPEG", "WEBP"} else {}))

    expected = decoded(saved(upright, "PNG"), 32, 3, fit).astype(int)
    assert np.abs(decoded(data, 32, 3, fit).astype(int) - expected).mean() < 3
    facts = codec.inspect(data)
    assert (facts.width, facts.height) == (90, 60)


def test_crop_takes_the_middle_and_stretch_takes_all() -> None:
    stripes = np.zeros((40, 120, 3), np.uint8)
    stripes[:, 40:80] = 255
    data = saved(Image.fromarray(stripes), "PNG")

    assert decoded(data, 40, 3, "crop").min() == 255
    assert decoded(data, 40, 3, "stretch")[:, :10].max() == 0
    assert decoded(data, 40, 3, "stretch")[:, 16:24].min() == 255


def test_shrinking_averages_and_does_not_pick() -> None:
    chequered = np.indices((256, 256)).sum(0) % 2 * 255

    shrunk = decoded(saved(Image.fromarray(chequered.astype(np.uint8)), "PNG"), 16, 1)

    assert np.abs(shrunk.astype(int) - 127).max() < 8


@pytest.mark.parametrize("shape", [(700, 1000), (1500, 400), (64, 64), (20, 3000)])
def test_a_jpeg_scaled_while_decoding_is_close_to_one_decoded_whole(shape: tuple[int, int]) -> None:
    gradient = Image.radial_gradient("L").resize((shape[1], shape[0]))
    data = saved(Image.merge("RGB", [gradient, gradient.rotate(180), gradient]), "JPEG", quality=95)
    whole = Image.open(io.BytesIO(data)).convert("RGB")

    for size in (28, 64, 224):
        reference = decoded(saved(whole, "PNG"), size).astype(int)
        assert np.abs(decoded(data, size).astype(int) - reference).mean() < 2


def test_the_same_bytes_give_the_same_pixels() -> None:
    data = saved(PICTURE.resize((801, 533)), "JPEG")

    assert len({decoded(data, 64).tobytes() for _ in range(5)}) == 1


def test_an_image_of_the_right_size_is_left_as_it_is() -> None:
    picture = PICTURE.crop((0, 0, 32, 32))

    assert np.array_equal(decoded(saved(picture, "PNG")), np.asarray(picture))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_a_truncated_image_is_refused_by_both_calls(kind: str, share: float) -> None:
    whole = saved(Image.effect_noise((120, 90), 60), kind)
    part = whole[: int(len(whole) * share)]

    with pytest.raises(UndecodableImage):
        codec.inspect(part)
    with pytest.raises(UndecodableImage):
        decoded(part)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "HTML"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"this is not an image at all", "text"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(40), "HEIC"),
        (b"\xff\xd8\xff", "header is damaged"),
        (b"\xff\xd8\xff\xe0" + b"not really a jpeg" * 10, "header is damaged"),
        (bytes(1000), "no image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "text"),
    ],
)
def test_what_is_no_image_is_refused_with_what_it_is(data: bytes, said: str) -> None:
    with pytest.raises(UndecodableImage, match=said) as refusal:
        decoded(data)

    assert (refusal.value.status, refusal.value.code) == (422, "image_undecodable")


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (2**31 - 1, 2**31 - 1), (8001, 8000)])
def test_a_pixel_bomb_is_refused_by_its_header(width: int, height: int) -> None:
    with pytest.raises(UndecodableImage, match="at most 64000000 pixels"):
        decoded(a_png_that_says(width, height))


def test_a_jpeg_over_the_limit_is_refused_by_its_header() -> None:
    data = saved(PICTURE, "JPEG")

    with pytest.raises(UndecodableImage, match="90 x 60; at most 5000 pixels"):
        codec.decode(data, size=32, channels=3, fit="crop", max_pixels=5000)
    with pytest.raises(UndecodableImage, match="at most 5000 pixels"):
        codec.inspect(data, max_pixels=5000)


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(UndecodableImage):
        decoded(a_png_that_says(0, 10))


def test_a_jpeg_of_thousands_of_scans_is_refused() -> None:
    data = saved(PICTURE, "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]

    with pytest.raises(UndecodableImage, match="scans"):
        decoded(data[:-2] + scan * 1000 + b"\xff\xd9")


def test_stray_bytes_that_old_cameras_write_are_tolerated() -> None:
    data = saved(PICTURE, "JPEG")

    assert decoded(data[:-2] + bytes(8) + data[-2:]).shape == (32, 32, 3)
    assert codec.inspect(data + bytes(100)) == ImageFacts(90, 60, "JPEG")


def test_damaged_metadata_does_not_lose_the_image() -> None:
    data = saved(PICTURE, "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff garbage")

    assert codec.inspect(data) == ImageFacts(90, 60, "JPEG")


MUTABLE = [
    saved(PICTURE, "JPEG"),
    saved(PICTURE, "JPEG", progressive=True),
    saved(PICTURE.convert("CMYK"), "JPEG"),
    saved(PICTURE, "PNG"),
    saved(PICTURE.convert("P"), "PNG"),
    saved(PICTURE, "WEBP"),
    saved(PICTURE, "GIF"),
    saved(PICTURE, "TIFF", compression="tiff_lzw"),
    saved(PICTURE, "TIFF"),
    saved(PICTURE, "BMP"),
]


@settings(max_examples=400, deadline=None)
@given(
    whole=st.sampled_from(MUTABLE),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=4)), max_size=6),
    keep=st.floats(0.05, 1),
)
def test_damaged_images_are_decoded_or_refused_and_nothing_else(
    whole: bytes, changes: list[tuple[float, bytes]], keep: float
) -> None:
    data = bytearray(whole[: int(len(whole) * keep)])
    for share, patch in changes:
        at = int(share * share * len(data))  # headers more often than pixels
        data[at : at + len(patch)] = patch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # which are printed, is the filter's; none may become an error
        try:
            facts = codec.inspect(bytes(data), max_pixels=10**6)
        except UndecodableImage:
            facts = None
        try:
            result = codec.decode(bytes(data), size=20, channels=3, fit="crop", max_pixels=10**6)
        except UndecodableImage:
            result = None

    assert (facts is None) == (result is None)
    assert result is None or (result.shape == (20, 20, 3) and result.dtype == np.uint8)


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\x00", b"RIFF....WEBP"]),
)
def test_random_bytes_are_refused_and_nothing_else(noise: bytes, head: bytes) -> None:
    try:
        facts = codec.inspect(head + noise, max_pixels=10**6)
    except UndecodableImage as refusal:
        assert refusal.detail  # noqa: PT017  either outcome is right, anything else raises
    else:
        assert facts.width * facts.height > 0


def test_four_channels_are_the_picture_on_white_and_its_alpha() -> None:
    image = PICTURE.copy()
    image.putalpha(Image.fromarray(SMOOTH))

    rgba = decoded(saved(image, "PNG"), channels=4)

    assert np.array_equal(rgba[..., :3], decoded(saved(image, "PNG")))
    assert np.array_equal(rgba[..., 3:], decoded(saved(Image.fromarray(SMOOTH), "PNG"), channels=1))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_image_without_transparency_is_opaque(kind: str) -> None:
    rgba = decoded(saved(PICTURE, kind), channels=4)

    assert np.array_equal(rgba[..., :3], decoded(saved(PICTURE, kind)))
    assert (rgba[..., 3] == 255).all()
