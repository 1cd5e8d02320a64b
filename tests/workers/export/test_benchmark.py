import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from models_store.spec.quantization import StaticInt8
from models_store.targets import LABELS, NUMBER
from tests.service.onnx_files import write_colour_net
from tests.workers.colour_nets import SIZE, leaves
from workers.compression.quantization.calibration import CalibrationExamples
from workers.compression.quantization.floats import halve
from workers.compression.quantization.static import quantize_static
from workers.export.benchmark import BenchmarkFailed, benchmark, speedups
from workers.export.figures import Figures, Measurement, Unmeasurable
from workers.export.sessions import DeviceUnavailable, cuda_may_be_there, open_session

DATA = leaves()
SAMPLE = {"images": DATA.images_NHWC[:1]}
SPLITS = {"val": DATA.val[:20], "test": DATA.val[20:]}


def measured(variants: Mapping[str, Path], images: Path, **changes: Any) -> dict[str, Measurement]:
    """Measure on the CPU, in next to no time."""
    asked = {"truths": DATA.labels_N, "splits": SPLITS, "budget_s": 0.05, "device": "cpu", "baseline": "fp32"}
    return benchmark(variants, inputs={"images": images}, **asked | changes)["cpu"]


def figures_of(measurement: Measurement) -> Figures:
    assert isinstance(measurement, Figures), measurement
    return measurement


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("arrays") / "images.npy"
    np.save(path, DATA.images_NHWC)
    return path


@pytest.fixture(scope="module")
def variants(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    int8 = tmp_path_factory.mktemp("int8") / "int8.onnx"
    quantize_static(
        exported, int8, part=StaticInt8(), examples=CalibrationExamples({"images": DATA.images_NHWC}, DATA.train)
    )
    return {"fp32": exported, "int8": int8}


@pytest.fixture(scope="module")
def fractions() -> list[float]:
    return []


@pytest.fixture(scope="module")
def figures(variants: dict[str, Path], images: Path, fractions: list[float]) -> dict[str, Figures]:
    found = measured(variants, images, budget_s=0.2, report=fractions.append)
    return {name: figures_of(each) for name, each in found.items()}


def test_every_variant_is_measured_on_the_file_that_ships(
    figures: dict[str, Figures], variants: dict[str, Path]
) -> None:
    assert set(figures) == set(variants)
    for name, variant in figures.items():
        assert (variant.provider, variant.threads) == ("CPUExecutionProvider", 1)
        assert 0 < variant.latency_ms["p50"] <= variant.latency_ms["p95"]
        assert set(variant.throughput) == {"1", "8", "32"}
        assert min(variant.throughput.values()) > 0
        assert variant.load_ms > 0
        assert variant.peak_memory_bytes > variants[name].stat().st_size
        assert variant.speedup_interval[0] <= variant.speedup <= variant.speedup_interval[1]
        assert variant.host["device"]
        json.dumps(variant.as_card(), allow_nan=False)


def test_the_baseline_is_as_fast_as_itself_and_agrees_with_itself(figures: dict[str, Figures]) -> None:
    fp32 = figures["fp32"]

    assert (fp32.speedup, fp32.speedup_interval, fp32.agreement, fp32.accuracy_drop) == (1.0, (1.0, 1.0), 1.0, 0.0)
    assert fp32.parent_speedup is None
    assert fp32.accuracy_drop_interval is None
    assert fp32.validation_images == 20


def test_latency_throughput_and_speedup_say_the_same(figures: dict[str, Figures]) -> None:
    fp32, int8 = figures["fp32"], figures["int8"]

    assert fp32.latency_ms["p50"] / int8.latency_ms["p50"] == pytest.approx(int8.speedup)
    assert int8.throughput["1"] / fp32.throughput["1"] == pytest.approx(int8.speedup)


def test_a_variant_is_compared_with_the_one_it_was_made_from(variants: dict[str, Path], images: Path) -> None:
    three = {"fp32": variants["fp32"], "pruned": variants["fp32"], "pruned-int8": variants["int8"]}

    found = measured(three, images, parents={"fp32": None, "pruned": "fp32", "pruned-int8": "pruned"})

    last = figures_of(found["pruned-int8"])
    assert figures_of(found["pruned"]).parent_speedup == figures_of(found["pruned"]).speedup
    assert last.parent_speedup is not None
    assert last.parent_speedup != last.speedup  # of another file's calls


def test_accuracy_is_counted_against_the_labels_of_each_split(
    exported: Path, images: Path, figures: dict[str, Figures]
) -> None:
    labels_N = DATA.labels_N.copy()
    labels_N[SPLITS["test"][:4]] = (labels_N[SPLITS["test"][:4]] + 1) % 3

    mislabelled = measured({"fp32": exported}, images, truths=labels_N)

    assert figures["fp32"].accuracy == {"val": 1.0, "test": 1.0}
    assert figures_of(mislabelled["fp32"]).accuracy == {"val": 1.0, "test": 0.75}


def test_conformal_levels_are_calibrated_on_validation_and_tested_on_test_examples(
    exported: Path, images: Path
) -> None:
    labels_N = DATA.labels_N.copy()
    labels_N[SPLITS["test"][:4]] = (labels_N[SPLITS["test"][:4]] + 1) % 3

    found = figures_of(measured({"fp32": exported}, images, truths=labels_N)["fp32"]).conformal

    assert found is not None
    levels = {level["coverage"]: level for level in found["levels"]}
    assert (found["calibrated_on"], found["tested_on"]) == (20, len(SPLITS["test"]))
    assert levels[0.9]["threshold"] < 0.5
    assert levels[0.9]["test_coverage"] <= 1 - 4 / len(SPLITS["test"])  # the changed labels are in no set
    assert levels[0.9]["mean_size"] >= 1
    assert levels[0.975] == {"coverage": 0.975, "threshold": None, "test_coverage": None, "mean_size": None}


def test_conformal_levels_without_a_test_split_have_thresholds_alone(exported: Path, images: Path) -> None:
    found = figures_of(measured({"fp32": exported}, images, splits={"val": DATA.val})["fp32"]).conformal

    assert found is not None
    assert found["tested_on"] == 0
    assert found["levels"][0]["threshold"] is not None
    assert found["levels"][0]["test_coverage"] is None


def test_what_a_variant_loses_is_counted_on_the_same_images(images: Path, tmp_path: Path, exported: Path) -> None:
    of_one_answer = onnx.load(write_colour_net(tmp_path / "net.onnx", size=SIZE))
    shift = next(tensor for tensor in of_one_answer.graph.initializer if tensor.name == "shift")
    shift.CopyFrom(onnx.numpy_helper.from_array(np.array([1000, 0, 0], np.float32), "shift"))
    onnx.save(of_one_answer, tmp_path / "one.onnx")

    found = measured({"fp32": exported, "one": tmp_path / "one.onnx"}, images)

    one = figures_of(found["one"])
    assert one.accuracy["val"] == one.agreement == pytest.approx(7 / 20)
    assert one.accuracy_drop == pytest.approx(13 / 20)
    assert one.accuracy_drop_interval is not None
    assert 0.3 < one.accuracy_drop_interval[0] < 13 / 20 < one.accuracy_drop_interval[1] < 0.98


def test_a_split_without_images_has_no_accuracy(exported: Path, images: Path) -> None:
    found = measured({"fp32": exported}, images, splits={"val": DATA.val, "test": DATA.val[:0]})

    assert set(figures_of(found["fp32"]).accuracy) == {"val"}


def test_progress_rises_to_the_end(figures: dict[str, Figures], fractions: list[float]) -> None:
    assert figures
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)


def test_a_variant_that_can_not_be_loaded_or_answers_nonsense_is_told_and_the_others_are_measured(
    tmp_path: Path, exported: Path, images: Path
) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    nan = write_colour_net(tmp_path / "nan.onnx", size=SIZE, shift=float("nan"))
    other_size = write_colour_net(tmp_path / "other.onnx", size=SIZE // 2)
    variants = {"broken": tmp_path / "broken.onnx", "nan": nan, "other": other_size, "fp32": exported, "same": exported}

    found = measured(variants, images, parents={"same": "broken"})

    refused = {name: each.reason for name, each in found.items() if isinstance(each, Unmeasurable)}
    assert set(refused) == {"broken", "nan", "other"}
    assert "Protobuf" in refused["broken"]
    assert refused["nan"] == "answers 36 of 36 examples with a number that is not finite"
    assert "dimensions" in refused["other"]
    assert figures_of(found["same"]).agreement == 1.0
    assert figures_of(found["same"]).parent_speedup is None


def test_a_variant_without_kernels_here_is_told_in_our_words(tmp_path: Path, exported: Path, images: Path) -> None:
    halve(exported, tmp_path / "bf16.onnx", kind="bf16")

    bf16 = measured({"fp32": exported, "bf16": tmp_path / "bf16.onnx"}, images)["bf16"]

    assert bf16 == Unmeasurable(
        "onnxruntime has no bf16 kernels for Conv on this provider (cpu); use fp32 or int8 here, or CUDA"
    )


def test_a_baseline_that_can_not_be_measured_fails_with_what_was_said(tmp_path: Path, images: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")

    with pytest.raises(BenchmarkFailed, match="Protobuf"):
        measured({"fp32": broken}, images)


@pytest.mark.skipif(cuda_may_be_there(), reason="there is a CUDA device here")
def test_cuda_that_is_not_there_is_left_out_unless_it_was_asked_for(exported: Path, images: Path) -> None:
    asked: dict[str, Any] = {
        "baseline": "fp32", "inputs": {"images": images}, "truths": DATA.labels_N, "splits": SPLITS, "budget_s": 0.01,
    }  # fmt: skip

    assert set(benchmark({"fp32": exported}, device="auto", **asked)) == {"cpu"}
    with pytest.raises(DeviceUnavailable):
        benchmark({"fp32": exported}, device="cuda", **asked)


@pytest.mark.gpu
def test_each_provider_that_is_there_has_figures_of_its_own(variants: dict[str, Path], images: Path) -> None:
    asked: dict[str, Any] = {
        "baseline": "fp32",
        "inputs": {"images": images},
        "truths": DATA.labels_N,
        "splits": SPLITS,
    }

    found = benchmark(variants, device="auto", budget_s=0.2, **asked)

    assert set(found) == {"cpu", "cuda"}
    fp32 = figures_of(found["cuda"]["fp32"])
    assert fp32.provider == "CUDAExecutionProvider"
    assert fp32.host["features"][0].startswith("sm_")


def test_speedups_tell_a_slow_file_from_a_quick_one(tmp_path: Path) -> None:
    quick = write_colour_net(tmp_path / "quick.onnx", size=SIZE)
    slow = write_colour_net(tmp_path / "slow.onnx", size=SIZE, rounds=100)
    heard = []

    found = speedups(
        {"slow": slow, "quick": quick}, baseline="slow", sample=SAMPLE, budget_s=0.1, report=lambda: heard.append(True)
    )

    assert found["slow"] == 1.0
    assert found["quick"] > 1.0
    assert heard


def test_a_speedup_of_what_can_not_be_loaded_is_none(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")

    with pytest.raises(BenchmarkFailed, match="Protobuf"):
        speedups({"fp32": tmp_path / "broken.onnx"}, baseline="fp32", sample=SAMPLE)


def test_who_stops_listening_stops_the_measuring(exported: Path, images: Path) -> None:
    def stop(_fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured({"fp32": exported}, images, report=stop)

    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children]
    assert not [command for command in commands if b"workers.export.measuring" in command]


def test_the_measuring_process_has_no_torch() -> None:
    program = (
        "import sys, workers.export.measuring;"
        "print('torch' in sys.modules or 'pydantic' in sys.modules, 'onnxruntime' in sys.modules)"
    )

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert said.split() == ["False", "True"]


def test_the_measuring_process_has_no_telemetry(exported: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environments: list[list[bytes]] = []
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")

    def look(_fraction: float) -> None:
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
        environments.extend(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") for pid in children)

    measured({"fp32": exported}, images, report=look)

    assert environments
    assert all(b"ORT_DISABLE_TELEMETRY=1" in each for each in environments)


@pytest.mark.parametrize(
    ("targets", "accuracy"),
    [(np.eye(3, dtype=np.float32)[DATA.labels_N], 1.0), (np.ones((len(DATA.labels_N), 3), np.float32), 1 / 3)],
)
def test_labels_have_the_share_of_right_ones(
    targets: np.ndarray, accuracy: float, variants: dict[str, Path], images: Path
) -> None:
    found = measured(variants, images, truths=targets, target=LABELS, splits={"val": DATA.val})

    fp32, int8 = figures_of(found["fp32"]), figures_of(found["int8"])
    assert fp32.accuracy["val"] == pytest.approx(accuracy, abs=0.05)
    assert (fp32.agreement, int8.agreement) == (1.0, 1.0)


@pytest.mark.parametrize(("shift", "accuracy"), [(0.0, 1.0), (1.0, 0.0), (2.0, -3.0)])
def test_numbers_have_r2(shift: float, accuracy: float, variants: dict[str, Path], images: Path) -> None:
    session = open_session(variants["fp32"], device="cpu", threads=1)
    answered_N1 = session.run(None, {"images": DATA.images_NHWC})[0][:, :1]
    deviation = answered_N1[DATA.val].std()

    found = measured(
        variants,
        images,
        truths=answered_N1 + shift * deviation,
        target=NUMBER,
        splits={"val": DATA.val},
    )

    fp32, int8 = figures_of(found["fp32"]), figures_of(found["int8"])
    assert fp32.accuracy["val"] == pytest.approx(accuracy, abs=1e-4)
    assert int8.accuracy["val"] == pytest.approx(accuracy, abs=0.1)
    assert (fp32.agreement, int8.agreement) == (1.0, 1.0)


def test_past_its_limit_fewer_images_are_answered_and_fewer_rounds_timed_and_the_card_says_so(
    variants: dict[str, Path], images: Path
) -> None:
    splits = {"val": np.resize(DATA.val, 900), "test": np.resize(DATA.val, 400)}

    cut = {name: figures_of(each) for name, each in measured(variants, images, splits=splits, limit_s=1e-9).items()}
    whole = {name: figures_of(each) for name, each in measured(variants, images, splits=splits).items()}

    for name in variants:
        assert cut[name].images == {"val": 256, "test": 128}
        assert cut[name].rounds == {"1": 6, "8": 1, "32": 1}
        assert whole[name].images == {"val": 900, "test": 400}
        assert whole[name].rounds["1"] > cut[name].rounds["1"]
        assert set(cut[name].throughput) == {"1", "8", "32"}
    low, high = cut["int8"].accuracy_drop_interval or (0, 0)
    all_low, all_high = whole["int8"].accuracy_drop_interval or (0, 0)
    assert high - low > all_high - all_low  # fewer images say less
