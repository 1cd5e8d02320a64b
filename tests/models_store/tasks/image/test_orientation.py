"""Which way up a JPEG is, wherever and however its metadata says so: all decoders agree, and Pillow with them."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from models_store.tasks.image import codec, orientation

SIDE = 64
XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description {}</rdf:Description></rdf:RDF></x:xmpmeta>'
GAP = 130_000  # bytes: two segments' worth


def a_jpeg(segments: list[bytes]) -> bytes:
    """Return a JPEG whose brightness falls from the left and, less, from the top, with these segments at its start."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    shades = (250 - 2 * columns - rows).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.stack([shades] * 3, axis=2)).save(buffer, "JPEG", quality=95)
    plain = buffer.getvalue()
    return plain[:2] + b"".join(segments) + plain[2:]


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def exif(value: int, *, order: str = "<", kind: int = 3) -> bytes:
    packed = struct.pack(f"{order}{'H2x' if kind == 3 else 'I'}", value)
    entry = struct.pack(f"{order}HHI", 0x0112, kind, 1) + packed
    mark = b"II*\x00" if order == "<" else b"MM\x00*"
    tiff = mark + struct.pack(f"{order}IH", 8, 1) + entry + struct.pack(f"{order}I", 0)
    return segment(0xE1, b"Exif\x00\x00" + tiff)


def xmp(value: int, *, as_attribute: bool = True) -> bytes:
    said = f'tiff:Orientation="{value}">' if as_attribute else f"><tiff:Orientation>{value}</tiff:Orientation>"
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\x00" + XMP.format(said).encode())


def filler(size: int, marker: int = 0xE2) -> bytes:
    return b"".join(segment(marker, bytes(min(size - start, 65_000))) for start in range(0, size, 65_000))


values = st.integers(1, 8)
segments = st.lists(
    st.one_of(
        st.builds(exif, values, order=st.sampled_from("<>"), kind=st.sampled_from([3, 4])),
        st.builds(xmp, values, as_attribute=st.booleans()),
        st.builds(filler, st.integers(1, 200_000), st.sampled_from([0xE2, 0xE3, 0xED, 0xEF, 0xFE])),
        st.just(b"\xff\xff"),  # padding
    ),
    max_size=5,
)


@settings(max_examples=40, deadline=None)
@given(segments)
def test_all_decoders_turn_an_image_as_pillow_does(given_segments: list[bytes]) -> None:
    while given_segments and given_segments[-1] == b"\xff\xff":
        given_segments.pop()  # one padding byte more would be the marker's own
    data = a_jpeg(given_segments)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    expected = np.asarray(upright.convert("RGB"))

    whole = codec.decode_whole(data, channels=3)
    scaled = codec.decode(data, size=SIDE // 4, channels=3, fit="crop")

    assert np.array_equal(whole, expected)
    smaller = np.asarray(Image.fromarray(expected).resize((SIDE // 4, SIDE // 4), Image.Resampling.BILINEAR))
    assert np.abs(scaled.astype(int) - smaller).max() < 12


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("where", [exif, xmp])
def test_an_orientation_behind_other_segments_is_found(where: object, value: int) -> None:
    assert callable(where)

    assert orientation.of_jpeg(a_jpeg([filler(GAP), where(value), filler(GAP)])) == value


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe1\x00",
        a_jpeg([exif(0)]),
        a_jpeg([exif(9)]),
        a_jpeg([segment(0xE1, b"Exif\x00\x00II*\x00\xff\xff\xff\xff")]),
        a_jpeg([segment(0xE1, b"Exif\x00\x00XX*\x00")]),
        a_jpeg([segment(0xE1, b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff")]),
        a_jpeg([xmp(0), xmp(9)]),
        a_jpeg([])[:2] + b"\xff\xe1\x00\x00" + a_jpeg([])[2:],
    ],
)
def test_metadata_that_says_nothing_leaves_an_image_as_it_is(broken: bytes) -> None:
    assert orientation.of_jpeg(broken) == orientation.UPRIGHT


def test_exif_comes_before_xmp_wherever_it_stands() -> None:
    assert orientation.of_jpeg(a_jpeg([xmp(3), exif(6)])) == orientation.of_jpeg(a_jpeg([exif(6), xmp(3)])) == 6


def test_a_preview_inside_a_segment_is_not_taken_for_the_image() -> None:
    assert orientation.of_jpeg(a_jpeg([segment(0xE2, a_jpeg([exif(6)])), exif(8)])) == 8
