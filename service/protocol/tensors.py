"""Input tensors of a request, checked against their own shape: from JSON or from binary data.

Binary data is never copied: a tensor is a view of the body. A tensor of BYTES is a list of its elements.
"""

import itertools
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models_store.wording import counted
from service.protocol import datatypes
from service.protocol.datatypes import BF16, BYTES, NUMPY
from service.protocol.errors import ProtocolError

LONGEST_NAME = 200
MOST_DIMENSIONS = 16
MOST_ELEMENTS = 1 << 40
"""More than any body holds; a product beyond it is an overflow in the client."""
LENGTH = struct.Struct("<I")
DEEPEST = MOST_DIMENSIONS
NUMBERS_OR_LIST = {bool, int, float, list}


@dataclass(frozen=True, slots=True)
class InputTensor:
    """A tensor of a request: an array of its shape, or the elements of BYTES in their order."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: npt.NDArray[Any] | Sequence[bytes | str]
    """str: text of a JSON body, which a codec may take otherwise than a file's bytes"""


def of_binary(name: str, datatype: Any, shape: Any, data: memoryview) -> InputTensor:  # noqa: ANN401  any JSON
    """Return a tensor of binary data.

    Raises:
        ProtocolError: if the shape is none, or not that of so many bytes.
    """
    sizes, count = checked_shape(name, datatype, shape)
    if datatype == BYTES:
        return InputTensor(name, datatype, sizes, elements_of(data, count, name=name))
    width = 2 if datatype == BF16 else NUMPY[datatype].itemsize
    if len(data) != count * width:
        raise ProtocolError(
            f"input {name!r} has {counted(len(data), 'byte')} of binary data; {datatype} of shape {list(sizes)} has "
            f"{count * width}"
        )
    if datatype == BF16:
        return InputTensor(name, datatype, sizes, datatypes.widened(np.frombuffer(data, "<u2")).reshape(sizes))
    values = np.frombuffer(data, NUMPY[datatype]).reshape(sizes)
    if datatype == "BOOL" and (values.view(np.uint8) > 1).any():
        raise ProtocolError(f"input {name!r} is BOOL, and has a byte that is neither 0 nor 1")
    return InputTensor(name, datatype, sizes, values)


def of_json(name: str, datatype: Any, shape: Any, data: Any) -> InputTensor:  # noqa: ANN401  any JSON
    """Return a tensor of JSON data, nested as its shape is or flat.

    Raises:
        ProtocolError: if the shape is none, or the values are not of the shape or of the datatype.
    """
    sizes, count = checked_shape(name, datatype, shape)
    if not isinstance(data, list):
        raise ProtocolError(f"input {name!r} has no `data`: a list of its values, flat or nested as its shape")
    if datatype == BYTES:
        elements = _flat(name, data)
        _check_count(name, len(elements), count, sizes)
        if not all(isinstance(each, str) for each in elements):
            raise ProtocolError(f"input {name!r} is BYTES, and its `data` has a value that is no string")
        return InputTensor(name, datatype, sizes, elements)
    if datatype == BF16:
        raise ProtocolError(f"input {name!r} is BF16, which JSON can't carry; send binary data, or FP32")
    values = _array(name, data)
    if values.ndim > 1 and values.shape != sizes:
        raise ProtocolError(f"input {name!r} has `data` nested as {list(values.shape)}; its shape is {list(sizes)}")
    return of_values(name, datatype, sizes, values)


def of_values(name: str, datatype: str, sizes: tuple[int, ...], given: npt.NDArray[Any]) -> InputTensor:
    """Return a tensor of numbers that came one by one; they must be values of the datatype.

    Raises:
        ProtocolError: if there are more or fewer than the shape has, or one is out of range.
    """
    wanted = NUMPY[datatype]
    _check_count(name, given.size, math.prod(sizes), sizes)
    kinds = {"b": "b", "u": "biu", "i": "biu", "f": "iuf"}[wanted.kind]
    if given.size and (given.dtype.kind not in kinds or (given.dtype.kind == "b") != (wanted.kind == "b")):
        raise ProtocolError(f"input {name!r} is {datatype}, and its data has a value of another kind")
    if wanted.kind in "iu" and given.size:
        limits = np.iinfo(wanted)
        if int(given.min()) < limits.min or int(given.max()) > limits.max:
            raise ProtocolError(
                f"input {name!r} has a value that is not from {limits.min} to {limits.max}, as {datatype} is"
            )
    with np.errstate(over="ignore"):
        values = given.astype(wanted).reshape(sizes)
    if wanted.kind == "f" and not np.isfinite(values).all():
        raise ProtocolError(f"input {name!r} has a value that is too large for {datatype}, or no number")
    return InputTensor(name, datatype, sizes, values)


def checked_shape(name: str, datatype: Any, shape: Any) -> tuple[tuple[int, ...], int]:  # noqa: ANN401  any JSON
    """Return a shape, and how many elements it has.

    Raises:
        ProtocolError: if there is no such datatype, or the shape is none.
    """
    if len(name) > LONGEST_NAME:
        raise ProtocolError(f"an input has a name of {len(name)} characters; at most {LONGEST_NAME} are allowed")
    if datatype not in datatypes.NAMES:
        raise ProtocolError(
            f"input {name!r} has the datatype {str(datatype)[:50]!r}; there are {', '.join(datatypes.NAMES)}"
        )
    if not isinstance(shape, list | tuple) or len(shape) > MOST_DIMENSIONS:
        raise ProtocolError(f"input {name!r} has no usable `shape`: a list of at most {MOST_DIMENSIONS} integers")
    for size in shape:
        if type(size) is not int or size < 0:
            raise ProtocolError(
                f"input {name!r} has a dimension {str(size)[:50]} in its `shape`; each is an integer of 0 or more"
            )
    count = math.prod(shape)
    if max(shape, default=0) > MOST_ELEMENTS or count > MOST_ELEMENTS:
        raise ProtocolError(f"input {name!r} has more elements by its `shape` than any request can carry")
    return tuple(shape), count


def elements_of(data: memoryview, count: int, *, name: str) -> list[bytes]:
    """Return the elements of BYTES: each is its length as uint32, and so many bytes.

    Raises:
        ProtocolError: if the data ends inside of an element, or has more or fewer of them.
    """
    elements: list[bytes] = []
    at, end = 0, len(data)
    while at < end and len(elements) < count:
        if end - at < LENGTH.size:
            break
        (length,) = LENGTH.unpack_from(data, at)
        at += LENGTH.size
        if length > end - at:
            raise ProtocolError(
                f"element {len(elements)} of input {name!r} has {counted(length, 'byte')} by its length, and "
                f"{end - at} are left"
            )
        elements.append(bytes(data[at : at + length]))
        at += length
    if at != end or len(elements) != count:
        left = f" and {counted(end - at, 'byte')} more" if at != end else ""
        raise ProtocolError(
            f"input {name!r} has {counted(len(elements), 'element')} of BYTES{left}; its shape has {count}"
        )
    return elements


def framed(elements: Sequence[bytes]) -> bytes:
    """Return the binary data of BYTES."""
    return b"".join(part for element in elements for part in (LENGTH.pack(len(element)), element))


def _array(name: str, data: list[Any]) -> npt.NDArray[Any]:
    try:
        array = np.array(data if _has_numbers_only(data) else None)
    except (ValueError, OverflowError):  # ragged, or integers of more than 64 bits
        array = np.array(None)
    if array.ndim == 0 or array.dtype.kind not in "biuf":
        if array.size == 0:
            return np.empty(0, np.int64)
        raise ProtocolError(f"input {name!r} has `data` that is ragged, or has a value that is no number")
    return array


def _has_numbers_only(data: list[Any]) -> bool:
    """Return whether all values are numbers: among texts, numpy would give each number the room of the longest text."""
    for _ in range(DEEPEST + 1):
        kinds = set(map(type, data))
        if not kinds <= NUMBERS_OR_LIST:
            return False
        if list not in kinds:
            return True
        data = list(itertools.chain.from_iterable(each for each in data if type(each) is list))
    return False


def _flat(name: str, data: list[Any]) -> list[Any]:
    for _ in range(DEEPEST):
        if not any(isinstance(each, list) for each in data):
            return data
        if not all(isinstance(each, list) for each in data):
            break
        data = [value for each in data for value in each]
    raise ProtocolError(f"input {name!r} has `data` that is ragged, or nested deeper than any shape")


def _check_count(name: str, given: int, count: int, sizes: tuple[int, ...]) -> None:
    if given != count:
        raise ProtocolError(f"input {name!r} has {counted(given, 'value')}; its shape {list(sizes)} has {count}")
