"""Reasons why a variant of fewer bits can't be made. The other variants and the source file are not touched.

Invalid
└── QuantizationImpossible
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # its stubs are a package of their own
from onnx import numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors

from models_store.errors import Invalid
from models_store.storage import disk

LIBRARIES = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, AssertionError,
    DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError,
    onnxruntime_errors.Fail, onnxruntime_errors.EPFail, onnxruntime_errors.InvalidArgument,
    onnxruntime_errors.InvalidGraph, onnxruntime_errors.InvalidProtobuf, onnxruntime_errors.NotImplemented,
    onnxruntime_errors.RuntimeException,
)  # fmt: skip
"""what onnx and onnxruntime raise at a graph that they can't deal with"""


class QuantizationImpossible(Invalid):
    """This file can't be written in fewer bits as asked."""

    code = "quantization_impossible"
    title = "The variant can't be made"


@contextmanager
def explaining_errors(what: str) -> Iterator[None]:
    """Turn a library's complaint into an error that says what could not be done, such as "quantise the layers"."""
    try:
        yield
    except LIBRARIES as error:
        if disk.is_full(error):
            raise
        said = str(error).strip().splitlines()
        raise QuantizationImpossible(
            f"onnxruntime could not {what}: {said[0][:300] if said else type(error).__name__}; leave this variant out "
            "of `compression.quantize`, or use another backbone"
        ) from error


def require_finite_weights(model: onnx.ModelProto) -> None:
    """Refuse weights that are not numbers: no scale holds them.

    Raises:
        QuantizationImpossible: naming the first such tensor.
    """
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and not np.isfinite(numpy_helper.to_array(tensor)).all():
            raise QuantizationImpossible(
                f"the weights {tensor.name!r} hold values that are not finite; train again, with a lower "
                "`optimizer.lr` or with `training.clip_grad_norm`"
            )
