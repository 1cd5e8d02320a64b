"""The header of a safetensors file, read and checked without the library: nothing of a tensor is loaded.

The format (the safetensors README, "Format"): 8 bytes of an unsigned little-endian length, that many bytes of JSON
in UTF-8 that begin with `{` (name → dtype, shape, data_offsets; `__metadata__`: text → text), then the tensors' bytes
without holes. Everything that a header claims is checked against the file's size, so that whoever loads it later meets
no surprise.
"""

import itertools
import json
import math
import struct
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models_store.errors import Invalid
from models_store.json_rules import no_constant, unique_keys
from models_store.wording import counted

LENGTH_BYTES = 8
MOST_HEADER_BYTES = 16 << 20
MOST_DIMENSIONS = 16
METADATA = "__metadata__"
SIZE_BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
}


class NotSafetensors(Invalid):
    """The file is no safetensors file, or a damaged one."""

    code = "not_safetensors"
    title = "The file can't be read as safetensors"


@dataclass(frozen=True)
class Contents:
    """What a file holds: how many tensors, how many numbers in them, and dtype → tensors."""

    tensors: int
    parameters: int
    dtypes: dict[str, int]

    def as_card(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def inspect(path: Path) -> Contents:
    """Return what the file holds.

    Raises:
        NotSafetensors: saying what is wrong with it.
    """
    tensors, _ = read(path)
    return Contents(
        tensors=len(tensors),
        parameters=sum(math.prod(tensor["shape"]) for tensor in tensors.values()),
        dtypes=dict(sorted(Counter(tensor["dtype"] for tensor in tensors.values()).items())),
    )


def read(path: Path) -> tuple[dict[str, Any], int]:
    """Return name → dtype, shape and data_offsets of each tensor, and where their bytes begin in the file.

    Raises:
        NotSafetensors: saying what is wrong with it.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(LENGTH_BYTES)
        if len(head) < LENGTH_BYTES:
            raise NotSafetensors(
                f"the file has {counted(size_bytes, 'byte')}; a safetensors file begins with a length of 8 bytes"
            )
        (length,) = struct.unpack("<Q", head)
        if length > MOST_HEADER_BYTES or length > size_bytes - LENGTH_BYTES:
            raise NotSafetensors(
                f"the first 8 bytes claim a header of {counted(length, 'byte')}, in a file of {size_bytes} (at most "
                f"{MOST_HEADER_BYTES} are read); is it a safetensors file? Pickled ones (.pt, .pth, .bin) are not"
            )
        tensors = _parsed(file.read(length))
    spans = sorted(_span(name, tensor) for name, tensor in tensors.items())
    _check_spans(spans, size_bytes - LENGTH_BYTES - length)
    return tensors, LENGTH_BYTES + length


def _parsed(header: bytes) -> dict[str, Any]:
    try:
        document = json.loads(header.decode("utf-8"), object_pairs_hook=_storable, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:  # bad JSON, bad UTF-8, half a character, a key twice, nested too deep
        raise NotSafetensors(f"the header is not the JSON that it should be ({str(error)[:200]})") from error
    if not isinstance(document, dict) or not header.startswith(b"{"):
        raise NotSafetensors("the header is JSON, and no object from its first byte on")
    metadata = document.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise NotSafetensors(f"{METADATA} maps texts to texts, and here it does not")
    if not document:
        raise NotSafetensors("the file has no tensor")
    return document


def _storable(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for text in itertools.chain.from_iterable(pairs):
        if isinstance(text, str):
            text.encode("utf-8")  # JSON can spell half a character ("\\ud800"), and nothing can store it
    return unique_keys(pairs)


def _span(name: str, tensor: Any) -> tuple[int, int, str]:  # noqa: ANN401  any JSON
    """Return where a tensor's bytes begin and end, checked against its type and shape."""
    if not isinstance(tensor, dict) or set(tensor) != {"dtype", "shape", "data_offsets"}:
        raise NotSafetensors(f"{name[:100]!r} has no dtype, shape and data_offsets")
    dtype, shape, offsets = tensor["dtype"], tensor["shape"], tensor["data_offsets"]
    if not isinstance(dtype, str) or dtype not in SIZE_BYTES:
        raise NotSafetensors(f"{name[:100]!r} has the dtype {str(dtype)[:20]!r}; known are {', '.join(SIZE_BYTES)}")
    if not _are_counts(shape) or len(shape) > MOST_DIMENSIONS:
        raise NotSafetensors(f"{name[:100]!r} has no shape of at most {MOST_DIMENSIONS} whole numbers")
    if not _are_counts(offsets) or len(offsets) != 2:  # noqa: PLR2004  begin and end
        raise NotSafetensors(f"{name[:100]!r} has no data_offsets of two whole numbers")
    begin, end = offsets
    if end - begin != math.prod(shape) * SIZE_BYTES[dtype]:
        raise NotSafetensors(
            f"{name[:100]!r}, {dtype} of shape {shape}, does not fill its {counted(end - begin, 'byte')}"
        )
    return begin, end, name


def _are_counts(values: Any) -> bool:  # noqa: ANN401  any JSON
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 48 for value in values)


def _check_spans(spans: list[tuple[int, int, str]], size_bytes: int) -> None:
    edges = [(0, 0, ""), *spans, (size_bytes, size_bytes, "")]
    for (_, end, before), (begin, _, after) in itertools.pairwise(edges):
        if end != begin:
            between = f"{before[:100]!r} and {after[:100]!r}" if before and after else "the tensors and the file's end"
            raise NotSafetensors(f"there is a hole or an overlap between {between}: the file is damaged or cut off")
