from pathlib import Path

import numpy as np
import onnx
import pytest

from models_store.spec import quantization as asked
from models_store.spec.train import ResolvedSpec
from models_store.targets import ONE_CLASS
from tests.samples import a_train_spec
from tests.workers.compression.tiny_graphs import Graph, some_images
from tests.workers.job_folders import JobFolder
from tests.workers.training_runs import Recorder
from workers.compression.quantization import accuracy as quantizing_accuracy
from workers.compression.quantization.mixed import Judged
from workers.export.sessions import open_session
from workers.process.progress import Drained
from workers.stages import quantize as quantizing
from workers.stages.context import Variant
from workers.training.examples import Examples

CLASSES = ["blue", "green", "red"]


def a_spec(*parts: asked.Quantization, max_accuracy_drop: float = 0.02) -> ResolvedSpec:
    quantize = [part.model_dump() for part in parts]
    return a_train_spec(compression={"quantize": quantize, "max_accuracy_drop": max_accuracy_drop})


def some_arrays(*, train: int = 16) -> Examples:
    images_NHWC = some_images(24)
    splits_N = np.array(["train"] * train + ["val"] * 8 + ["test"] * (16 - train), dtype="<U5")
    return Examples({"images": images_NHWC}, np.arange(24) % 3, splits_N, CLASSES)


def a_file(path: Path, *, classes: int = 3) -> Path:
    graph = Graph()
    body = graph.node("Relu", [graph.conv(graph.conv(graph.start, "stem", (3, 8)), "body", (8, 16))], "active")
    return graph.answering(graph.linear(graph.pooled(body), "head", (16, classes)), path)


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    return JobFolder(tmp_path)


def fp32(job: JobFolder) -> dict[str, Variant]:
    return {"fp32": Variant(a_file(job.folder / "fp32.onnx"), parent=None, facts={"temperature": {"value": 2.0}})}


def test_each_part_makes_a_variant_that_tells_how(job: JobFolder) -> None:
    parts = [asked.StaticInt8(), asked.DynamicInt8(), asked.WeightsInt8(), asked.Fp16(), asked.Bf16()]
    variants = fp32(job)

    not_made = quantizing.quantize_files(job.work(a_spec(*parts)), some_arrays(), variants)

    assert not_made == {}
    assert list(variants) == ["fp32", "int8", "dynamic-int8", "weights-int8", "fp16", "bf16"]
    assert all(variant.path.exists() and variant.path.parent == job.folder for variant in variants.values())
    assert [variants[name].made_by for name in list(variants)[1:]] == [part.model_dump(mode="json") for part in parts]
    assert variants["int8"].facts["calibration_images"] == 16
    assert variants["weights-int8"].facts["size_only"]
    assert {variant.parent for name, variant in variants.items() if name != "fp32"} == {"fp32"}


def test_one_variant_that_can_not_be_made_costs_no_other(job: JobFolder) -> None:
    recorder, variants = Recorder(), fp32(job)
    spec = a_spec(asked.WeightsInt4(), asked.WeightsInt8())

    not_made = quantizing.quantize_files(job.work(spec, reporter=recorder), some_arrays(), variants)

    assert list(not_made) == ["weights-int4"]
    assert "block_size" in not_made["weights-int4"]
    assert list(variants) == ["fp32", "weights-int8"]
    assert any(line.startswith("weights-int4 is not made") for line in recorder.lines)
    assert not (job.folder / "weights-int4.onnx").exists()


def test_without_training_images_only_variants_that_need_none_are_made(job: JobFolder) -> None:
    variants = fp32(job)

    not_made = quantizing.quantize_files(
        job.work(a_spec(asked.StaticInt8(), asked.Fp16())), some_arrays(train=0), variants
    )

    assert "train split is empty" in not_made["int8"]
    assert list(variants) == ["fp32", "fp16"]


def test_nothing_is_made_of_a_stopped_variant_or_of_a_control(job: JobFolder) -> None:
    variants = fp32(job)
    for name, stopped in (("pruned", None), ("control", None), ("sparse", "lost too much")):
        variants[name] = Variant(a_file(job.folder / f"{name}.onnx"), parent="fp32", stopped=stopped)

    not_made = quantizing.quantize_files(job.work(a_spec(asked.WeightsInt8())), some_arrays(), variants)

    assert set(variants) == {"fp32", "pruned", "control", "sparse", "weights-int8", "pruned-weights-int8"}
    assert variants["pruned-weights-int8"].parent == "pruned"
    assert not_made == {"sparse-weights-int8": "sparse was stopped: lost too much"}


def test_what_was_to_be_made_of_a_variant_that_is_not_there_is_told(job: JobFolder) -> None:
    missing = {"pruned": "the net is too narrow", "control": "there is no pruned variant"}

    not_made = quantizing.quantize_files(
        job.work(a_spec(asked.WeightsInt8(), asked.Fp16())), some_arrays(), fp32(job), missing=missing
    )

    assert not_made == dict.fromkeys(
        ["pruned-weights-int8", "pruned-fp16"], "pruned was not made: the net is too narrow"
    )


def test_a_variant_says_of_its_source_only_what_is_true_of_itself(job: JobFolder) -> None:
    pruning = {"ratio": 0.5, "target_speedup": 2.0, "speedup": 2.1, "probes": [{"ratio": 0.5, "speedup": 2.1}]}
    facts = {"size_only": True, "recovery": {"epochs": 1}, "control": {"drop": 0.1}, "pruning": pruning}
    variants = fp32(job)
    variants["pruned"] = Variant(
        a_file(job.folder / "pruned.onnx"), parent="fp32", facts=variants["fp32"].facts | facts
    )

    quantizing.quantize_files(job.work(a_spec(asked.StaticInt8(), asked.WeightsInt8())), some_arrays(), variants)

    made = variants["pruned-int8"].facts
    assert not {"size_only", "recovery", "control"} & set(made)
    assert made["pruning"] == {"ratio": 0.5}
    assert made["temperature"] == {"value": 2.0}
    assert variants["pruned-weights-int8"].facts["size_only"]
    assert variants["pruned"].facts["pruning"] == pruning


def test_mixed_precision_is_judged_on_validation_images_against_fp32(job: JobFolder) -> None:
    variants = fp32(job)

    quantizing.quantize_files(job.work(a_spec(asked.MixedInt8(), max_accuracy_drop=1.0)), some_arrays(), variants)

    facts = variants["mixed-int8"].facts
    assert facts["gate_held"]
    assert list(facts["tried"]) == ["0"]
    assert facts["tried"]["0"] * 8 == pytest.approx(round(facts["tried"]["0"] * 8))  # a share of 8 images


def test_a_share_that_leaves_room_for_no_layer_in_float_is_told(
    job: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(quantizing_accuracy, "gate_of", lambda *_, **__: lambda *_: Judged(0.0, passes=False))
    spec = a_spec(asked.MixedInt8(max_float_share=0.1))

    quantizing.quantize_files(job.work(spec, reporter=recorder), some_arrays(), variants := fp32(job))

    assert variants["mixed-int8"].facts["float_layers_allowed"] == 0
    assert any("`max_float_share` 0.1 leaves room for no layer" in line for line in recorder.lines)


def test_progress_rises_to_the_end(job: JobFolder) -> None:
    recorder = Recorder()

    quantizing.quantize_files(
        job.work(a_spec(asked.StaticInt8(), asked.MixedInt8()), reporter=recorder), some_arrays(), fp32(job)
    )

    assert recorder.fractions == sorted(recorder.fractions)
    assert len(recorder.fractions) > 6
    assert recorder.fractions[-1] <= 1


def test_a_wish_to_stop_is_heeded_within_a_variant(job: JobFolder) -> None:
    recorder = Recorder(stop_after=3)

    with pytest.raises(Drained):
        quantizing.quantize_files(
            job.work(a_spec(asked.StaticInt8(), asked.MixedInt8()), reporter=recorder), some_arrays(), fp32(job)
        )

    assert not list(job.folder.glob("quantize-*"))


def test_a_spec_without_quantisation_makes_nothing(job: JobFolder) -> None:
    variants = fp32(job)

    assert quantizing.quantize_files(job.work(a_spec()), some_arrays(), variants) == {}

    assert list(variants) == ["fp32"]
    assert onnx.load(variants["fp32"].path).graph.node


def test_the_judge_of_mixed_precision_asks_what_the_gate_will_ask(tmp_path: Path) -> None:
    whole, other = a_file_of_brightness(tmp_path / "whole.onnx", 0.5), a_file_of_brightness(tmp_path / "b.onnx", 0.52)
    images_NHWC = some_images(2000, seed=3)
    one_N, other_N = (answers_of(path, images_NHWC) for path in (whole, other))
    alike, apart = np.flatnonzero(one_N == other_N), np.flatnonzero(one_N != other_N)

    def judged(*, images: int, lost: int, max_accuracy_drop: float) -> Judged:
        """Judge the other file, which loses so many of the images; fp32 is right in all."""
        rows = np.concatenate([apart[:lost], alike[: images - lost]])
        arrays = Examples({"images": images_NHWC[rows]}, one_N[rows], np.array(["val"] * images), CLASSES)
        judge = quantizing_accuracy.gate_of(
            ONE_CLASS,
            arrays,
            baseline=whole,
            max_accuracy_drop=max_accuracy_drop,
            alive=lambda: None,
        )
        return judge(other, lambda _: None)

    surely = judged(images=400, lost=0, max_accuracy_drop=0.02)
    perhaps = judged(images=400, lost=3, max_accuracy_drop=0.02)  # 0.0075, and up to 0.022
    of_few = judged(images=60, lost=1, max_accuracy_drop=0.02)

    assert (surely.accuracy, surely.passes) == (1.0, True)
    assert (perhaps.accuracy, perhaps.passes) == (pytest.approx(397 / 400), False)
    assert of_few.passes  # by the loss that was measured: so few images show nothing of any variant


def a_file_of_brightness(path: Path, threshold: float) -> Path:
    """Return a net that answers the second class where an image is brighter than the threshold, else the first."""
    graph = Graph()
    weights = graph.constant("classifier.head.weight", np.array([[0] * 3, [1] * 3, [0] * 3], np.float32))
    bias = graph.constant("classifier.head.bias", np.array([0, -3 * threshold, -9], np.float32))
    return graph.answering(graph.node("Gemm", [graph.pooled(graph.start), weights, bias], "head", transB=1), path)


def answers_of(path: Path, images_NHWC: np.ndarray) -> np.ndarray:
    session = open_session(path, device="cpu", threads=1)
    return session.run(["probabilities"], {"images": images_NHWC})[0].argmax(axis=1)
