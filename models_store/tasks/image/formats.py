"""Formats of images by the first bytes of a file: those that are read, and the names of others for refusals.

READ lists those formats of Pillow that have the size in the header, whose decoder is bounded by pixels and bytes (see
`structure`) and runs no other program, and that give grey or colour with an agreed white. LEFT_OUT has the reason why
each of the others is not read. `netpbm` decodes PBM, PGM, PPM and PAM.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from models_store.archives.system_files import is_hidden


@dataclass(frozen=True)
class Format:
    """A format that is read, with its file suffixes; files are stored under the first one."""

    name: str
    suffixes: tuple[str, ...]


READ = (
    Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif")),
    Format("PNG", (".png", ".apng")),
    Format("WEBP", (".webp",)),
    Format("AVIF", (".avif", ".avifs")),
    Format("JPEG2000", (".jp2", ".j2k", ".j2c", ".jpc", ".jpx", ".jpf")),
    Format("GIF", (".gif",)),
    Format("TIFF", (".tif", ".tiff")),
    Format("BMP", (".bmp", ".dib")),
    Format("PNM", (".ppm", ".pgm", ".pbm", ".pnm", ".pam")),
    Format("TGA", (".tga", ".icb", ".vda", ".vst")),
    Format("PCX", (".pcx",)),
    Format("SGI", (".sgi", ".rgb", ".rgba", ".bw")),
    Format("SUN", (".ras", ".sun")),
    Format("ICO", (".ico",)),
    Format("QOI", (".qoi",)),
    Format("DDS", (".dds",)),
)
FORMATS = tuple(each.name for each in READ)
ALLOWED = ", ".join(FORMATS)
SUFFIX = {each.name: each.suffixes[0].removeprefix(".") for each in READ}
MEDIA_TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "bmp": "image/bmp",
    "gif": "image/gif",
    "tif": "image/tiff",
    "ppm": "image/x-portable-pixmap",
    "pgm": "image/x-portable-graymap",
    "pbm": "image/x-portable-bitmap",
    "pnm": "image/x-portable-anymap",
    "avif": "image/avif",
    "heic": "image/heic",
    "heif": "image/heif",
    "jp2": "image/jp2",
}
"""ending of a stored image → its media type"""
SUFFIXES = frozenset(suffix for each in READ for suffix in each.suffixes)
OTHER_SUFFIXES = frozenset(
    [
        *(".heic", ".heif", ".hif", ".jxl", ".jxr", ".wdp", ".hdp", ".jls", ".svg", ".svgz", ".psd", ".psb", ".xcf"),
        *(".eps", ".exr", ".hdr", ".pfm", ".dng", ".raw", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2"),
        *(".orf", ".rw2", ".raf", ".pef", ".srw", ".x3f", ".dcm", ".dicom", ".nii", ".nrrd", ".mha", ".fits", ".fit"),
        *(".icns", ".cur", ".wmf", ".emf", ".xbm", ".xpm", ".bpg", ".djvu", ".djv", ".pict", ".mng", ".ktx", ".fli"),
    ]
)
"""images that are not read: they are reported as undecodable and not ignored, because a user means them to be read"""
LEFT_OUT = {
    "BLP": "a texture of one game",
    "BUFR": "weather data, no pixels; Pillow has no decoder",
    "CUR": "a cursor: its size is not checked before it is decoded",
    "DCX": "several PCX pages without a rule for which one is the first",
    "DIB": "a BMP without its header, so it can't be recognised",
    "EPS": "a program for a printer; Pillow would run Ghostscript",
    "FITS": "astronomy: numbers without an agreed white",
    "FLI": "an animation of the nineties",
    "FTEX": "a texture of one game",
    "GBR": "a brush of GIMP",
    "GRIB": "weather data, no pixels; Pillow has no decoder",
    "HDF5": "tables of numbers; Pillow has no decoder",
    "ICNS": "icons in other formats, whose sizes are not checked before they are decoded",
    "IM": "an exchange format of one program, with a header of free text",
    "IMT": "an exchange format of one program, with a header of free text",
    "IPTC": "a news photograph's metadata around other formats",
    "MCIDAS": "satellite data: numbers without an agreed white",
    "MPEG": "a film; Pillow has no decoder",
    "MSP": "black and white drawings of Windows 1",
    "PCD": "Photo CD; Pillow reads only a preview",
    "PIXAR": "one company's format of the eighties",
    "PSD": "layers and colour modes; Pillow reads only some of them",
    "SPIDER": "electron microscopy: floating-point numbers without an agreed white",
    "WMF": "drawing commands, no pixels; Pillow has no decoder here",
    "XBM": "source code in C; nearly any text is taken for it",
    "XPM": "source code in C; nearly any text is taken for it",
    "XVTHUMB": "thumbnails of one program",
}
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2"}
AVIF_BRANDS = {b"avif", b"avis"}
BMP_HEADERS = {12, 40, 52, 56, 64, 108, 124}  # bytes of a BMP's information header, by version
CONVERT = f"convert it to one of {ALLOWED}"
MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"qoif", "QOI"),
    (b"DDS \x7c\x00\x00\x00", "DDS"),
    (b"\x59\xa6\x6a\x95", "SUN"),
)
NETPBM = re.compile(rb"P[1-6](?:[ \t\n\v\f\r]+[0-9#]|#)|P7\r?\n")
JPEG_LS = b"\xff\xd8\xff\xf7"
STRANGERS = (
    (JPEG_LS, "a JPEG-LS file"),
    (b"\xff\x0a", "a JPEG XL file"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "a JPEG XL file"),
    (b"II\xbc\x01", "a JPEG XR file"),
    (b"8BPS", "a Photoshop file (PSD)"),
    (b"gimp xcf", "a GIMP file (XCF)"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "PostScript or EPS (text for a printer)"),
    (b"\xc5\xd0\xd3\xc6", "PostScript or EPS (text for a printer)"),
    (b"v/1\x01", "an OpenEXR file"),
    (b"#?RADIANCE", "a Radiance HDR file"),
    (b"#?RGBE", "a Radiance HDR file"),
    (b"SIMPLE  =", "a FITS file"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"MATLAB 5.0", "a MATLAB file"),
    (b"NRRD000", "an NRRD file"),
    (b"icns", "an icon of macOS (ICNS)"),
    (b"\x00\x00\x02\x00", "a cursor of Windows (CUR), or a TGA that is damaged"),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile (WMF)"),
    (b"\x01\x00\x00\x00\x6c\x00\x00\x00", "a Windows metafile (EMF)"),
    (b"/* XPM", "an XPM file"),
    (b"#define ", "an XBM file, or a program's text"),
    (b"BPG\xfb", "a BPG file"),
    (b"FLIF", "a FLIF file"),
    (b"AT&TFORM", "a DjVu document"),
    (b"\x8aMNG", "an MNG animation"),
    (b"\x8bJNG", "a JNG file"),
    (b"\xabKTX", "a KTX texture"),
    (b"PF\n", "a PFM file of floating-point numbers"),
    (b"Pf\n", "a PFM file of floating-point numbers"),
    (b"PF\r\n", "a PFM file of floating-point numbers"),
    (b"Pf\r\n", "a PFM file of floating-point numbers"),
    (b"PF ", "a PFM file of floating-point numbers"),
    (b"Pf ", "a PFM file of floating-point numbers"),
    (b"IIRO", "a camera's raw file (ORF)"),
    (b"IIRS", "a camera's raw file (ORF)"),
    (b"MMOR", "a camera's raw file (ORF)"),
    (b"IIU\x00", "a camera's raw file (RW2)"),
    (b"FUJIFILMCCD-RAW", "a camera's raw file (RAF)"),
    (b"FOVb", "a camera's raw file (X3F)"),
    (b"II\x1a\x00\x00\x00HEAPCCDR", "a camera's raw file (CRW)"),
    (b"\x1aE\xdf\xa3", "a film (Matroska or WebM)"),
    (b"\x00\x00\x01\xba", "a film (MPEG)"),
    (b"\x00\x00\x01\xb3", "a film (MPEG)"),
    (b"FLV\x01", "a film (FLV)"),
    (b"0&\xb2u\x8ef\xcf\x11", "a film or sound (ASF, WMV)"),
    (b"OggS", "a film or sound (Ogg)"),
    (b"ID3", "sound (MP3)"),
    (b"fLaC", "sound (FLAC)"),
    (b"\x1f\x8b", "a file packed by gzip"),
    (b"PK\x03\x04", "a zip, or an Office document"),
    (b"7z\xbc\xaf'\x1c", "an archive (7z)"),
    (b"Rar!", "an archive (RAR)"),
    (b"PAR1", "a Parquet table"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program of Windows"),
    (b"L\x00\x00\x00\x01\x14\x02\x00", "a shortcut of Windows (.lnk); send the file that it points to"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the image; run `git lfs pull` before packing"),
    (b"/annex/objects/", "a pointer of git-annex, not the image; run `git annex get` before packing"),
)
RIFF = {b"WAVE": "sound (WAV)", b"AVI ": "a film (AVI)", b"ACON": "an animated cursor (ANI)"}
DICOM_AT, NIFTI_AT, FILM_AT = 128, 344, 4


def format_of(data: bytes) -> str | None:
    """Return the name in FORMATS of the file by its first bytes, or None."""
    marked = next((name for magic, name in MAGIC if data.startswith(magic)), None)
    if marked is not None:
        return None if data.startswith(JPEG_LS) else marked
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if _brands(data) & AVIF_BRANDS:
        return "AVIF"
    return next((name for name, is_so in UNMARKED.items() if is_so(data)), None)


def looks_like_image(head: bytes) -> bool:
    """Return whether the first bytes of a file (32 are enough) are certainly those of one of FORMATS."""
    return format_of(head[:32]) not in {None, "TGA", "ICO"}


def is_for_an_image(path: PurePosixPath, head: bytes) -> bool:
    """Return whether a user means the file to be an image: by its suffix or its first bytes; for a hidden file, only by these."""
    is_one = looks_like_image(head[:32])
    return is_one or (path.suffix.lower() in SUFFIXES | OTHER_SUFFIXES and not is_hidden(path))


def what_it_is(data: bytes) -> str:
    """Return a sentence on the kind of a file outside FORMATS, and what to do."""
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    is_text = data[:4096].isascii() and b"\x00" not in data[:4096]
    name = stranger(data)
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<!--")):
        found = f"an HTML page, not an image (a download that failed?); allowed are {ALLOWED}"
    elif b"<svg" in data[:2048].lower():
        found = f"SVG, which has drawing commands and no pixels; export it as one of {ALLOWED}"
    elif start.startswith((b"<?xml", b"<error", b"<!doctype")):
        found = f"XML, not an image (a download that failed?); allowed are {ALLOWED}"
    elif name is not None:
        found = name if "; " in name else f"{name}, which is not read; {CONVERT}"
    elif not data.strip(b"\x00"):
        found = f"no image but {len(data)} zero bytes, as an interrupted copy leaves them; send the file again"
    elif is_text:
        found = f"{'JSON' if start.startswith((b'{', b'[')) else 'text'}, not an image; allowed are {ALLOWED}"
    else:
        found = f"no image, or its header is damaged; allowed are {ALLOWED}"
    return f"this is {found}"


def stranger(data: bytes) -> str | None:
    """Return the name of a known format that is not read, maybe followed by a semicolon and advice; or None."""
    brands = _brands(data)
    if data[FILM_AT : FILM_AT + 4] in {b"moov", b"mdat", b"wide", b"pnot"} or brands:
        return _of_brands(brands)
    if data[DICOM_AT : DICOM_AT + 4] == b"DICM":
        return "a DICOM file; export its pixels with a tool that applies the window"
    if data[NIFTI_AT : NIFTI_AT + 4] in {b"n+1\x00", b"ni1\x00"}:
        return "a NIfTI volume; save its slices as images"
    if data[:4] == b"RIFF":
        return RIFF.get(data[8:12], "a RIFF file")
    return next((name for magic, name in STRANGERS if data.startswith(magic)), None)


def _of_brands(brands: set[bytes]) -> str:
    if b"crx " in brands:
        return "a camera's raw file (CR3)"
    return "HEIC (HEIF), a format of photographs from phones" if brands & HEIC_BRANDS else "a film (MP4 or QuickTime)"


def _brands(data: bytes) -> set[bytes]:
    """Return the major and compatible brands of an ISO base media file."""
    if data[4:8] != b"ftyp":
        return set()
    box = data[: min(int.from_bytes(data[:4], "big"), 256)]
    return {data[8:12]} | {box[at : at + 4] for at in range(16, len(box) - 3, 4)}


def _is_bmp(data: bytes) -> bool:
    return data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in BMP_HEADERS


def _is_netpbm(data: bytes) -> bool:
    return NETPBM.match(data[:64]) is not None


def _is_icon(data: bytes) -> bool:
    return data[:4] == b"\x00\x00\x01\x00" and data[4:6] != b"\x00\x00" and data[9:10] == b"\x00"


def _is_sgi(data: bytes) -> bool:
    return data[:2] == b"\x01\xda" and data[2:3] in b"\x00\x01" and data[3:4] in b"\x01\x02"


def _is_pcx(data: bytes) -> bool:
    versions, depths = b"\x00\x02\x03\x05", b"\x01\x08"
    return data[:1] == b"\x0a" and data[1:2] in versions and data[2:3] == b"\x01" and data[3:4] in depths


def _is_tga(data: bytes) -> bool:
    """A TGA begins with no signature: all fields of its header must make sense, or its end must identify it."""
    if len(data) < 18 or data[1] > 1 or data[2] not in {1, 2, 3, 9, 10, 11} or data[17] & 0xC0:  # noqa: PLR2004  the header
        return False
    kind, depth = data[2] & 7, data[16]
    has_map = data[1] == 1
    width, height = int.from_bytes(data[12:14], "little"), int.from_bytes(data[14:16], "little")
    fits = depth in {1: (8,), 2: (16, 24, 32), 3: (8, 16)}[kind] and width > 0 < height
    maps = data[7] in {15, 16, 24, 32} if has_map else data[3:8] == bytes(5)
    return fits and maps and (has_map or kind != 1)


UNMARKED: dict[str, Callable[[bytes], bool]] = {
    "BMP": _is_bmp,
    "PNM": _is_netpbm,
    "ICO": _is_icon,
    "SGI": _is_sgi,
    "PCX": _is_pcx,
    "TGA": _is_tga,
}
"""formats without a long signature, the most certain first"""
