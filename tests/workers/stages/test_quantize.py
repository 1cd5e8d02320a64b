from pathlib import Path

import numpy as np
import onnx
import pytest

from models_store.spec import quantization as asked
from models_store.targets import ONE_CLASS
from models_store.tasks.image.spec import ResolvedImageSpec
from tests.samples import a_train_spec
from tests.workers.compression.tiny_graphs import Graph, some_images
from tests.workers.job_folders import JobFolder, data_of
from tests.workers.training_runs import Recorder
from workers.compression.facts import PruningFacts
from workers.compression.gate import Drop
from workers.compression.quantization import accuracy
from workers.compression.quantization.mixed import Judged
from workers.evaluation.calibration import Temperature
from workers.export.sessions import open_session
from workers.process.progress import Drained
from workers.stages.quantize import quantize
from workers.stages.variant import ChannelPruning, ControlComparison, Recovery, SpeedSearch, Variant, Variants
from workers.training.examples import Examples

CLASSES = ["blue", "green", "red"]
TEMPERATURE = Temperature(2.0, 0.5, 0.4)


def a_spec(*parts: asked.Quantization, max_accuracy_drop: float = 0.02) -> ResolvedImageSpec:
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


def fp32(job: JobFolder, **others: Variant) -> Variants:
    whole = Variant(a_file(job.folder / "fp32.onnx"), parent=None, temperature=TEMPERATURE)
    return Variants({"fp32": whole, **others})


def test_each_part_makes_a_variant_that_tells_how(job: JobFolder) -> None:
    parts = [asked.StaticInt8(), asked.DynamicInt8(), asked.WeightsInt8(), asked.Fp16(), asked.Bf16()]

    variants = quantize(job.work(a_spec(*parts)), data_of(some_arrays()), fp32(job))

    made = variants.made
    assert variants.not_made == {}
    assert list(made) == ["fp32", "int8", "dynamic-int8", "weights-int8", "fp16", "bf16"]
    assert all(variant.path.exists() and variant.path.parent == job.folder for variant in made.values())
    assert [made[name].made_by for name in list(made)[1:]] == [part.model_dump(mode="json") for part in parts]
    assert made["int8"].card("int8").as_document()["calibration_images"] == 16
    assert made["weights-int8"].card("weights-int8").as_document()["size_only"]
    assert {variant.parent for name, variant in made.items() if name != "fp32"} == {"fp32"}


def test_one_variant_that_can_not_be_made_costs_no_other(job: JobFolder) -> None:
    recorder = Recorder()
    spec = a_spec(asked.WeightsInt4(), asked.WeightsInt8())

    variants = quantize(job.work(spec, reporter=recorder), data_of(some_arrays()), fp32(job))

    assert list(variants.not_made) == ["weights-int4"]
    assert "block_size" in variants.not_made["weights-int4"]
    assert list(variants.made) == ["fp32", "weights-int8"]
    assert any(line.startswith("weights-int4 is not made") for line in recorder.lines)
    assert not (job.folder / "weights-int4.onnx").exists()


def test_without_training_images_only_variants_that_need_none_are_made(job: JobFolder) -> None:
    spec = a_spec(asked.StaticInt8(), asked.Fp16())

    variants = quantize(job.work(spec), data_of(some_arrays(train=0)), fp32(job))

    assert "train split is empty" in variants.not_made["int8"]
    assert list(variants.made) == ["fp32", "fp16"]


def test_nothing_is_made_of_a_stopped_variant_or_of_a_control(job: JobFolder) -> None:
    others = {
        name: Variant(a_file(job.folder / f"{name}.onnx"), parent="fp32", stopped=stopped)
        for name, stopped in (("pruned", None), ("control", None), ("sparse", "lost too much"))
    }

    variants = quantize(job.work(a_spec(asked.WeightsInt8())), data_of(some_arrays()), fp32(job, **others))

    assert set(variants.made) == {"fp32", "pruned", "control", "sparse", "weights-int8", "pruned-weights-int8"}
    assert variants.made["pruned-weights-int8"].parent == "pruned"
    assert variants.not_made == {"sparse-weights-int8": "sparse was stopped: lost too much"}


def test_what_was_to_be_made_of_a_variant_that_is_not_there_is_told(job: JobFolder) -> None:
    missing = {"pruned": "the net is too narrow", "control": "there is no pruned variant"}
    spec = a_spec(asked.WeightsInt8(), asked.Fp16())

    variants = quantize(job.work(spec), data_of(some_arrays()), fp32(job).without(missing))

    assert variants.not_made == missing | dict.fromkeys(
        ["pruned-weights-int8", "pruned-fp16"], "pruned was not made: the net is too narrow"
    )


def test_a_variant_says_of_its_source_only_what_is_true_of_itself(job: JobFolder) -> None:
    effect = PruningFacts(8, 4, 6, 3, 4, 2)
    search = SpeedSearch(target_speedup=2.0, speedup=2.1, probes=[{"ratio": 0.5, "speedup": 2.1}])
    pruned = Variant(
        a_file(job.folder / "pruned.onnx"),
        parent="fp32",
        temperature=TEMPERATURE,
        pruning=ChannelPruning(effect, steps=1, ratio=0.5, search=search),
        recovery=Recovery(1, 0.5, 0.6),
        control=ControlComparison(control=0.7, pruned=0.6, drop=Drop(0.1, 0.0, 0.2)),
    )
    spec = a_spec(asked.StaticInt8(), asked.WeightsInt8())

    variants = quantize(job.work(spec), data_of(some_arrays()), fp32(job, pruned=pruned))

    card = variants.made["pruned-int8"].card("pruned-int8").as_document()
    assert not {"recovery", "control"} & set(card)
    assert card["size_only"] is False
    assert card["pruning"] == effect.as_card() | {"steps": 1, "ratio": 0.5}
    assert card["temperature"] == TEMPERATURE.as_card()
    assert variants.made["pruned-weights-int8"].size_only
    assert variants.made["pruned"] == pruned


def test_mixed_precision_is_judged_on_validation_images_against_fp32(job: JobFolder) -> None:
    spec = a_spec(asked.MixedInt8(), max_accuracy_drop=1.0)

    variants = quantize(job.work(spec), data_of(some_arrays()), fp32(job))

    card = variants.made["mixed-int8"].card("mixed-int8").as_document()
    assert card["gate_held"]
    assert list(card["tried"]) == ["0"]
    assert card["tried"]["0"] * 8 == pytest.approx(round(card["tried"]["0"] * 8))  # a share of 8 images


def test_a_share_that_leaves_room_for_no_layer_in_float_is_told(
    job: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(accuracy, "gate_of", lambda *_, **__: lambda *_: Judged(0.0, passes=False))
    spec = a_spec(asked.MixedInt8(max_float_share=0.1))

    variants = quantize(job.work(spec, reporter=recorder), data_of(some_arrays()), fp32(job))

    assert variants.made["mixed-int8"].card("mixed-int8").as_document()["float_layers_allowed"] == 0
    assert any("`max_float_share` 0.1 leaves room for no layer" in line for line in recorder.lines)


def test_progress_rises_to_the_end(job: JobFolder) -> None:
    recorder = Recorder()
    spec = a_spec(asked.StaticInt8(), asked.MixedInt8())

    quantize(job.work(spec, reporter=recorder), data_of(some_arrays()), fp32(job))

    assert recorder.fractions == sorted(recorder.fractions)
    assert len(recorder.fractions) > 6
    assert recorder.fractions[-1] <= 1


def test_a_wish_to_stop_is_heeded_within_a_variant(job: JobFolder) -> None:
    work = job.work(a_spec(asked.StaticInt8(), asked.MixedInt8()), reporter=Recorder(stop_after=3))

    with pytest.raises(Drained):
        quantize(work, data_of(some_arrays()), fp32(job))

    assert not list(job.folder.glob("quantize-*"))


def test_a_spec_without_quantisation_makes_nothing(job: JobFolder) -> None:
    variants = quantize(job.work(a_spec()), data_of(some_arrays()), fp32(job))

    assert (list(variants.made), variants.not_made) == (["fp32"], {})
    assert onnx.load(variants.baseline.path).graph.node


def test_the_judge_of_mixed_precision_asks_what_the_gate_will_ask(tmp_path: Path) -> None:
    whole, other = a_file_of_brightness(tmp_path / "whole.onnx", 0.5), a_file_of_brightness(tmp_path / "b.onnx", 0.52)
    images_NHWC = some_images(2000, seed=3)
    one_N, other_N = (answers_of(path, images_NHWC) for path in (whole, other))
    alike, apart = np.flatnonzero(one_N == other_N), np.flatnonzero(one_N != other_N)

    def judged(*, images: int, lost: int, max_accuracy_drop: float) -> Judged:
        """Judge the other file, which loses so many of the images; fp32 is right in all."""
        rows = np.concatenate([apart[:lost], alike[: images - lost]])
        arrays = Examples({"images": images_NHWC[rows]}, one_N[rows], np.array(["val"] * images), CLASSES)
        judge = accuracy.gate_of(
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
