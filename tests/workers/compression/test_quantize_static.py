import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from models_store.spec.quantization import StaticInt8
from tests.workers.colour_nets import LABELS, a_learned_net, export_net, leaves
from workers.compression.quantization.calibration import CalibrationExamples, calibration_indexes
from workers.compression.quantization.static import quantize_static
from workers.export.sessions import open_session
from workers.training.targets import Affine

DATA = leaves()


@pytest.fixture(scope="module")
def int8(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    quantize_static(
        exported, path, part=StaticInt8(), examples=CalibrationExamples({"images": DATA.images_NHWC}, DATA.train)
    )
    return path


def answers(path: Path) -> np.ndarray:
    session = open_session(path, device="cpu", threads=1)
    return session.run(["probabilities"], {"images": DATA.images_NHWC[DATA.val]})[0]


def test_the_int8_file_is_a_quarter_of_the_size_and_answers_alike(int8: Path, exported: Path) -> None:
    assert int8.stat().st_size < 0.3 * exported.stat().st_size
    np.testing.assert_array_equal(answers(int8).argmax(axis=1), answers(exported).argmax(axis=1))
    assert np.abs(answers(int8) - answers(exported)).max() > 0


def test_weights_are_signed_per_channel_and_activations_unsigned(int8: Path) -> None:
    model = onnx.load(int8)
    weights = {weight.name: numpy_helper.to_array(weight) for weight in model.graph.initializer}

    scales = [
        weights[node.input[1]].size
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in weights and weights[node.input[0]].dtype == np.int8
    ]
    zero_points = {weights[node.input[2]].dtype for node in model.graph.node if node.op_type == "QuantizeLinear"}

    assert sorted(scales) == [3, 32, 64, 128, 512]
    assert zero_points == {np.dtype("uint8")}


def test_one_scale_per_tensor_when_the_spec_says_so(exported: Path, tmp_path: Path) -> None:
    part = StaticInt8(per_channel=False)

    quantize_static(
        exported,
        tmp_path / "int8.onnx",
        part=part,
        examples=CalibrationExamples({"images": DATA.images_NHWC}, DATA.train),
    )

    model = onnx.load(tmp_path / "int8.onnx")
    scales = [weight.dims for weight in model.graph.initializer if weight.name.endswith("_scale")]
    assert scales
    assert all(list(dims) in ([], [1]) for dims in scales)


def test_preprocessing_and_softmax_stay_in_float(int8: Path) -> None:
    model = onnx.load(int8)
    producers = {name: node.op_type for node in model.graph.node for name in node.output}

    before_first_scale = []
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            break
        before_first_scale.append(node.op_type)
    assert {"Cast", "Mul", "Add", "Transpose"} <= set(before_first_scale)
    assert producers["probabilities"] == "Softmax"
    assert Counter(producers.values())["Conv"] == 3


def test_labels_and_card_come_along_and_nothing_else(int8: Path, exported: Path) -> None:
    properties = {entry.key: entry.value for entry in onnx.load(int8).metadata_props}

    assert properties == {entry.key: entry.value for entry in onnx.load(exported).metadata_props}
    assert json.loads(properties["espalier.labels"]) == LABELS
    assert {entry.domain for entry in onnx.load(int8).opset_import} == {""}


def test_every_calibration_image_counts_towards_the_ranges(exported: Path, tmp_path: Path) -> None:
    dark = np.zeros((60, 32, 32, 3), dtype=np.uint8)
    one_bright = dark.copy()
    one_bright[0] = 255
    everything = np.arange(60)

    quantize_static(
        exported, tmp_path / "dark.onnx", part=StaticInt8(), examples=CalibrationExamples({"images": dark}, everything)
    )
    quantize_static(
        exported,
        tmp_path / "bright.onnx",
        part=StaticInt8(),
        examples=CalibrationExamples({"images": one_bright}, everything),
    )

    def first_scale(path: Path) -> float:
        model = onnx.load(path)
        first = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
        weights = {weight.name: weight for weight in model.graph.initializer}
        return float(numpy_helper.to_array(weights[first.input[1]]))

    # pixels are normalised to [-1, 1]: all dark is [-1, 0] (a range holds its zero), one bright image makes it [-1, 1]
    assert first_scale(tmp_path / "dark.onnx") == pytest.approx(1 / 255)
    assert first_scale(tmp_path / "bright.onnx") == pytest.approx(2 / 255)


def test_nothing_is_left_behind_and_nothing_is_said(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "staging").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))

    target = tmp_path / "staging" / "int8.onnx"
    quantize_static(
        exported, target, part=StaticInt8(), examples=CalibrationExamples({"images": DATA.images_NHWC}, DATA.train[:4])
    )

    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["int8.onnx"]
    assert capfd.readouterr() == ("", "")


def test_calibration_images_are_drawn_evenly_over_the_classes() -> None:
    labels_N = np.array([0] * 80 + [1] * 15 + [2] * 3 + [0, 1])
    train = np.arange(98)

    chosen = calibration_indexes(labels_N, train, count=23, seed=1)

    assert [int((labels_N[chosen] == label).sum()) for label in range(3)] == [10, 10, 3]
    assert len(set(chosen.tolist())) == 23
    assert set(chosen.tolist()) <= set(train.tolist())


def test_calibration_images_are_repeatable_and_change_with_the_seed() -> None:
    labels_N, train = np.arange(100) % 4, np.arange(100)

    first, again, other = (calibration_indexes(labels_N, train, count=12, seed=seed).tolist() for seed in (5, 5, 6))

    assert first == again
    assert first != other


def test_fewer_training_images_than_asked_for_are_all_used() -> None:
    chosen = calibration_indexes(np.zeros(50, dtype=np.int64), np.arange(7), count=128, seed=0)

    assert chosen.tolist() == list(range(7))


def test_without_classes_calibration_images_are_drawn_alike() -> None:
    rows = np.arange(100, 200)

    first = calibration_indexes(None, rows, count=30, seed=1)

    assert len(set(first.tolist())) == 30
    assert set(first) <= set(rows)
    assert first.tolist() == sorted(first)
    np.testing.assert_array_equal(first, calibration_indexes(None, rows, count=30, seed=1))
    assert first.tolist() != calibration_indexes(None, rows, count=30, seed=2).tolist()
    assert len(calibration_indexes(None, rows, count=1000, seed=1)) == 100


def test_the_layer_that_gives_numbers_stays_in_float(tmp_path: Path) -> None:
    net = a_learned_net()
    net.head.add_module("unit", Affine(scale=30.0, shift=2000.0))
    source = export_net(net, tmp_path / "fp32.onnx", activation="identity")

    quantize_static(
        source,
        tmp_path / "int8.onnx",
        part=StaticInt8(),
        examples=CalibrationExamples({"images": DATA.images_NHWC}, DATA.train[:10]),
        activation="identity",
    )

    graph = onnx.load(tmp_path / "int8.onnx").graph
    producers = {name: node for node in graph.node for name in node.output}
    last = next(node for node in reversed(graph.node) if node.op_type in {"Gemm", "MatMul"})
    weights = {weight.name: weight for weight in graph.initializer}
    assert weights[last.input[1]].data_type == onnx.TensorProto.FLOAT
    ending = producers["probabilities"]
    while ending.name != last.name:
        assert ending.op_type in {"Add", "Mul"}
        ending = producers[ending.input[0]]
    exact, near = answers(source), answers(tmp_path / "int8.onnx")
    assert np.abs(exact - near).max() < 0.1 * exact.std()
