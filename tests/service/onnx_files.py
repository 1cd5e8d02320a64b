"""Real ONNX files without torch: a net that tells the dominant colour channel, one that is slow, and one of texts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from models_store.tasks.text.tokenizers import fit
from models_store.tasks.text.tokenizers.parts import CodePointTokenizer

LABELS = ("red", "green", "blue")
SHARPNESS = 0.05
SEEN = 32
"""characters that the model of texts sees"""
SIGNS: dict[str, Any] = {
    "task": "text_classification",
    "labels": ["good", "bad"],
    "input": {"tokenizer": {"kind": "code_points"}, "max_tokens": SEEN, "truncate": "end"},
}
"""card of the model of texts"""


def write_sign_tokenizer(folder: Path) -> dict[str, Path]:
    """Return the auxiliary files of the model of texts, by name."""
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(fit(CodePointTokenizer(), []).as_document()))
    return {path.name: path}


def write_colour_net(
    path: Path,
    *,
    size: int = 16,
    name: str = "colours",
    rounds: int = 0,
    activation: str = "Softmax",
    shift: float = 0.0,
    outputs: int = len(LABELS),
) -> Path:
    """Write a net: probabilities = activation(SHARPNESS * mean colour + shift) of the first `outputs` colours.

    `rounds` of matrix products make it slow.
    """
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
    ]
    last = "means"
    for index in range(rounds):
        nodes += [
            helper.make_node("MatMul", ["pixels" if index == 0 else f"work{index - 1}", "mix"], [f"work{index}"]),
        ]
    if rounds:
        nodes += [
            helper.make_node("ReduceMean", [f"work{rounds - 1}", "axes"], ["waste"], keepdims=0),
            helper.make_node("Mul", ["waste", "nought"], ["nothing"]),
            helper.make_node("Add", ["means", "nothing"], ["kept"]),
        ]
        last = "kept"
    nodes += [
        helper.make_node("Mul", [last, "sharpness"], ["sharp"]),
        helper.make_node("Add", ["sharp", "shift"], ["shifted"]),
        helper.make_node("Gather", ["shifted", "first"], ["logits"], axis=1),
        helper.make_node(activation, ["logits"], ["probabilities"]),
    ]
    constants = {
        "axes": np.array([1, 2], np.int64),
        "sharpness": np.array(SHARPNESS, np.float32),
        "shift": np.array(shift, np.float32),
        "first": np.arange(outputs),
        "mix": np.eye(3, dtype=np.float32),
        "nought": np.array(0, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", size, size, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", outputs])],
        [onnx.numpy_helper.from_array(value, constant) for constant, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def expected_probabilities(colour: tuple[int, int, int]) -> list[float]:
    """Return what the net must say of an image of one colour."""
    logits = np.array(colour, np.float32) * SHARPNESS
    weights = np.exp(logits - logits.max())
    return list(weights / weights.sum())


def write_sign_net(path: Path, *, name: str = "signs") -> Path:
    """Write a net that reads code points: probabilities = softmax(d, -d), d = how many more `+` than `-` a text has.

    A file of another `name` is another one, with a codec of its own: nets are known by their bytes.
    """
    nodes = [
        helper.make_node("Equal", ["code_points", "plus"], ["is_plus"]),
        helper.make_node("Equal", ["code_points", "minus"], ["is_minus"]),
        helper.make_node("Cast", ["is_plus"], ["pluses"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["is_minus"], ["minuses"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["pluses", "minuses"], ["signs"]),
        helper.make_node("ReduceSum", ["signs", "axis"], ["sum"], keepdims=1),
        helper.make_node("MatMul", ["sum", "both"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    constants = {
        "plus": np.array(ord("+"), np.int32),
        "minus": np.array(ord("-"), np.int32),
        "axis": np.array([1]),
        "both": np.array([[1, -1]], np.float32),
    }
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("code_points", TensorProto.INT32, ["N", "L"])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
