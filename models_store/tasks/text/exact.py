"""Exact weights of characters, for linear models whose file reads the text itself.

Such a file sums a weight of each n-gram for each class, and divides by the text's norm. What each n-gram adds, with the
norm counted in, is one more output, made of tensors that the graph has; the weight of a character is its share of the
n-grams that it is in, so that the weights of a text and the bias are the logit.
"""

# N texts, K logit, G n-gram, T code points of a text

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from models_store.tasks.explanation import CONTRIBUTIONS
from models_store.tasks.graphs import Graph
from models_store.tasks.text import folding, words
from models_store.tasks.text.folding import CodePoints
from models_store.tasks.text.occlusion import parts_of, weights_of

Floats = npt.NDArray[np.float64]
WINDOW_AXIS = 2


@dataclass(frozen=True)
class Ngrams:
    """Lengths of the n-grams of a file, in its order: at each character those of characters, then those of words."""

    of_characters: Sequence[int]
    of_words: Sequence[int]

    def spans(self, code_points_T: CodePoints, count: int) -> Iterator[tuple[int, int, int]]:
        """Yield the place of each n-gram among `count`, and where it begins and ends in the text."""
        size = len(code_points_T)
        behind = count // max(1, len(self.of_characters) + len(self.of_words)) * len(self.of_characters)
        for which, length in enumerate(self.of_characters):
            for first in range(size - length + 1):
                yield first * len(self.of_characters) + which, first, first + length
        found = words.spans(folding.FOLD[code_points_T]) if self.of_words else []
        for which, length in enumerate(self.of_words):
            for first in range(len(found) - length + 1):
                yield behind + first * len(self.of_words) + which, found[first][0], found[first + length - 1][1]

    def shared_out(self, code_points_T: CodePoints, added_G: Floats) -> Floats:
        """Return the weight of each character of a text: of each n-gram, an equal share."""
        weights_T = np.zeros(len(code_points_T))
        for place, start, end in self.spans(code_points_T, len(added_G)):
            weights_T[start:end] += added_G[place] / (end - start)
        return weights_T


def with_ngrams(path: Path) -> tuple[bytes, Ngrams] | None:
    """Return the graph of a file with what each n-gram adds as the output CONTRIBUTIONS, float32 (N, K, G).

    None: it is no linear model of n-grams.
    """
    model = onnx.load_model(path)
    graph = Graph(model.graph)
    found = _sum_and_root(graph)
    if found is None:
        return None
    total, root = found
    of_characters: list[int] = []
    of_words: list[int] = []
    for node in graph.all_of("Gather"):
        lengths = [end + 1 for end in _ends(node, graph) or ()]
        if graph.is_made_of(node.input[0], "CumSum"):  # words are found by running sums, and by nothing else
            of_words += lengths
        else:
            of_characters += lengths
    ngrams = Ngrams(of_characters, of_words)
    model.graph.node.extend(_operations(total.input[0], root.output[0]))
    model.graph.output.append(helper.make_tensor_value_info(CONTRIBUTIONS, onnx.TensorProto.FLOAT, ["N", "K", "G"]))
    return model.SerializeToString(), ngrams


def _sum_and_root(graph: Graph) -> tuple[onnx.NodeProto, onnx.NodeProto] | None:
    """Return the sum of the n-grams' weights, and the norm by which it is divided before the bias is added."""
    bias = graph.before_activation()
    if bias is None or bias.op_type != "Add":
        return None
    for name in bias.input:
        ratio = graph.behind(name)
        if ratio is None or ratio.op_type != "Div":
            continue
        total, root = graph.behind(ratio.input[0]), graph.behind(ratio.input[1])
        if total is not None and root is not None and (total.op_type, root.op_type) == ("ReduceSum", "Sqrt"):
            return total, root
    return None


def _ends(node: onnx.NodeProto, graph: Graph) -> list[int] | None:
    """Return the last places of n-grams in their windows (N, T, length), if a node looks whether they are in the text."""
    return graph.numbers(node.input[1]) if graph.attribute(node, "axis", 0) == WINDOW_AXIS else None


def _operations(ngrams_NGK: str, norm_N1: str) -> Iterator[onnx.NodeProto]:
    inner = f"{CONTRIBUTIONS}."
    yield helper.make_node("Cast", [ngrams_NGK], [f"{inner}NGK"], to=onnx.TensorProto.FLOAT)
    yield helper.make_node("Cast", [norm_N1], [f"{inner}N1"], to=onnx.TensorProto.FLOAT)
    yield helper.make_node("Constant", [], [f"{inner}axis"], value_ints=[2])
    yield helper.make_node("Unsqueeze", [f"{inner}N1", f"{inner}axis"], [f"{inner}N11"])
    yield helper.make_node("Div", [f"{inner}NGK", f"{inner}N11"], [f"{inner}shares"])
    yield helper.make_node("Transpose", [f"{inner}shares"], [CONTRIBUTIONS], perm=[0, 2, 1])


def shown(code_points_T: CodePoints, added_G: Floats, ngrams: Ngrams) -> dict[str, Any]:
    """Return the weights of a text's words, or of its characters where no spaces separate words."""
    text, weights_T = folding.text_of(code_points_T), ngrams.shared_out(code_points_T, added_G)
    parts = parts_of(text)
    return weights_of(text, parts, [float(weights_T[start:end].sum()) for start, end in parts])
