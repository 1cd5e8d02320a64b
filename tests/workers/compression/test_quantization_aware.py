import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional

from benchmarks.sensitive import spread_channels
from models_store.spec.pruning import NM
from models_store.spec.quantization import QatInt8, StaticInt8
from models_store.tasks.image.spec import ResolvedImageSpec
from tests.samples import a_train_spec
from tests.workers.colour_nets import LABELS, SIZE, a_net, export_net, leaves
from tests.workers.job_folders import A_DATASET, JobFolder, data_of
from tests.workers.training_runs import Recorder, same_weights
from workers.compression import sparsity
from workers.compression.facts import Quantized
from workers.compression.fake_quantization import Simulated, rounding_of, simulate
from workers.compression.folding import fold_norms
from workers.compression.quantization import graphs
from workers.compression.quantization.calibration import CalibrationExamples
from workers.compression.quantization.failures import QuantizationImpossible
from workers.compression.quantization.static import quantize_static
from workers.export.sessions import open_session
from workers.process.progress import Drained
from workers.stages.quantize import Step, quantize, train_rounded
from workers.stages.variant import Variant, Variants
from workers.tasks.image.net import Classifier
from workers.training.examples import Examples
from workers.training.targets import Affine

DATA = leaves()
IMAGES = CalibrationExamples({"images": DATA.images_NHWC}, DATA.train)
EXAMPLE_BCHW = torch.zeros(2, 3, SIZE, SIZE)
ARRAYS = Examples(
    {"images": DATA.images_NHWC}, DATA.labels_N, np.array(["train"] * 60 + ["val"] * 36, dtype="<U5"), LABELS
)
PART = QatInt8(epochs=2, lr_scale=1.0, per_channel=False)
SMALL = {"widths": [8, 16], "dense_size": 32}


def a_spec(**changes: Any) -> ResolvedImageSpec:
    plain: dict[str, Any] = {
        "optimizer": {"kind": "adamw", "lr": 3e-3},
        "training": {"epochs": 2, "batch_size": 8, "precision": "fp32"},
    }
    return a_train_spec(**(plain | changes))


def learned(net: Classifier, *, steps: int = 12) -> Classifier:
    """Return the net after some steps on the colours."""
    optimizer = torch.optim.AdamW(net.train().parameters(), lr=3e-3)
    inputs = net.prepare({"images": torch.from_numpy(DATA.images_NHWC[DATA.train])}, None)
    labels = torch.from_numpy(DATA.labels_N[DATA.train])
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(net(inputs), labels).backward()
        optimizer.step()
    return net.eval()


def answers(path: Path) -> np.ndarray:
    return open_session(path, device="cpu", threads=1).run(["probabilities"], {"images": DATA.images_NHWC})[0]


def accuracy(path: Path) -> float:
    return float((answers(path).argmax(axis=1) == DATA.labels_N)[DATA.val].mean())


def made(
    job: JobFolder,
    net: Classifier,
    spec: ResolvedImageSpec,
    *,
    part: QatInt8 = PART,
    reporter: Recorder,
    **variant: Any,
) -> Quantized:
    """Make the variant as a job does; its file is the job's `qat-int8.onnx`."""
    path = job.folder / "qat-int8.onnx"
    source = Variant(job.folder / "fp32.onnx", parent=None, net=net, **variant)
    step = Step(job.work(spec, reporter=reporter), ARRAYS, source, source.path, path, lambda _: None, reporter)
    return train_rounded(part, step, IMAGES)


@pytest.fixture(scope="module")
def sensitive() -> Classifier:
    """A net that has learned the colours, its channels spread over many sizes."""
    return spread_channels(learned(a_net(**SMALL)), octaves=4)


@pytest.fixture(scope="module")
def job(sensitive: Classifier, tmp_path_factory: pytest.TempPathFactory) -> tuple[JobFolder, Recorder, dict]:
    """A job where the sensitive net's variant was made, what was told meanwhile, and the card's facts."""
    job, reporter = JobFolder(tmp_path_factory.mktemp("qat"), dataset=replace(A_DATASET, classes=LABELS)), Recorder()
    facts = made(job, sensitive, a_spec(), reporter=reporter)
    return job, reporter, facts


def test_training_wins_back_at_least_half_of_what_one_scale_per_tensor_loses(
    sensitive: Classifier, job: tuple[JobFolder, Recorder, dict], tmp_path: Path
) -> None:
    made_at, _, facts = job
    floats = export_net(sensitive, tmp_path / "fp32.onnx")
    quantize_static(floats, tmp_path / "int8.onnx", part=StaticInt8(per_channel=False), examples=IMAGES)

    exact, static, trained = (
        accuracy(path) for path in (floats, tmp_path / "int8.onnx", made_at.folder / "qat-int8.onnx")
    )

    assert exact - static > 0.2
    assert exact - trained <= (exact - static) / 2
    assert facts.as_card()["val_accuracy_before"] == pytest.approx(static)
    assert facts.as_card()["val_accuracy_after"] == pytest.approx(trained)


def test_the_file_has_the_ranges_that_training_left(job: tuple[JobFolder, Recorder, dict]) -> None:
    made_at, _, _ = job
    weights = made_at.work(a_spec()).checkpoints.load("qat-int8")["position"]["best"]["weights"]
    lowest, highest = (
        {name: float(value) for name, value in weights.items() if name.endswith(end)} for end in (".lowest", ".highest")
    )
    graph = onnx.load(made_at.folder / "qat-int8.onnx").graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}

    scales = {float(constants[node.input[1]]) for node in graph.node if node.op_type == "QuantizeLinear"}

    trained = sorted((highest[name.replace(".lowest", ".highest")] - lowest[name]) / 255 for name in lowest)
    assert sorted(scales) == pytest.approx(trained, rel=1e-4)


def test_what_is_told_and_written_is_of_one_whole_variant(job: tuple[JobFolder, Recorder, dict]) -> None:
    made_at, reporter, facts = job
    properties = {entry.key for entry in onnx.load(made_at.folder / "qat-int8.onnx").metadata_props}

    assert facts.as_card()["epochs"] == 2
    assert facts.as_card()["best_epoch"] in {1, 2}
    assert facts.as_card()["per_channel"] is False
    assert facts.as_card()["simulated"] == facts.as_card()["rounded"] > 0
    assert facts.as_card()["calibration_images"] == len(IMAGES)
    assert [row["qat_int8_epoch"] for row in reporter.rows] == [1, 2]
    assert reporter.fractions == sorted(reporter.fractions)
    assert properties == {"espalier.labels", "espalier.card"}
    assert list(made_at.folder.glob("*.onnx")) == [made_at.folder / "qat-int8.onnx"]


def test_a_training_that_spoils_the_file_leaves_its_start(sensitive: Classifier, tmp_path: Path) -> None:
    at, reporter = JobFolder(tmp_path, dataset=replace(A_DATASET, classes=LABELS)), Recorder()
    spec = a_spec(optimizer={"kind": "adamw", "lr": 0.5})

    facts = made(at, sensitive, spec, part=QatInt8(epochs=1, lr_scale=10.0), reporter=reporter)

    assert facts.as_card()["best_epoch"] == 0
    assert facts.as_card()["val_accuracy_after"] == facts.as_card()["val_accuracy_before"]
    assert facts.as_card()["val_accuracy_after"] == pytest.approx(accuracy(tmp_path / "qat-int8.onnx"))
    assert any("the earlier file is kept" in line for line in reporter.lines)


def test_a_resumed_training_ends_with_the_very_file_of_one_that_did_not_stop(
    sensitive: Classifier, job: tuple[JobFolder, Recorder, dict], tmp_path: Path
) -> None:
    again = JobFolder(tmp_path, dataset=replace(A_DATASET, classes=LABELS))

    with pytest.raises(Drained):
        made(again, sensitive, a_spec(), reporter=Recorder(stop_after=9))
    facts = made(again, sensitive, a_spec(), reporter=Recorder())

    assert facts == job[2]
    assert (tmp_path / "qat-int8.onnx").read_bytes() == (job[0].folder / "qat-int8.onnx").read_bytes()


def test_what_was_pruned_for_size_stays_zero_whatever_moves_the_weights_and_in_bf16(tmp_path: Path) -> None:
    parent = learned(a_net(**SMALL))
    part = NM(n=2, m=4)
    pruned = sparsity.settle(sparsity.hold(parent, sparsity.masks_of(parent, part)))
    spec = a_spec(optimizer={"kind": "muon"}, training={"epochs": 1, "batch_size": 16, "precision": "bf16"})
    at = JobFolder(tmp_path, dataset=replace(A_DATASET, classes=LABELS))

    made(
        at,
        pruned,
        spec,
        part=QatInt8(epochs=1, lr_scale=1.0),
        reporter=Recorder(),
        made_by=part.model_dump(mode="json"),
    )

    graph = onnx.load(tmp_path / "qat-int8.onnx").graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    dense = next(value for name, value in weights.items() if "dense.2.weight" in name and value.ndim == 2)
    groups = (dense if dense.shape[0] == 32 else dense.T).reshape(32, -1, 4)
    assert ((groups != 0).sum(axis=2) <= 2).all()
    assert (groups != 0).any()


NETS: list[Any] = [
    pytest.param("small_cnn", {"batch_norm": False, **SMALL}, 0.99, 0.8, id="no batch norm"),
    pytest.param("small_cnn", {"activation": "silu", "widths": [8, 16], "dense_size": None}, 0.99, 0.8, id="swish"),
    pytest.param("cifar_resnet18", {"width": 8}, 0.99, 0.8, id="residual", marks=pytest.mark.slow),
    # a value on the edge between two steps falls to either side, and fifty layers on it is another one; where 8 bits
    # change next to nothing, that is all the difference there is
    pytest.param("mobilenet_v2", {}, 0.97, 0.8, id="depthwise", marks=pytest.mark.slow),
    pytest.param("efficientnet_lite0", {}, 0.97, 1.1, id="padding of its own", marks=pytest.mark.slow),
]


def simulated(net: Classifier, path: Path, **options: Any) -> Simulated:
    """Write the static int8 file of a net to `path`, and return what simulates it."""
    folded = fold_norms(net, EXAMPLE_BCHW)
    floats = export_net(folded, path.with_suffix(".float.onnx"), **options)
    quantize_static(floats, path, part=StaticInt8(), examples=IMAGES, **options)
    with graphs.prepared(floats, beside=path) as prepared:
        rounding = rounding_of(onnx.load(path), onnx.load(prepared), per_channel=True)
    found = simulate(folded, EXAMPLE_BCHW, rounding, kept={})
    assert len(found.activations) == len(rounding.ranges)
    return found


def test_a_file_that_rounds_what_training_would_not_see_is_refused(tmp_path: Path) -> None:
    folded = fold_norms(a_net(**SMALL), EXAMPLE_BCHW)
    floats = export_net(folded, tmp_path / "fp32.onnx")
    quantize_static(floats, tmp_path / "int8.onnx", part=StaticInt8(), examples=IMAGES)
    with graphs.prepared(floats, beside=tmp_path / "int8.onnx") as prepared:
        rounding = rounding_of(onnx.load(tmp_path / "int8.onnx"), onnx.load(prepared), per_channel=True)
    told_apart = dict(list(rounding.ranges.items())[:-2])

    with pytest.raises(QuantizationImpossible, match=r"at least 90% are needed.*`mixed_int8`"):
        simulate(folded, EXAMPLE_BCHW, replace(rounding, ranges=told_apart), kept={})


def logits(net: nn.Module, classifier: Classifier) -> torch.Tensor:
    with torch.no_grad():
        return net.eval()(classifier.prepare({"images": torch.from_numpy(DATA.images_NHWC)}, None))


@pytest.mark.parametrize(("kind", "backbone", "agreement", "most"), NETS)
def test_the_simulation_answers_as_the_file_does(
    kind: str, backbone: dict[str, Any], agreement: float, most: float, tmp_path: Path
) -> None:
    net = learned(a_net(kind, **backbone))

    found = simulated(net, tmp_path / "int8.onnx")
    ours_NK = logits(found.net, net).softmax(dim=1).numpy()
    file_NK, exact_NK = answers(tmp_path / "int8.onnx"), logits(net, net).softmax(dim=1).numpy()

    assert (ours_NK.argmax(axis=1) == file_NK.argmax(axis=1)).mean() >= agreement
    assert np.abs(ours_NK - file_NK).mean() < most * np.abs(exact_NK - file_NK).mean()


def test_the_simulation_of_numbers_ends_in_float_as_their_file_does(tmp_path: Path) -> None:
    net = learned(a_net(**SMALL))
    net.head.add_module("unit", Affine(scale=30.0, shift=2000.0))

    found = simulated(net, tmp_path / "int8.onnx", activation="identity")

    ours_NK, file_NK = logits(found.net, net).numpy(), answers(tmp_path / "int8.onnx")
    assert np.abs(ours_NK - file_NK).max() < 0.02 * file_NK.std()
    assert len(np.unique(ours_NK)) > 256


def test_every_weight_of_the_simulation_trains_in_any_memory_format(tmp_path: Path) -> None:
    net = learned(a_net(**SMALL))
    found = simulated(net, tmp_path / "int8.onnx")
    inputs, labels = net.prepare({"images": torch.from_numpy(DATA.images_NHWC)}, None), torch.from_numpy(DATA.labels_N)

    students = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        student = copy.deepcopy(found.net).train().to(memory_format=memory_format)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            functional.cross_entropy(student(inputs.contiguous(memory_format=memory_format)), labels).backward()
        students.append(student)

    for student in students:
        assert all(weight.grad is not None and bool(weight.grad.any()) for weight in student.parameters())
    names = {name for name, _ in fold_norms(net, EXAMPLE_BCHW).named_parameters()}
    assert {name for name, _ in found.net.named_parameters()} == names


@pytest.mark.parametrize(
    ("kind", "backbone"),
    [
        ("small_cnn", SMALL),
        ("cifar_resnet18", {"width": 4}),
        pytest.param("efficientnet_lite0", {}, marks=pytest.mark.slow),
    ],
)
def test_folding_leaves_no_norm_and_the_same_answers_and_the_parent_as_it_was(
    kind: str, backbone: dict[str, Any]
) -> None:
    net = learned(a_net(kind, **backbone), steps=1)
    before = copy.deepcopy(net)

    folded = fold_norms(net, EXAMPLE_BCHW)

    assert not [module for module in folded.modules() if isinstance(module, nn.BatchNorm2d)]
    torch.testing.assert_close(logits(folded, net), logits(net, net), atol=1e-4, rtol=1e-3)
    assert same_weights(net, before)


class Attending(nn.Module):
    """A backbone of attention between the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(3 * SIZE, 2, batch_first=True)

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        rows_BHX = images_BCHW.permute(0, 2, 3, 1).flatten(2)
        return self.attention(rows_BHX, rows_BHX, rows_BHX, need_weights=False)[0].mean(dim=1)


def test_attention_is_refused_with_what_can_be_had_instead_and_fails_its_own_variant_alone(tmp_path: Path) -> None:
    net = Classifier(Attending(), nn.Linear(3 * SIZE, len(LABELS)), mean=(0.5,) * 3, std=(0.5,) * 3, size=SIZE)
    spec = a_spec(compression={"quantize": [{"kind": "qat_int8"}]})
    whole = Variants({"fp32": Variant(tmp_path / "fp32.onnx", parent=None, net=net.eval())})

    job = JobFolder(tmp_path, dataset=replace(A_DATASET, classes=LABELS))

    variants = quantize(job.work(spec), data_of(ARRAYS), whole)

    assert list(variants.made) == ["fp32"]
    assert "dynamic_int8" in variants.not_made["qat-int8"]
    assert "attention" in variants.not_made["qat-int8"]
    assert not list(tmp_path.glob("*.onnx"))


class Mixing(nn.Module):
    """A backbone whose linear layers run over each place of an image, as a ConvNeXt's."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.widen = nn.Linear(8, 8)

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        return self.widen(self.stem(images_BCHW).permute(0, 2, 3, 1)).relu().mean(dim=(1, 2))


def test_layers_that_are_not_simulated_are_named(tmp_path: Path) -> None:
    net = Classifier(Mixing(), nn.Linear(8, len(LABELS)), mean=(0.5,) * 3, std=(0.5,) * 3, size=SIZE).eval()

    with pytest.raises(QuantizationImpossible, match=r"1 linear layers? over more than two dimensions \('.*widen'\)"):
        simulated(net, tmp_path / "int8.onnx")


class Scaling(nn.Module):
    """A backbone with a factor behind a convolution, as a ConvNeXt's layer scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1)
        self.gamma = nn.Parameter(torch.full((8, 1, 1), 0.5))

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        stem_BCHW = self.stem(images_BCHW).relu()
        return (stem_BCHW + self.body(stem_BCHW) * self.gamma).mean(dim=(2, 3))


def test_layers_with_a_factor_in_their_weights_are_named(tmp_path: Path) -> None:
    net = Classifier(Scaling(), nn.Linear(8, len(LABELS)), mean=(0.5,) * 3, std=(0.5,) * 3, size=SIZE).eval()

    with pytest.raises(QuantizationImpossible, match=r"1 layers with a factor behind them .*\('backbone\.body'\)"):
        simulated(net, tmp_path / "int8.onnx")


def test_weights_that_are_no_numbers_are_refused() -> None:
    net = a_net(**SMALL)
    with torch.no_grad():
        net.head.classes.weight[0, 0] = torch.nan

    with pytest.raises(QuantizationImpossible, match="not finite"):
        fold_norms(net, EXAMPLE_BCHW)
