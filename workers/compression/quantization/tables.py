"""Embeddings in 8 bits: only the rows that are looked up become floats, so that memory stays small too.

To a size: rows whose sums of squares are smallest leave (as fastText has it: Joulin et al. 2016, arXiv:1612.03651), and
what looks them up finds zeros. Rows of narrow tables stay: the number that says where a row is would be as large.
"""

# V row, E column

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from models_store.wording import counted
from workers.compression.quantization import graphs
from workers.compression.quantization.failures import QuantizationImpossible

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
LARGEST = 127  # of a signed 8-bit weight; -128 is left out, so that both signs reach equally far
WIDE = 16
"""columns from which on each row has a scale of its own; narrower tables have one a column"""
RESERVED = 2
"""first rows of a table, which stay: padding, and what is unknown"""
STAMP_BYTES = 4096
"""what the file's own figures take, which are written into it once they are measured"""


@dataclass(frozen=True)
class Table:
    """A matrix of weights whose rows are looked up, and the nodes that do it."""

    name: str
    weights: NDArray[np.float32]
    """(V, E)"""
    nodes: tuple[onnx.NodeProto, ...]

    @property
    def rows(self) -> int:
        """Return how many rows it has."""
        return len(self.weights)

    @property
    def is_wide(self) -> bool:
        """Return whether each row has a scale of its own, and may leave."""
        return bool(self.weights.shape[1] >= WIDE)


def of(graph: onnx.GraphProto) -> list[Table]:
    """Return the tables of a graph."""
    nodes = graphs.tables(graph)
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    return [
        Table(name, numpy_helper.to_array(tensors[name]), tuple(node for node in nodes if node.input[0] == name))
        for name in dict.fromkeys(node.input[0] for node in nodes)
    ]


def round_to_8_bits(graph: onnx.GraphProto, tables: Sequence[Table], *, least: float = -1.0) -> int:
    """Write the tables in 8 bits, without the rows whose sum of squares is `least` or less; return how many stay."""
    kept = 0
    for table in tables:
        weights_VE, stays_V = table.weights, _squares(table) > least
        stays_V[:RESERVED] = True
        stays_V |= not table.is_wide
        places = None
        if not stays_V.all():
            weights_VE = np.concatenate([weights_VE[stays_V], np.zeros((1, weights_VE.shape[1]), np.float32)])
            last = len(weights_VE) - 1
            places = np.full(table.rows, last, np.int16 if last <= np.iinfo(np.int16).max else np.int32)
            places[stays_V] = np.arange(last)
        kept += int(stays_V.sum())
        _rewrite(graph, table, weights_VE, places)
    return kept


def fit(model: onnx.ModelProto, tables: Sequence[Table], target: Path, *, source: Path, most_bytes: int) -> int:
    """Write a file of `most_bytes` at most to `target`, with as many rows as fit; return how many those are.

    Raises:
        QuantizationImpossible: if even without any row it is larger.
    """
    squares = np.sort(np.concatenate([np.zeros(0), *(_squares(table) for table in tables if table.is_wide)]))

    def written(leaving: int) -> tuple[int, int]:
        trial = onnx.ModelProto()
        trial.CopyFrom(model)
        least = float(squares[leaving - 1]) if leaving else -1.0
        kept = round_to_8_bits(trial.graph, of(trial.graph), least=least)
        graphs.save(trial, target, source=source)
        return target.stat().st_size + STAMP_BYTES, kept

    size_bytes, kept = written(0)
    if size_bytes <= most_bytes:
        return kept
    low, high = 0, len(squares)
    size_bytes, kept = written(high)
    if size_bytes > most_bytes:
        raise QuantizationImpossible(
            f"the smallest file of this net has {size_bytes:,} bytes, with none of its "
            f"{counted(len(squares), 'row')} of embeddings, and `target_size_bytes` is {most_bytes:,}; raise it, or "
            "train a smaller net (of fewer tokens or n-grams)"
        )
    while high - low > max(1, len(squares) // 1000):
        middle = (low + high) // 2
        size_bytes, _ = written(middle)
        low, high = (low, middle) if size_bytes <= most_bytes else (middle, high)
    _, kept = written(high)
    return kept


def rounded(weights: NDArray[np.float32], *, axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return weights in 8 bits, and the scale along `axis` that gives them back."""
    others = tuple(each for each in range(weights.ndim) if each != axis)
    largest = np.abs(weights).max(axis=others, keepdims=True)
    scale = np.where(largest > 0, largest / LARGEST, 1).astype(np.float32)
    rounded = np.clip(np.rint(weights / scale), -LARGEST, LARGEST).astype(np.int8)
    return rounded, scale


def _squares(table: Table) -> NDArray[np.float64]:
    squares_V: NDArray[np.float64] = np.square(table.weights, dtype=np.float64).sum(axis=1)
    return squares_V


def _rewrite(
    graph: onnx.GraphProto, table: Table, weights_VE: NDArray[np.float32], places: NDArray[Any] | None
) -> None:
    """Let the nodes look rows up in 8 bits, in another order where `places` has one."""
    by_row = table.is_wide
    values_VE, scale = rounded(weights_VE, axis=0 if by_row else 1)
    names = {part: f"{table.name}_{part}" for part in ("int8", "scale", "places")}
    graph.initializer.append(numpy_helper.from_array(values_VE, names["int8"]))
    graph.initializer.append(numpy_helper.from_array(scale, names["scale"]))
    if places is not None:
        graph.initializer.append(numpy_helper.from_array(places, names["places"]))
    written = [node.name or node.output[0] for node in table.nodes]
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if (node.name or node.output[0]) not in written:
            nodes.append(node)
            continue
        ids, answer = node.input[1], node.output[0]
        if places is not None:
            nodes += [
                onnx.helper.make_node("Gather", [names["places"], ids], [f"{answer}_small"], f"{answer}_small"),
                onnx.helper.make_node(
                    "Cast", [f"{answer}_small"], [f"{answer}_row"], f"{answer}_row", to=TensorProto.INT64
                ),
            ]
            ids = f"{answer}_row"
        factor = names["scale"]
        if by_row:
            factor = f"{answer}_scale"
            nodes.append(onnx.helper.make_node("Gather", [names["scale"], ids], [factor], factor))
        nodes += [
            onnx.helper.make_node("Gather", [names["int8"], ids], [f"{answer}_int8"], f"{answer}_int8"),
            onnx.helper.make_node(
                "Cast", [f"{answer}_int8"], [f"{answer}_float"], f"{answer}_float", to=TensorProto.FLOAT
            ),
            onnx.helper.make_node("Mul", [f"{answer}_float", factor], [answer], f"{answer}_scaled"),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
