"""Class activation maps of a file: how much each place of its last feature map adds to each logit.

Where a net ends with a mean over all places and one linear layer, the mean of a map, plus the bias, is the logit (Zhou et
al. 2016, arXiv:1512.04150). The maps are one more output, made of tensors that the file's graph has.
"""

# N example, K logit, C channel, H row of the map, W column

from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import helper

from models_store.tasks.explanation import CONTRIBUTIONS, SelfExplaining
from models_store.tasks.graphs import UNCHANGING, Graph
from models_store.tasks.image.batches import Pixels
from models_store.tasks.image.heat_map import as_json, heat_map

BEFORE_HEAD = UNCHANGING | {"Flatten", "Reshape", "Squeeze", "Dropout"}
"""operations between the mean and the linear layer, which keep its values"""
PLACES = ([2, 3], [-2, -1], [-1, -2])


def explaining(path: Path) -> SelfExplaining[Pixels] | None:
    """Return a file with its maps, and how they become heat maps; None if it has none."""
    graph = with_maps(path)
    if graph is None:
        return None
    return SelfExplaining("class_activation", graph, lambda image, heat: as_json(heat_map(image, heat)))


def with_maps(path: Path) -> bytes | None:
    """Return the graph of a file with the maps as the output CONTRIBUTIONS, float32 (N, K, H, W).

    None: its net does not end so.
    """
    model = onnx.load_model(path)
    graph = Graph(model.graph)
    head = graph.before_activation()
    if head is not None and head.op_type == "Add":  # the bias of a MatMul
        head = next((each for name in head.input if (each := graph.behind(name)) and each.op_type == "MatMul"), None)
    if head is None or head.op_type not in {"Gemm", "MatMul"} or not graph.is_constant(head.input[1]):
        return None
    mean = graph.behind(head.input[0], BEFORE_HEAD)
    if mean is None or not _is_mean_of_places(mean, graph):
        return None
    if graph.attribute(head, "transA", 0) or graph.attribute(head, "alpha", 1.0) != 1.0:
        return None
    is_transposed = bool(graph.attribute(head, "transB", 0))
    model.graph.node.extend(_maps(mean.input[0], head.input[1], is_transposed=is_transposed))
    output = helper.make_tensor_value_info(CONTRIBUTIONS, onnx.TensorProto.FLOAT, ["N", "K", "H", "W"])
    model.graph.output.append(output)
    made: bytes = model.SerializeToString()
    return made


def _maps(features: str, weights: str, *, is_transposed: bool) -> Iterator[onnx.NodeProto]:
    """Yield the operations from the feature map (N, C, H, W) and the weights (C, K), or (K, C), to the maps."""
    inner = f"{CONTRIBUTIONS}."
    yield helper.make_node("Cast", [features], [f"{inner}NCHW"], to=onnx.TensorProto.FLOAT)
    yield helper.make_node("Transpose", [f"{inner}NCHW"], [f"{inner}NHWC"], perm=[0, 2, 3, 1])
    yield helper.make_node("Cast", [weights], [f"{inner}weights"], to=onnx.TensorProto.FLOAT)
    weights_CK = f"{inner}weights"
    if is_transposed:
        weights_CK = f"{inner}CK"
        yield helper.make_node("Transpose", [f"{inner}weights"], [weights_CK], perm=[1, 0])
    yield helper.make_node("MatMul", [f"{inner}NHWC", weights_CK], [f"{inner}NHWK"])
    yield helper.make_node("Transpose", [f"{inner}NHWK"], [CONTRIBUTIONS], perm=[0, 3, 1, 2])


def _is_mean_of_places(node: onnx.NodeProto, graph: Graph) -> bool:
    """Return whether a node is the mean over the rows and columns of a feature map."""
    if node.op_type == "GlobalAveragePool":
        return True
    if node.op_type != "ReduceMean":
        return False
    axes = next((list(each.ints) for each in node.attribute if each.name == "axes"), None)
    if axes is None and len(node.input) > 1:
        axes = graph.numbers(node.input[1])
    return axes in PLACES
