import gzip
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models_store.tasks.image import codec
from models_store.tasks.image.codec import UndecodableImage
from models_store.tasks.image.formats import FORMATS, LEFT_OUT, READ, looks_like_image
from models_store.tasks.image.pixel_budget import PixelBudget, TooManyPixels
from tests.models_store.datasets.dataset_stores import Store, checks
from tests.models_store.tasks.image.image_files import a_pgm, a_picture, a_tiff, encoded

PICTURE = a_picture()
EXACT: list[tuple[str, str, str, dict[str, Any]]] = [
    ("PNM", "PPM", "RGB", {}),
    ("PNM", "PPM", "L", {}),
    ("PNM", "PPM", "1", {}),
    ("TGA", "TGA", "RGB", {}),
    ("TGA", "TGA", "RGB", {"compression": "tga_rle"}),
    ("TGA", "TGA", "RGB", {"orientation": 1}),
    ("TGA", "TGA", "P", {}),
    ("TGA", "TGA", "L", {"compression": "tga_rle"}),
    ("PCX", "PCX", "RGB", {}),
    ("PCX", "PCX", "P", {}),
    ("PCX", "PCX", "L", {}),
    ("PCX", "PCX", "1", {}),
    ("SGI", "SGI", "RGB", {}),
    ("SGI", "SGI", "L", {}),
    ("QOI", "QOI", "RGB", {}),
    ("ICO", "ICO", "RGB", {"sizes": [(40, 30)]}),
    ("DDS", "DDS", "RGB", {}),
    ("DDS", "DDS", "L", {}),
    ("JPEG2000", "JPEG2000", "RGB", {"irreversible": False}),
    ("JPEG2000", "JPEG2000", "L", {"no_jp2": True}),
    ("AVIF", "AVIF", "L", {"quality": 100}),
]


@pytest.mark.parametrize(("name", "plugin", "mode", "how"), EXACT)
def test_a_format_is_read_as_it_was_written(name: str, plugin: str, mode: str, how: dict[str, Any]) -> None:
    picture = PICTURE.convert(mode)
    data = encoded(picture, plugin, **how)

    facts = codec.inspect(data)

    assert (facts.width, facts.height, facts.format) == (40, 30, name)
    assert facts.grey == (mode in {"L", "1"})
    shown = codec.decode_whole(data, channels=3).astype(int)
    assert np.abs(shown - np.asarray(picture.convert("RGB"))).max() <= (2 if name == "AVIF" else 0)
    served = codec.decode(data, size=16, channels=3, fit="crop")
    assert np.array_equal(served, codec.decode(data, size=16, channels=3, fit="crop"))
    assert looks_like_image(data[:32]) == (name not in {"TGA", "ICO"})


def a_bmp_with_alpha(picture: Image.Image) -> bytes:
    """Return a BMP of 32 bits whose header names the bits of an alpha, which Pillow can't write."""
    rows = np.asarray(picture)[::-1, :, [2, 1, 0, 3]].tobytes()
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<LllHHLLllLL4L", 56, *picture.size, 1, 32, 3, len(rows), 0, 0, 0, 0, *masks)
    return b"BM" + struct.pack("<LHHL", 70 + len(rows), 0, 0, 70) + header + rows


@pytest.mark.parametrize("format_", ["TGA", "BMP", "ICO", "DDS"])
def test_a_fourth_channel_that_is_0_everywhere_is_no_transparency(format_: str) -> None:
    idle, half = PICTURE.convert("RGBA"), PICTURE.convert("RGBA")
    idle.putalpha(0)
    half.putalpha(Image.linear_gradient("L").resize(PICTURE.size).point(lambda alpha: alpha if alpha > 9 else 0))
    how: dict[str, Any] = {"sizes": [(40, 30)], "bitmap_format": "bmp"} if format_ == "ICO" else {}

    shown, meant = (
        codec.decode_whole(a_bmp_with_alpha(each) if format_ == "BMP" else encoded(each, format_, **how), channels=4)
        for each in (idle, half)
    )

    assert np.array_equal(shown[:, :, :3], np.asarray(PICTURE))
    assert shown[:, :, 3].min() == 255
    assert (meant[0, 0, 3], meant[0, 0, :3].tolist()) == (0, [255, 255, 255])


def test_a_tga_whose_header_gives_no_bits_to_alpha_has_none() -> None:
    picture = PICTURE.convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(PICTURE.size))
    data = bytearray(encoded(picture, "TGA"))
    data[17] &= 0xF0

    assert np.array_equal(codec.decode_whole(bytes(data), channels=3), np.asarray(PICTURE))


def test_a_sun_raster_of_32_bits_is_refused() -> None:
    data = struct.pack(">8L", 0x59A66A95, 4, 4, 32, 64, 1, 0, 0) + bytes(64)

    with pytest.raises(UndecodableImage, match="32 bits"):
        codec.inspect(data)


def test_an_avif_is_read_with_its_turn_and_its_alpha() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(PICTURE, "AVIF", quality=95, exif=exif)
    clear = encoded(Image.new("RGBA", (32, 32), (0, 0, 0, 0)), "AVIF")

    upright = codec.decode_whole(turned, channels=3).astype(int)

    assert upright.shape == (40, 30, 3)
    assert np.abs(upright - np.asarray(PICTURE.transpose(Image.Transpose.ROTATE_270))).mean() < 10
    assert codec.decode_whole(clear, channels=4)[0, 0].tolist() == [255, 255, 255, 0]


def test_the_first_picture_of_an_animated_avif_is_read() -> None:
    more = [Image.new("RGB", PICTURE.size, "red")] * 4

    shown = codec.decode_whole(encoded(PICTURE, "AVIF", save_all=True, append_images=more), channels=3)

    assert np.abs(shown.astype(int) - np.asarray(PICTURE)).mean() < 12


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"P1\n# a comment\n3 2\n1 0 1\n0 1 0\n", [[0, 255, 0], [255, 0, 255]]),
        (b"P1 3 2 101010", [[0, 255, 0], [255, 0, 255]]),
        (b"P4\n3 2\n\xa0\x40", [[0, 255, 0], [255, 0, 255]]),
        (b"P2\n3 2\n15\n0 3 15 # the first row\n1 2 15\n", [[0, 51, 255], [17, 34, 255]]),
        (b"P2 #w\r\n3 #h\r\n2\r\n15\r\n0 3 15 1 2 15", [[0, 51, 255], [17, 34, 255]]),
        (b"P5\n3 2\n15\n\x00\x03\x0f\x01\x02\x0f", [[0, 51, 255], [17, 34, 255]]),
        (b"P5\n#c\n3 2 255\n" + bytes([0, 51, 255, 17, 34, 255]), [[0, 51, 255], [17, 34, 255]]),
        (b"P5 3 2 4095\n" + struct.pack(">6H", 0, 819, 4095, 273, 546, 4095), [[0, 51, 255], [17, 34, 255]]),
        (b"P2 3 2 1023\n0 205 1023 68 136 1023", [[0, 51, 255], [17, 34, 255]]),
        (
            b"P5 3 2 65535\n" + struct.pack(">6H", 0, 0x3344, 65535, 0x1100, 0x22FF, 65535),
            [[0, 51, 255], [17, 34, 255]],
        ),
        (
            b"P7\nWIDTH 3\nHEIGHT 2\n#c\nDEPTH 1\nMAXVAL 15\nTUPLTYPE GRAYSCALE\nENDHDR\n\x00\x03\x0f\x01\x02\x0f",
            [[0, 51, 255], [17, 34, 255]],
        ),
    ],
)
def test_netpbm_values_are_scaled_by_the_largest_they_declare(data: bytes, expected: list[list[int]]) -> None:
    assert codec.decode_whole(data, channels=1)[:, :, 0].tolist() == expected
    assert codec.inspect(data).grey


def test_colour_of_netpbm_is_read_in_every_depth() -> None:
    colours = [[255, 0, 51], [0, 255, 102]]
    files = [
        b"P3 2 1 255 255 0 51 0 255 102",
        b"P6 2 1 255\n" + bytes([255, 0, 51, 0, 255, 102]),
        b"P6 2 1 5\n" + bytes([5, 0, 1, 0, 5, 2]),
        b"P3 2 1 65535 65535 0 13107 0 65535 26214",
        b"P6 2 1 1000\n" + struct.pack(">6H", 1000, 0, 200, 0, 1000, 400),
        b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + bytes([255, 0, 51, 0, 255, 102]),
    ]

    assert [codec.decode_whole(data, channels=3)[0].tolist() for data in files] == [colours] * len(files)
    clear = b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n" + bytes([9, 9, 9, 0])
    assert codec.decode_whole(clear, channels=4)[0, 0].tolist() == [255, 255, 255, 0]


def test_every_format_of_pillow_is_read_or_left_out_with_a_reason() -> None:
    Image.init()

    names = {"PNM" if name == "PPM" else name for name in Image.OPEN}

    page = (Path(__file__).parents[4] / "docs/images.md").read_text(encoding="utf-8")
    assert names <= set(FORMATS) | set(LEFT_OUT)
    assert not set(FORMATS) & set(LEFT_OUT)
    assert all(f"| {name} |" in page for name in [*FORMATS, *LEFT_OUT])


def test_a_text_that_begins_like_an_image_is_none() -> None:
    for text in (b"P1 is the first part", b"P6\n", b"BMW and others", b"GIF87 was first", b"II*", b"\n\x05"):
        assert not looks_like_image(text)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(40), "HEIC"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic" + bytes(40), "HEIC"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42" + bytes(40), "film"),
        (b"\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00qt  " + bytes(40), "film"),
        (b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom" + bytes(40), "CR3"),
        (b"\xff\x0a" + bytes(40), "JPEG XL"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(40), "JPEG XL"),
        (b"\xff\xd8\xff\xf7" + bytes(40), "JPEG-LS"),
        (b"II\xbc\x01" + bytes(40), "JPEG XR"),
        (b"%PDF-1.7\n" + bytes(40), "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS"),
        (b"\xc5\xd0\xd3\xc6" + bytes(40), "EPS"),
        (b"8BPS\x00\x01" + bytes(40), "Photoshop"),
        (bytes(128) + b"DICM" + bytes(40), "DICOM"),
        (struct.pack("<L", 348) + bytes(340) + b"n+1\x00" + bytes(40), "NIfTI"),
        (gzip.compress(b"x", mtime=0), "gzip"),
        (b"v/1\x01" + bytes(40), "OpenEXR"),
        (b"SIMPLE  =                    T", "FITS"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "film"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "sound"),
        (b"\x1aE\xdf\xa3" + bytes(40), "film"),
        (b"\x93NUMPY\x01\x00" + bytes(40), "NumPy"),
        (b"Pf\n4 4\n-1.0\n" + bytes(64), "floating-point"),
        (b"\n\n<!doctype html><html>", "HTML"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML"),
        (b"<?xml version='1.0'?>\n<svg xmlns='x'/>", "SVG"),
        (b'{"error": "not found"}', "JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
        (b"IIRO\x08\x00\x00\x00", "ORF"),
        (b"L\x00\x00\x00\x01\x14\x02\x00" + bytes(40), "shortcut"),
        (bytes(1000), "1000 zero bytes"),
        (b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(40), "CR2"),
        (a_tiff(t50706=1), "DNG"),
        (a_tiff(photometric=32803), "DNG"),
        (a_tiff(t254=1, t330=8), "NEF"),
        (a_tiff(photometric=8), "CIELAB"),
        (a_tiff(bits=32, kind=3), "32-bit floating-point"),
        (a_tiff(bytes(128), bits=64, kind=3), "64-bit floating-point"),
        (a_tiff(bits=16, kind=3), "16-bit floating-point"),
        (a_tiff(bits=32, kind=2), "signed 32-bit integers"),
        (a_tiff(bits=16, kind=2), "signed 16-bit integers"),
        (a_tiff(bits=32), "of 32-bit integers"),
        (a_tiff(bytes(128), bits=64, kind=6), "complex numbers"),
        (a_tiff(bits=14), "14 bits"),
        (encoded(Image.new("F", (4, 4)), "TIFF"), "32-bit floating-point"),
        (encoded(Image.new("I", (4, 4)), "TIFF"), "signed 32-bit integers"),
    ],
)
def test_what_is_known_and_not_read_is_named(data: bytes, name: str) -> None:
    with pytest.raises(UndecodableImage, match=name):
        codec.inspect(data)


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
            "not the image; run `git lfs pull` before packing",
        ),
        (b"/annex/objects/SHA256E-s1--0.png", "not the image; run `git annex get` before packing"),
        (bytes(128) + b"DICM" + bytes(40), "a DICOM file; export its pixels with a tool that applies the window"),
        (b"L\x00\x00\x00\x01\x14\x02\x00" + bytes(40), "send the file that it points to"),
        (b"8BPS\x00\x01" + bytes(40), "which is not read; convert it to one of JPEG, PNG"),
    ],
)
def test_a_refusal_gives_one_piece_of_advice(data: bytes, advice: str) -> None:
    with pytest.raises(UndecodableImage) as refused:
        codec.inspect(data)

    assert advice in refused.value.detail
    assert refused.value.detail.count(";") == 1


def _with_size(data: bytes, at: int, layout: str, *size: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(layout, changed, at, *size)
    return bytes(changed)


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))

    header = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


HUGE = {
    "PNM": b"P6 60000 60000 255\n",
    "PNM, ten digits": b"P5 9999999999 9999999999 255\n",
    "PAM": b"P7\nWIDTH 60000\nHEIGHT 60000\nDEPTH 4\nMAXVAL 255\nENDHDR\n",
    "TGA": _with_size(encoded(PICTURE, "TGA", compression="tga_rle"), 12, "<HH", 65535, 65535),
    "PCX": _with_size(encoded(PICTURE, "PCX"), 8, "<HH", 65534, 65534),
    "SGI": _with_size(encoded(PICTURE, "SGI"), 6, ">HH", 65535, 65535),
    "SUN": struct.pack(">8L", 0x59A66A95, 60000, 60000, 8, 0, 2, 0, 0) + bytes(100),
    "QOI": b"qoif" + struct.pack(">LLBB", 8000, 8000, 3, 0) + b"\xfd" * 100,
    "QOI, slow": b"qoif" + struct.pack(">LLBB", 4000, 4000, 3, 0) + b"\xfd" * 300_000,
    "DDS": _with_size(encoded(PICTURE, "DDS"), 12, "<LL", 60000, 60000),
    "ICO": b"\x00\x00\x01\x00\x01\x00" + struct.pack("<BBBBHHLL", 16, 16, 0, 0, 1, 32, 100, 22) + _png(9000, 9000),
    "ICO, count": b"\x00\x00\x01\x00\xff\xff" + struct.pack("<BBBBHHLL", 16, 16, 0, 0, 1, 32, 100, 22) * 500,
    "AVIF": encoded(PICTURE, "AVIF").replace(struct.pack(">LL", 40, 30), struct.pack(">LL", 60000, 60000)),
    "AVIF, inside": encoded(Image.new("L", (4096, 4096)), "AVIF", speed=10).replace(
        struct.pack(">LL", 4096, 4096), struct.pack(">LL", 40, 30)
    ),
    "JPEG2000": encoded(PICTURE, "JPEG2000").replace(struct.pack(">LL", 30, 40), struct.pack(">LL", 60000, 60000)),
    "JPEG2000, inside": encoded(Image.new("L", (512, 512)), "JPEG2000").replace(
        struct.pack(">LL", 512, 512), struct.pack(">LL", 16, 16), 1
    ),
    "JPEG2000, tiles": encoded(Image.new("L", (512, 512)), "JPEG2000", tile_size=(4, 4)),
    "JPEG2000, blocks": encoded(Image.new("L", (512, 512)), "JPEG2000", codeblock_size=(4, 4)),
    "JPEG2000, precincts": encoded(Image.new("L", (512, 512)), "JPEG2000", precinct_size=(8, 8), codeblock_size=(4, 4)),
}


@pytest.mark.parametrize("name", HUGE)
def test_what_costs_far_more_than_its_bytes_is_refused_before_it_is_decoded(name: str) -> None:
    for look in (
        codec.inspect,
        lambda data: codec.decode(data, size=32, channels=3, fit="crop"),
        lambda data: codec.decode_whole(data, channels=3),
    ):
        with pytest.raises(UndecodableImage):
            look(HUGE[name])


@pytest.mark.parametrize("head", [b"P1 4 1\n", b"P2 4 1 255\n", b"P3 4 1 255\n"])
def test_comments_among_the_pixels_of_a_netpbm_are_few(head: bytes) -> None:
    values = b"1 1 1 1 " * 3

    assert codec.inspect(head + b"# nine\n" * 9 + values).width == 4
    with pytest.raises(UndecodableImage, match="10000 comments"):
        codec.inspect(head + b"#\n" * 10_001 + values)


def test_an_avif_of_hidden_frames_is_refused() -> None:
    data = encoded(Image.new("L", (2048, 2048)), "AVIF", speed=10)
    at = data.index(b"mdat") + 4
    sample = data[at:]
    location = struct.pack(">LL", at, len(sample))
    assert location in data
    frame_at = sample.index(b"\x0a") + 2 + sample[sample.index(b"\x0a") + 1]  # behind the sequence header
    frames = sample[:frame_at] + sample[frame_at:] * 30
    hostile = data[: at - 8] + struct.pack(">L", len(frames) + 8) + b"mdat" + frames
    hostile = hostile.replace(location, struct.pack(">LL", at, len(frames)))

    with pytest.raises(UndecodableImage, match="frames of more than 16 times"):
        codec.inspect(hostile)


@pytest.mark.parametrize(("name", "plugin", "mode", "how"), EXACT)
def test_a_part_of_a_file_is_never_read_as_the_whole(name: str, plugin: str, mode: str, how: dict[str, Any]) -> None:
    data = encoded(PICTURE.convert(mode), plugin, **how)
    if name == "ICO":
        data = data[: len(data) // 2]

    with pytest.raises(UndecodableImage):
        codec.inspect(data[: len(data) * 2 // 3])


def test_pixels_of_all_formats_count_against_the_budget() -> None:
    for _, plugin, mode, how in EXACT:
        with pytest.raises(TooManyPixels):
            codec.inspect(encoded(PICTURE.convert(mode), plugin, **how), budget=PixelBudget(1000))


def test_a_folder_of_any_format_becomes_a_dataset(store: Store) -> None:
    files = {}
    for number, each in enumerate(READ):
        plugin = {"PNM": "PPM", "SUN": ""}.get(each.name, each.name)
        for label in "ab":
            image = Image.new("RGB", (32, 32), (number * 9, 100, 50 if label == "a" else 200))
            raw = struct.pack(">8L", 0x59A66A95, 32, 32, 24, 3072, 1, 0, 0) + image.tobytes()
            how = {"sizes": [(32, 32)]} if plugin == "ICO" else {}
            content = encoded(image, plugin, **how) if plugin else raw
            files |= {f"{label}/{number}-{suffix[1:]}{suffix}": content for suffix in each.suffixes[:1]}

    dataset = store.ingest(files)

    assert dataset.card["images"] == 2 * len(READ)
    assert "ignored_files" not in checks(dataset)


def test_a_file_of_a_format_that_is_not_read_is_reported_by_its_name(store: Store) -> None:
    heic = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(40)

    refusal = store.refusal({"a/1.ppm": a_pgm(np.eye(20) * 9, 9), "b/1.heic": heic, "b/2.jpg": heic})

    assert set(checks(refusal)["undecodable"]["files"]) == {"b/1.heic", "b/2.jpg"}
    assert all("HEIC" in reason for reason in checks(refusal)["undecodable"]["reasons"].values())


def test_decoders_print_nothing_about_a_users_file(tmp_path: Path) -> None:
    picture = PICTURE
    noisy = []
    for compression in ("tiff_deflate", "jpeg", "group4", "tiff_lzw", "zstd"):
        source = picture.convert("1") if compression == "group4" else picture
        data = bytearray(encoded(source, "TIFF", compression=compression, tiffinfo={65000: "unknown"}))
        for at in range(8, 60):
            data[at] ^= 0x55
        noisy.append(bytes(data))
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff" + bytes(6)
    noisy += [encoded(picture, "PNG", exif=exif), encoded(picture, "WEBP", exif=exif), encoded(picture, "JPEG")[:400]]
    noisy.append(encoded(Image.new("1", (12000, 9000)), "PNG"))  # a bomb, in Pillow's eyes
    for number, data in enumerate(noisy):
        (tmp_path / str(number)).write_bytes(data)
    script = (
        "import logging, pathlib, sys\n"
        "from models_store.tasks.image import codec\n"
        "logging.basicConfig(level=logging.INFO)\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    for look in (codec.inspect, lambda data, **most: codec.decode_whole(data, channels=3, **most)):\n"
        "        try:\n"
        "            look(path.read_bytes(), max_pixels=200_000_000)\n"
        "        except codec.UndecodableImage:\n"
        "            pass\n"
    )

    run = subprocess.run([sys.executable, "-W", "always", "-c", script, tmp_path], capture_output=True, check=True)

    assert (run.stdout, run.stderr) == (b"", b"")


def test_a_bigtiff_and_a_tiff_of_12_packed_bits_are_read() -> None:
    packed = bytes([0x00, 0x0F, 0xFF] * 8)  # 0 and 4095 in turn

    shown = codec.decode_whole(a_tiff(packed, bits=12), channels=1)

    assert shown[0, :, 0].tolist() == [0, 255, 0, 255]
    assert codec.inspect(encoded(PICTURE, "TIFF", big_tiff=True)).format == "TIFF"
