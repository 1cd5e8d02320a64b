"""A net of one convolution, a mean over places and a linear layer, and an image that shows where it looks."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, CHANNELS, CLASSES = 16, 4, 3
SQUARE = (slice(10, 14), slice(2, 6))
BIAS = np.array([0.5, -0.25, 0.125], np.float32)


def write_net(
    path: Path, *, head: str = "gemm", pooled_by: str = "GlobalAveragePool", between: str | None = None
) -> Path:
    """Write a net of one convolution, whose first class looks at brightness."""
    rng = np.random.default_rng(0)
    weights_CK = rng.normal(0, 0.1, (CHANNELS, CLASSES)).astype(np.float32)
    weights_CK[0] = (4, 0, 0)
    kernel = rng.normal(0, 0.1, (CHANNELS, 3, 3, 3)).astype(np.float32)
    kernel[0] = 0
    kernel[0, :, 1, 1] = 1
    constants = {
        "kernel": kernel,
        "weights": weights_CK.T.copy() if head == "transposed" else weights_CK,
        "bias": BIAS,
        "places": np.array([2, 3], np.int64),
        "white": np.array(255, np.float32),
    }
    mean = helper.make_node(pooled_by, ["map", "places"] if pooled_by == "ReduceMean" else ["map"], ["mean"])
    last = "flat"
    nodes = [
        helper.make_node("Cast", ["images"], ["bytes"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["bytes", "white"], ["light"]),
        helper.make_node("Transpose", ["light"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel"], ["edges"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["edges"], ["map"]),
        mean,
        helper.make_node("Flatten", ["mean"], ["flat"]),
    ]
    if between is not None:
        nodes.append(helper.make_node(between, [last], ["between"]))
        last = "between"
    if head == "matmul":
        nodes.append(helper.make_node("MatMul", [last, "weights"], ["products"]))
        nodes.append(helper.make_node("Add", ["products", "bias"], ["logits"]))
    else:
        transposed = int(head == "transposed")
        nodes.append(helper.make_node("Gemm", [last, "weights", "bias"], ["logits"], transB=transposed))
    nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"]))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def a_bright_square() -> np.ndarray:
    images = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    images[0][SQUARE] = 255
    return images
