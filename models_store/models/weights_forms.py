"""Forms in which files of weights come; each is stored as one safetensors file, so that it is read in one way.

    safetensors        as it is
    word2vec's text    `vectors` float32 (words, width), and `vocabulary`: the words in UTF-8, one a line
    a zip or tar       its one safetensors file; each other file as a tensor of its bytes, under its path beside it

Text begins with a line of two numbers, how many vectors there are and how wide they are; each line after it is a word
and as many numbers, with spaces between them.
"""

# W word, D number of a vector

import json
import re
import struct
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from models_store.archives.reader import read_archive
from models_store.archives.rules import ARCHIVE_MAGIC, Limits, Member
from models_store.archives.system_files import is_system
from models_store.archives.tar_reader import is_tar
from models_store.errors import Invalid
from models_store.models import safetensors_header
from models_store.wording import counted

FIRST_LINE = re.compile(rb"([1-9][0-9]{0,7}) ([1-9][0-9]{0,3})[ \r]*\n")
HEAD_BYTES = 512
MOST_FILES = 64
PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}
MOST_FILE_BYTES = 64 << 20
"""of a file beside the tensors"""
VECTORS, VOCABULARY = "vectors", "vocabulary"


class VectorsInvalid(Invalid):
    """A text of vectors breaks its own form."""

    code = "vectors_invalid"
    title = "The vectors can't be read"


class WeightsArchiveInvalid(Invalid):
    """An archive of weights holds no safetensors file, or more than one, or too much beside it."""

    code = "weights_archive_invalid"
    title = "The archive of weights can't be used"


def as_safetensors(path: Path, *, most_bytes: int) -> None:
    """Write a file of another form anew as safetensors, in its place; `most_bytes` is what an archive may unpack to.

    Raises:
        VectorsInvalid, WeightsArchiveInvalid, ArchiveRefused: if it breaks its form; bytes of no known form stay.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    made = path.with_name(f"{path.name}.safetensors")
    try:
        if FIRST_LINE.match(head):
            _of_text(path, made)
        elif head.startswith(ARCHIVE_MAGIC) or is_tar(head):
            _of_archive(path, made, most_bytes=most_bytes)
        else:
            return
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)


def _of_text(path: Path, made: Path) -> None:
    import numpy as np  # noqa: PLC0415  slow to import

    vocabulary: list[bytes] = []
    with path.open("rb") as file, made.open("wb") as out:
        count, width = map(int, file.readline().split())
        header_bytes = _reserve(out, ("F32", [count, width]))
        for number, line in enumerate(file, 2):
            if not (line := line.rstrip(b" \r\n")):
                continue
            word, *values = line.rsplit(b" ", width)
            try:
                vector_D = np.array(values, np.float32)
                word.decode()
            except ValueError as error:
                raise VectorsInvalid(f"line {number} is no word in UTF-8 with {width} numbers ({error})") from error
            if len(values) != width or not word or not np.isfinite(vector_D).all():
                raise VectorsInvalid(f"line {number} is not a word and {counted(width, 'finite number')} after it")
            vocabulary.append(word)
            out.write(vector_D.astype("<f4").tobytes())
        if len(vocabulary) != count:
            raise VectorsInvalid(
                f"the first line announces {counted(count, 'vector')}, and {len(vocabulary)} follow; it was cut off, "
                "or its first line is wrong"
            )
        words = b"\n".join(vocabulary)
        out.write(words)
        end = 4 * count * width
        _write_header(
            out,
            {
                VECTORS: {"dtype": "F32", "shape": [count, width], "data_offsets": [0, end]},
                VOCABULARY: {"dtype": "U8", "shape": [len(words)], "data_offsets": [end, end + len(words)]},
            },
            header_bytes=header_bytes,
        )


def _of_archive(path: Path, made: Path, *, most_bytes: int) -> None:
    tensors: Path | None = None
    folder = PurePosixPath()
    files: dict[PurePosixPath, bytes] = {}
    unpacked = made.with_name(f"{made.name}.part")
    try:
        for member in read_archive(path, Limits(MOST_FILES, most_bytes, ratio=1000)):
            name = PurePosixPath(member.name)
            if member.is_folder or is_system(name) or member.link is not None:
                continue
            if name.suffix.lower() in PICKLES:
                raise WeightsArchiveInvalid(
                    f"{member.name} is a pickle, which may run code when it is read; leave it out, and send the "
                    "weights as one safetensors file"
                )
            if name.suffix != ".safetensors":
                files[name] = _whole(member)
            elif tensors is not None:
                raise WeightsArchiveInvalid("the archive holds more than one safetensors file; send one")
            else:
                tensors, folder = unpacked, name.parent
                with unpacked.open("wb") as out:
                    out.writelines(member)
        if tensors is None:
            raise WeightsArchiveInvalid(
                "the archive holds no safetensors file; send one, with its tokenizer.json and config.json, or its "
                "vocabulary, beside it"
            )
        _join(tensors, _named(files, beside=folder), made)
    finally:
        unpacked.unlink(missing_ok=True)


def _named(files: dict[PurePosixPath, bytes], *, beside: PurePosixPath) -> dict[str, bytes]:
    """Return the files by their paths from the folder of the tensors; those outside of it by their names."""
    below = {path: path.is_relative_to(beside) for path in files}
    outside = {path.name: content for path, content in files.items() if not below[path]}
    return outside | {str(path.relative_to(beside)): content for path, content in files.items() if below[path]}


def _whole(member: Member) -> bytes:
    if member.size_bytes > MOST_FILE_BYTES:
        raise WeightsArchiveInvalid(
            f"{member.name} has {counted(member.size_bytes, 'byte')}; a file beside the tensors has "
            f"{MOST_FILE_BYTES:,} at most"
        )
    return member.content()


def _join(tensors: Path, files: dict[str, bytes], made: Path) -> None:
    """Write the tensors of a file and the bytes of others to one file."""
    header, begins = safetensors_header.read(tensors)
    end = tensors.stat().st_size - begins
    for name, content in files.items():
        if name in header:
            raise WeightsArchiveInvalid(f"there are a tensor and a file {name!r}; rename one")
        header[name] = {"dtype": "U8", "shape": [len(content)], "data_offsets": [end, end + len(content)]}
        end += len(content)
    with tensors.open("rb") as source, made.open("wb") as out:
        _write_header(out, header)
        source.seek(begins)
        while chunk := source.read(1 << 20):
            out.write(chunk)
        out.writelines(files.values())


def _reserve(out: BinaryIO, vectors: tuple[str, list[int]]) -> int:
    """Leave room for a header of one matrix and a vocabulary, whose length is not known yet; return how much."""
    header_bytes = 256 + len(json.dumps(vectors))
    out.write(bytes(8 + header_bytes))
    return header_bytes


def _write_header(out: BinaryIO, header: dict[str, Any], *, header_bytes: int | None = None) -> None:
    written = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    padded = written.ljust(header_bytes or -(-len(written) // 8) * 8)
    out.seek(0)
    out.write(struct.pack("<Q", len(padded)) + padded)
