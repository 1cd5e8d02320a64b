import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from models_store.spec.quantization import StaticInt8
from tests.workers.coloured_leaves import leaves
from workers.compression.quantization.calibration import CalibrationImages
from workers.compression.quantization.static import quantize_static
from workers.export.benchmark import BenchmarkFailed, Figures, benchmark
from workers.export.sessions import open_session

DATA = leaves()
SPLITS = {"val": DATA.val[:20], "test": DATA.val[20:]}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("arrays") / "images.npy"
    np.save(path, DATA.images_NHWC)
    return path


@pytest.fixture(scope="module")
def forms(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    int8 = tmp_path_factory.mktemp("int8") / "int8.onnx"
    quantize_static(exported, int8, part=StaticInt8(), images=CalibrationImages(DATA.images_NHWC, DATA.train))
    return {"fp32": exported, "int8": int8}


@pytest.fixture(scope="module")
def fractions() -> list[float]:
    return []


@pytest.fixture(scope="module")
def figures(forms: dict[str, Path], images: Path, fractions: list[float]) -> dict[str, Figures]:
    return benchmark(
        forms,
        baseline="fp32",
        images=images,
        targets=DATA.labels_N,
        splits=SPLITS,
        device="cpu",
        budget_s=0.2,
        report=fractions.append,
    )


def test_every_form_is_measured_on_the_file_that_ships(figures: dict[str, Figures], forms: dict[str, Path]) -> None:
    for name, form in figures.items():
        assert form.size_bytes == forms[name].stat().st_size
        assert (form.provider, form.threads) == ("CPUExecutionProvider", 1)
        assert 0 < form.latency_ms["p50"] <= form.latency_ms["p95"]
        assert set(form.throughput) == {"1", "32"}
        assert min(form.throughput.values()) > 0
        assert form.load_ms > 0
        assert form.speedup > 0
        json.dumps(form.as_card())


def test_the_baseline_is_as_fast_as_itself_and_agrees_with_itself(figures: dict[str, Figures]) -> None:
    assert (figures["fp32"].speedup, figures["fp32"].agreement) == (1.0, 1.0)


def test_accuracy_is_counted_against_the_labels_of_each_split(
    exported: Path, images: Path, figures: dict[str, Figures]
) -> None:
    labels_N = DATA.labels_N.copy()
    labels_N[SPLITS["test"][:4]] = (labels_N[SPLITS["test"][:4]] + 1) % 3

    mislabelled = benchmark(
        {"fp32": exported},
        baseline="fp32",
        images=images,
        targets=labels_N,
        splits=SPLITS,
        device="cpu",
        budget_s=0.1,
    )

    assert figures["fp32"].accuracy == {"val": 1.0, "test": 1.0}
    assert mislabelled["fp32"].accuracy == {"val": 1.0, "test": 0.75}


def test_a_split_without_images_has_no_accuracy(exported: Path, images: Path) -> None:
    figures = benchmark(
        {"fp32": exported},
        baseline="fp32",
        images=images,
        targets=DATA.labels_N,
        splits={"val": DATA.val, "test": DATA.val[:0]},
        device="cpu",
        budget_s=0.1,
    )

    assert set(figures["fp32"].accuracy) == {"val"}


def test_progress_rises_to_the_end(figures: dict[str, Figures], fractions: list[float]) -> None:
    assert figures
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)


def test_a_file_that_is_no_model_fails_with_what_was_said(tmp_path: Path, exported: Path, images: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")

    with pytest.raises(BenchmarkFailed, match="Protobuf"):
        benchmark(
            {"fp32": exported, "broken": broken},
            baseline="fp32",
            images=images,
            targets=DATA.labels_N,
            splits=SPLITS,
            device="cpu",
            budget_s=0.1,
        )


def test_who_stops_listening_stops_the_measuring(exported: Path, images: Path) -> None:
    def stop(_fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        benchmark(
            {"fp32": exported},
            baseline="fp32",
            images=images,
            targets=DATA.labels_N,
            splits=SPLITS,
            device="cpu",
            budget_s=0.1,
            report=stop,
        )

    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children]
    assert not [command for command in commands if b"workers.export.benchmark" in command]


def test_the_measuring_process_has_no_torch_and_no_telemetry() -> None:
    program = (
        "import sys, os, workers.export.benchmark;"
        "print('torch' in sys.modules, os.environ['ORT_DISABLE_TELEMETRY'], 'onnxruntime' in sys.modules)"
    )

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert said.split() == ["False", "1", "True"]


@pytest.mark.parametrize(
    ("targets", "accuracy"),
    [(np.eye(3, dtype=np.float32)[DATA.labels_N], 1.0), (np.ones((len(DATA.labels_N), 3), np.float32), 1 / 3)],
)
def test_labels_have_the_share_of_right_ones(
    targets: np.ndarray, accuracy: float, forms: dict[str, Path], images: Path
) -> None:
    figures = benchmark(
        forms,
        baseline="fp32",
        images=images,
        targets=targets,
        task="multilabel_classification",
        splits={"val": DATA.val},
        device="cpu",
        budget_s=0.01,
    )

    assert figures["fp32"].accuracy["val"] == pytest.approx(accuracy, abs=0.05)
    assert (figures["fp32"].agreement, figures["int8"].agreement) == (1.0, 1.0)


@pytest.mark.parametrize(("shift", "accuracy"), [(0.0, 1.0), (1.0, 0.0), (2.0, -3.0)])
def test_numbers_have_r2(shift: float, accuracy: float, forms: dict[str, Path], images: Path) -> None:
    session = open_session(forms["fp32"], device="cpu", threads=1)
    answered_N1 = session.run(None, {"images": DATA.images_NHWC})[0][:, :1]
    deviation = answered_N1[DATA.val].std()

    figures = benchmark(
        forms,
        baseline="fp32",
        images=images,
        targets=answered_N1 + shift * deviation,
        task="image_regression",
        splits={"val": DATA.val},
        device="cpu",
        budget_s=0.01,
    )

    assert figures["fp32"].accuracy["val"] == pytest.approx(accuracy, abs=1e-4)
    assert figures["int8"].accuracy["val"] == pytest.approx(accuracy, abs=0.1)
    assert (figures["fp32"].agreement, figures["int8"].agreement) == (1.0, 1.0)
