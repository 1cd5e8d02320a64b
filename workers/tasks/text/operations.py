"""Operations of ONNX by name, for files of texts.

PyTorch's exporter makes two to seven operations of one that ONNX has: it divides whole numbers as floats, and a lookup
leaves an axis behind. One text takes a file about a microsecond for each operation. Outside of an export, PyTorch's own
compute the same.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

Attributes = dict[str, int | float | str | bool | Sequence[int] | Sequence[float] | Sequence[str] | Sequence[bool]]


def lookup(table: Tensor, places: Tensor) -> Tensor:
    """Return a table's entries at `places`."""
    if torch.compiler.is_exporting():
        return _operation("Gather", table, places, like=table, shape=(*places.shape, *table.shape[1:]), axis=0)
    return table.index_select(0, places.flatten()).reshape(*places.shape, *table.shape[1:])


def windows(numbers_BL: Tensor, places_LN: Tensor) -> Tensor:
    """Return the numbers of each row at `places`, (B, L, N)."""
    shape = (numbers_BL.shape[0], *places_LN.shape)
    if torch.compiler.is_exporting():
        return _operation("Gather", numbers_BL, places_LN, like=numbers_BL, shape=shape, axis=1)
    return numbers_BL.index_select(1, places_LN.flatten()).reshape(shape)


def quotient(numbers: Tensor, divisor: int) -> Tensor:
    """Return whole numbers from 0 divided by another, rounded down."""
    if torch.compiler.is_exporting():
        by = torch.tensor(divisor, dtype=numbers.dtype)
        return _operation("Div", numbers, by, like=numbers, shape=numbers.shape)
    return torch.div(numbers, divisor, rounding_mode="trunc")


def side_by_side(numbers_BLN: Tensor) -> Tensor:
    """Return the numbers of each text in one row, (B, L x N)."""
    if torch.compiler.is_exporting():
        shape = (numbers_BLN.shape[0], numbers_BLN.shape[1] * numbers_BLN.shape[2])
        return _operation("Flatten", numbers_BLN, like=numbers_BLN, shape=shape, axis=1)
    return numbers_BLN.flatten(1)


def _operation(name: str, *given: Tensor, like: Tensor, shape: Sequence[int], **attributes: int) -> Tensor:
    named: Attributes = dict(attributes)
    return torch.onnx.ops.symbolic(name, given, named, dtype=like.dtype, shape=shape)
