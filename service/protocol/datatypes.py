"""Datatypes of the Open Inference Protocol and their types in numpy; binary data is little-endian.

BF16 has no type in numpy: its binary data becomes FP32, which holds each of its values. BYTES is a list of bytes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

BYTES, BF16 = "BYTES", "BF16"
NUMPY: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
NAMES = (*NUMPY, BF16, BYTES)
OF_NUMPY = {dtype: name for name, dtype in NUMPY.items()}


def name_of(dtype: str) -> str:
    """Return the protocol's name of a type that numpy names."""
    return OF_NUMPY[np.dtype(dtype).newbyteorder("<")]


def widened(bf16: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Return BF16 values, given as their bits, as FP32: BF16 is its upper half."""
    return (bf16.astype("<u4") << 16).view("<f4")
