from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from models_store.spec.quantization import StaticInt8
from tests.workers.compression.tiny_graphs import Graph, some_images
from workers.compression.quantization import histograms
from workers.compression.quantization.calibration import CalibrationExamples, calibration_indexes
from workers.compression.quantization.failures import QuantizationImpossible
from workers.compression.quantization.histograms import BINS
from workers.compression.quantization.static import quantize_static
from workers.export.sessions import open_session

ALL = np.arange(24)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    graph = Graph(channels=1)
    stem = graph.node("Relu", [graph.conv(graph.start, "stem", (1, 8))], "stem_active")
    weights = graph.constant("classifier.copy.weight", np.eye(8, dtype=np.float32)[:, :, None, None])
    copied = graph.node("Relu", [graph.node("Conv", [stem, weights], "copy")], "copied")
    return graph.answering(
        graph.linear(graph.pooled(copied), "head", (8, 3)), tmp_path_factory.mktemp("source") / "fp32.onnx"
    )


def largest_of(path: Path, tensor: str) -> float:
    """Return the largest value that the rounding of a tensor of no negative values keeps."""
    scales = {each.name: each for each in onnx.load(path).graph.initializer}
    return 255 * float(numpy_helper.to_array(scales[f"{tensor}_scale"]))


def observed(source: Path, path: Path, tensor: str, images_NHWC: np.ndarray | None = None) -> np.ndarray:
    """Return what a tensor of the file is on all images; `path` is for a file that gives it."""
    model = onnx.load(source)
    model.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    onnx.save_model(model, path)
    given = some_images(channels=1) if images_NHWC is None else images_NHWC
    return open_session(path, device="cpu", threads=1).run([tensor], {"images": given})[0]


def with_a_rare_peak() -> np.ndarray:
    images_NHWC = some_images(channels=1) // 4
    images_NHWC[0, 3:6, 3:6] = 255
    return images_NHWC


@pytest.mark.parametrize("calibration", ["entropy", "percentile"])
def test_rare_large_values_may_be_cut_off(source: Path, tmp_path: Path, calibration: str) -> None:
    images = CalibrationExamples({"images": with_a_rare_peak()}, ALL)

    whole = quantize_static(source, tmp_path / "whole.onnx", part=StaticInt8(), examples=images).as_card()
    cut = quantize_static(
        source, tmp_path / "cut.onnx", part=StaticInt8(calibration=calibration, percentile=99.0), examples=images
    ).as_card()

    assert largest_of(tmp_path / "cut.onnx", "copied") < 0.7 * largest_of(tmp_path / "whole.onnx", "copied")
    assert (whole["calibration"], cut["calibration"]) == ("minmax", calibration)
    assert whole.get("percentile") is None
    assert cut.get("percentile") == (99.0 if calibration == "percentile" else None)


def test_all_of_the_values_are_the_whole_range(source: Path, tmp_path: Path) -> None:
    images = CalibrationExamples({"images": with_a_rare_peak()}, ALL)

    quantize_static(source, tmp_path / "whole.onnx", part=StaticInt8(), examples=images)
    quantize_static(
        source, tmp_path / "all.onnx", part=StaticInt8(calibration="percentile", percentile=100.0), examples=images
    )

    assert largest_of(tmp_path / "all.onnx", "copied") == pytest.approx(largest_of(tmp_path / "whole.onnx", "copied"))


def test_every_batch_counts_towards_a_histogram(source: Path, tmp_path: Path) -> None:
    images = CalibrationExamples({"images": some_images(channels=1)}, ALL)

    counts = histograms.collect(_beside(source, tmp_path), {"stem_active": 10.0}, images.feeds(batch=5))

    assert counts["stem_active"].sum() == (observed(source, tmp_path / "observed.onnx", "stem_active") != 0).sum()
    assert 0 < counts["stem_active"].sum() < 24 * 8 * 8 * 8  # images x channels x height x width


def test_a_percentile_of_a_tensor_that_is_nearly_all_zeros_is_of_what_is_not(source: Path, tmp_path: Path) -> None:
    dark_NHWC = np.zeros_like(some_images(channels=1))
    dark_NHWC[0, 4, 4] = 255
    images, part = (
        CalibrationExamples({"images": dark_NHWC}, ALL),
        StaticInt8(calibration="percentile", percentile=95.0),
    )

    quantize_static(source, tmp_path / "whole.onnx", part=StaticInt8(), examples=images)
    quantize_static(source, tmp_path / "cut.onnx", part=part, examples=images)

    seen = observed(source, tmp_path / "observed.onnx", "stem_active", dark_NHWC)
    assert np.mean(seen == 0) > 0.95
    assert largest_of(tmp_path / "cut.onnx", "copied") > 0.5 * largest_of(tmp_path / "whole.onnx", "copied")


def test_a_percentile_is_the_end_of_the_bin_that_reaches_it() -> None:
    counts = np.zeros(BINS, dtype=np.int64)
    counts[[0, 99, 2000]] = 900, 99, 1

    assert histograms.percentile_cut(counts, percent=99.9) == 100 / BINS
    assert histograms.percentile_cut(counts, percent=100) == 2001 / BINS
    assert histograms.percentile_cut(counts, percent=90) == 1 / BINS


def test_the_cut_of_least_information_keeps_an_even_spread_and_drops_a_lone_tail() -> None:
    even = np.full(BINS, 1000, dtype=np.int64)
    lone = np.zeros(BINS, dtype=np.int64)
    lone[:300], lone[2000] = np.linspace(2000, 10, 300), 1

    assert histograms.entropy_cut(even, levels=256) > 0.95
    assert 290 / BINS < histograms.entropy_cut(lone, levels=256) < 0.5


def test_values_that_are_all_the_same_size_are_not_cut() -> None:
    counts = np.zeros(BINS, dtype=np.int64)

    assert histograms.entropy_cut(counts, levels=256) == 1.0


def test_there_must_be_something_to_calibrate_on() -> None:
    with pytest.raises(QuantizationImpossible, match=r"train split is empty.*`weights_int8`"):
        calibration_indexes(np.zeros(5, dtype=np.int64), np.array([], dtype=np.int64), count=128, seed=0)


def test_some_images_are_spread_over_all() -> None:
    images = CalibrationExamples({"images": some_images()}, ALL)

    assert images.first(5).rows.tolist() == [0, 6, 12, 17, 23]
    assert images.first(100).rows.tolist() == ALL.tolist()


def _beside(source: Path, folder: Path) -> Path:
    path = folder / "prepared.onnx"
    path.write_bytes(source.read_bytes())
    return path
