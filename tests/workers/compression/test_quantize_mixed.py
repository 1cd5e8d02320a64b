from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from models_store.spec.quantization import MixedInt8, StaticInt8
from models_store.targets.activations import DISTANCES
from tests.workers.compression.tiny_graphs import Graph, some_images
from workers.compression.quantization import mixed
from workers.compression.quantization.calibration import CalibrationExamples
from workers.compression.quantization.failures import QuantizationImpossible
from workers.compression.quantization.mixed import Judged, quantize_mixed
from workers.compression.quantization.positions import left_in_float
from workers.compression.quantization.static import quantize_static
from workers.export.sessions import open_session

IMAGES = CalibrationExamples({"images": some_images()}, np.arange(24))
Report = Callable[[float], None]


@pytest.fixture(scope="module")
def sensitive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net of six layers; `wild` makes one channel a thousand times as large as the others, and `tame` undoes it."""
    graph = Graph()
    stem = graph.node("Relu", [graph.conv(graph.start, "stem", (3, 8))], "stem_active")
    calm = graph.node("Relu", [graph.conv(stem, "calm", (8, 8))], "calm_active")
    gains = graph.constant("classifier.wild.weight", _diagonal([1000.0] + [1.0] * 7))
    wild = graph.node("Conv", [calm, gains], "wild")
    losses = graph.constant("classifier.tame.weight", _diagonal([0.001] + [1.0] * 7))
    tame = graph.node("Conv", [wild, losses], "tame")
    out = graph.node("Relu", [graph.conv(tame, "out", (8, 8))], "out_active")
    return graph.answering(
        graph.linear(graph.pooled(out), "head", (8, 3)), tmp_path_factory.mktemp("sensitive") / "fp32.onnx"
    )


def _diagonal(values: list[float]) -> np.ndarray:
    return np.diag(values).astype(np.float32)[:, :, None, None]


def answers(path: Path) -> np.ndarray:
    return open_session(path, device="cpu", threads=1).run(None, {"images": IMAGES.inputs["images"]})[0]


def closeness_to(source: Path) -> Callable[[Path, Report], float]:
    exact = answers(source)
    return lambda path, _: 1 - float(np.abs(answers(path) - exact).max())


def at_least(least: float, accuracy: Callable[[Path, Report], float]) -> Callable[[Path, Report], Judged]:
    """Return a judge that lets a file pass whose accuracy is at least this."""

    def judge(path: Path, report: Report) -> Judged:
        return Judged(found := accuracy(path, report), passes=found >= least)

    return judge


def test_layers_that_hurt_most_stay_in_float_until_the_gate_holds(sensitive: Path, tmp_path: Path) -> None:
    judge = closeness_to(sensitive)
    quantize_static(sensitive, tmp_path / "int8.onnx", part=StaticInt8(), examples=IMAGES)
    plain = judge(tmp_path / "int8.onnx", lambda _: None)
    least = 1 - (1 - plain) / 4

    facts = quantize_mixed(
        sensitive, tmp_path / "mixed.onnx", part=MixedInt8(), examples=IMAGES, judge=at_least(least, judge)
    )

    assert facts.as_card()["gate_held"]
    assert judge(tmp_path / "mixed.onnx", lambda _: None) >= least > plain
    assert {"wild", "tame"} & set(facts.float_layers)
    assert "calm" not in facts.float_layers
    assert facts.as_card()["tried"]["0"] == pytest.approx(plain)


def test_the_ranking_asks_what_became_of_the_likely_class_not_of_those_nobody_expected() -> None:
    exact = np.array([[0.9, 0.1 - 1e-4, 1e-4]], np.float32)
    unlikely, likely = np.array([[0.9, 0.1, 1e-6]], np.float32), np.array([[0.5, 0.5, 1e-4]], np.float32)

    assert DISTANCES["softmax"](exact, exact) == 0
    assert 0 < DISTANCES["softmax"](exact, unlikely) < DISTANCES["softmax"](exact, likely) / 100


def test_labels_that_are_left_out_count_as_much_as_those_that_are_found() -> None:
    there, lost = np.array([[0.9]], np.float32), np.array([[0.2]], np.float32)

    found = DISTANCES["sigmoid"](there, lost)

    assert found == pytest.approx(0.9 * np.log(0.9 / 0.2) + 0.1 * np.log(0.1 / 0.8), rel=1e-4)
    assert found == pytest.approx(DISTANCES["sigmoid"](1 - there, 1 - lost), rel=1e-4)


def test_numbers_are_as_far_apart_as_their_square() -> None:
    assert DISTANCES["identity"](np.zeros((2, 1), np.float32), np.array([[1], [3]], np.float32)) == 5


def test_no_layer_is_left_in_float_that_the_gate_does_not_need(sensitive: Path, tmp_path: Path) -> None:
    seen: list[str] = []

    def judge(path: Path, _: Report) -> float:
        seen.append(path.name)
        return 1.0

    facts = quantize_mixed(
        sensitive, tmp_path / "mixed.onnx", part=MixedInt8(), examples=IMAGES, judge=at_least(0.9, judge)
    )

    assert len(seen) == 1
    assert facts.float_layers == ["stem"]
    assert [path.name for path in tmp_path.iterdir()] == ["mixed.onnx"]


@pytest.mark.parametrize("needed", [1, 2, 3])
def test_the_fewest_layers_that_do_are_found(sensitive: Path, tmp_path: Path, needed: int) -> None:
    def judge(path: Path, _: Report) -> float:
        return float(_layers_in_float(path) >= needed + 1)  # the first is always

    facts = quantize_mixed(
        sensitive,
        tmp_path / "mixed.onnx",
        part=MixedInt8(max_float_share=0.8),
        examples=IMAGES,
        judge=at_least(1.0, judge),
    )

    assert len(facts.float_layers) == needed + 1 == _layers_in_float(tmp_path / "mixed.onnx")
    assert facts.layers == 6


def test_a_gate_that_no_share_meets_is_told_with_the_largest_share(sensitive: Path, tmp_path: Path) -> None:
    fractions: list[float] = []

    facts = quantize_mixed(
        sensitive,
        tmp_path / "mixed.onnx",
        part=MixedInt8(max_float_share=0.5),
        examples=IMAGES,
        judge=at_least(0.9, lambda *_: 0.3),
        report=fractions.append,
    )

    assert not facts.as_card()["gate_held"]
    assert facts.as_card()["tried"] == {"0": 0.3, "2": 0.3}  # half of the six, of which the first is in float anyway
    assert facts.as_card()["float_layers_allowed"] == 2
    assert len(facts.float_layers) == 3
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < fractions[-1] <= 1


@pytest.mark.parametrize(("share", "allowed"), [(0.1, 0), (0.33, 0), (0.34, 1), (0.99, 4), (1.0, 4)])
def test_the_share_is_of_all_layers_with_those_that_are_in_float_anyway(
    sensitive: Path, tmp_path: Path, share: float, allowed: int
) -> None:
    facts = quantize_mixed(
        sensitive,
        tmp_path / "mixed.onnx",
        part=MixedInt8(max_float_share=share),
        examples=IMAGES,
        judge=at_least(1.0, lambda *_: 0.0),
    )

    assert facts.as_card()["float_layers_allowed"] == allowed
    assert len(facts.float_layers) == 1 + allowed


def test_what_only_passes_on_a_layers_values_stays_in_float_with_it() -> None:
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w1"], ["a"], "first"),
        onnx.helper.make_node("Relu", ["a"], ["b"], "active"),
        onnx.helper.make_node("Conv", ["b", "w2"], ["c"], "second"),
        onnx.helper.make_node("Add", ["b", "c"], ["d"], "sum"),
        onnx.helper.make_node("Relu", ["d"], ["e"], "active_sum"),
        onnx.helper.make_node("Conv", ["e", "w3"], ["f"], "third"),
        onnx.helper.make_node("Add", ["e", "f"], ["g"], "next_sum"),
    ]
    weights = [onnx.numpy_helper.from_array(np.zeros((1, 1, 1, 1), dtype=np.float32), f"w{n}") for n in (1, 2, 3)]
    graph = onnx.helper.make_graph(nodes, "residual", [], [], weights)

    assert left_in_float(graph, {"second"}) == {"second", "sum", "active_sum"}
    assert left_in_float(graph, {"third"}) == {"third", "next_sum"}
    assert left_in_float(graph, set()) == set()


def _layers_in_float(path: Path) -> int:
    graph = onnx.load(path).graph
    floats = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    return sum(node.op_type in {"Conv", "Gemm"} and node.input[1] in floats for node in graph.node)


def test_the_few_images_that_there_is_time_for_are_of_all_classes(
    sensitive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(mixed, "RANKING_S", 0.0)
    monkeypatch.setattr(CalibrationExamples, "first", lambda self, count: asked.append(count) or _first(self, count))

    quantize_mixed(
        sensitive, tmp_path / "m.onnx", part=MixedInt8(), examples=IMAGES, judge=at_least(0.9, lambda *_: 0.3)
    )

    assert set(asked) == {mixed.LEAST_EXAMPLES}
    assert _first(IMAGES, mixed.LEAST_EXAMPLES).rows.tolist() == [0, 8, 15, 23]


_first = CalibrationExamples.first


def test_a_file_that_can_not_be_run_says_so_in_our_words(sensitive: Path, tmp_path: Path) -> None:
    def judge(path: Path, _: Report) -> float:
        path.write_bytes(b"no graph")
        open_session(path, device="cpu", threads=1)
        return 1.0

    with pytest.raises(QuantizationImpossible, match="could not run the quantised graph"):
        quantize_mixed(sensitive, tmp_path / "m.onnx", part=MixedInt8(), examples=IMAGES, judge=at_least(0.9, judge))
    assert list(tmp_path.iterdir()) == []
