"""Class activation maps of small graphs: what they add up to, and which graphs have them."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from models_store.tasks.explanation import CONTRIBUTIONS
from models_store.tasks.image.class_activation import with_maps
from tests.pooled_net import BIAS, CLASSES, SIDE, SQUARE, a_bright_square, write_net

HEADS = ("gemm", "transposed", "matmul")


def maps_and_probabilities(graph: bytes) -> tuple[np.ndarray, np.ndarray]:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    maps, probabilities = session.run([CONTRIBUTIONS, "probabilities"], {"images": a_bright_square()})
    return maps, probabilities


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("pooled_by", ["GlobalAveragePool", "ReduceMean"])
def test_the_mean_of_a_map_and_the_bias_are_the_logit(head: str, pooled_by: str, tmp_path: Path) -> None:
    graph = with_maps(write_net(tmp_path / "net.onnx", head=head, pooled_by=pooled_by))

    assert graph is not None
    maps, probabilities = maps_and_probabilities(graph)
    logits = maps.mean(axis=(2, 3)) + BIAS
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert maps.shape == (1, CLASSES, SIDE, SIDE)
    np.testing.assert_allclose(softmax, probabilities, atol=1e-6)


def test_a_map_peaks_at_what_the_class_is_recognised_by(tmp_path: Path) -> None:
    graph = with_maps(write_net(tmp_path / "net.onnx"))

    assert graph is not None
    maps, _ = maps_and_probabilities(graph)
    row, column = np.unravel_index(maps[0, 0].argmax(), maps[0, 0].shape)
    rows, columns = SQUARE
    assert rows.start <= row < rows.stop
    assert columns.start <= column < columns.stop


@pytest.mark.parametrize("change", [{"between": "Relu"}, {"pooled_by": "GlobalMaxPool"}])
def test_a_net_that_does_not_end_so_has_no_maps(change: dict[str, str], tmp_path: Path) -> None:
    assert with_maps(write_net(tmp_path / "net.onnx", **change)) is None


def test_the_file_itself_keeps_one_output(tmp_path: Path) -> None:
    path = write_net(tmp_path / "net.onnx")
    before = path.read_bytes()

    with_maps(path)

    assert path.read_bytes() == before
    assert [each.name for each in onnx.load(path).graph.output] == ["probabilities"]
