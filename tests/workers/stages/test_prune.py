"""The stage between training and export: cuts, rounds of recovery, the gate on the way, the control, being taken up."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch

from models_store.settings import Settings
from models_store.tasks.image.spec import ResolvedImageSpec
from tests.samples import a_train_spec
from tests.workers.job_folders import JobFolder, data_of
from tests.workers.training_runs import a_classifier, run, same_weights, some_arrays
from workers.export.served import Served
from workers.process import reporting
from workers.process.progress import Drained
from workers.stages import prune_rounds
from workers.stages.prune import prune
from workers.stages.variant import Variant
from workers.tasks.image.net import Classifier
from workers.training.examples import Inputs
from workers.training.loop import Trained

NET = {"kind": "small_cnn", "widths": [16, 32], "dense_size": None}
CUT = {"kind": "structured", "ratio": 0.5, "round_to": 4}


class PruningFolder(JobFolder):
    """A job's folder, in which its net is pruned."""

    not_made: Mapping[str, str] = MappingProxyType({})
    asked = 0

    def prune(self, spec: ResolvedImageSpec, net: Classifier, *, stop_after: int = 0) -> dict[str, Variant]:
        trained = Trained(net, [], best_epoch=1, precision="fp32", resumed_from=None, batch_size=16)
        with self.reporter(stop_after=stop_after) as reporter:
            try:
                variants = prune(self.work(spec, reporter=reporter), data_of(some_arrays()), trained)
            finally:
                self.asked = reporter.asked
        self.not_made = variants.not_made
        return dict(variants.made)


@pytest.fixture
def job(tmp_path: Path, settings: Settings) -> Callable[[str], PruningFolder]:
    """Return what makes a job's empty folder."""

    def made(name: str) -> PruningFolder:
        folder = tmp_path / name
        folder.mkdir()
        return PruningFolder(folder, settings=settings.model_copy(update={"checkpoint_s": 1e9}))

    return made


def a_spec(prune: Mapping[str, Any] = CUT, **compression: Any) -> ResolvedImageSpec:
    part = {"prune": prune, "recover": {"epochs": 2}, "quantize": [], "max_accuracy_drop": 1.0} | compression
    return a_train_spec(backbone=NET, compression=part, training={"epochs": 2, "batch_size": 16, "precision": "fp32"})


def with_rate(spec: ResolvedImageSpec, lr: float) -> ResolvedImageSpec:
    return spec.model_copy(update={"optimizer": spec.optimizer.model_copy(update={"lr": lr})})


@pytest.fixture(scope="module")
def learned() -> Callable[[], Classifier]:
    """Return what makes a net that tells bright from dark; each call gives one of its own."""
    spec = a_train_spec(backbone=NET, training={"epochs": 6, "batch_size": 8, "precision": "fp32"})
    state = run(spec, some_arrays()).learner.state_dict()

    def made() -> Classifier:
        net = a_classifier(spec)
        net.load_state_dict(state)
        return net

    return made


def facts_of(variant: Variant) -> dict[str, Any]:
    """Return what the variant's card will say of its pruning, its recovery and its control."""
    parts = {"pruning": variant.pruning, "recovery": variant.recovery, "control": variant.control}
    return {name: part.as_card() for name, part in parts.items() if part is not None}


def widths(net: torch.nn.Module | None) -> dict[str, int]:
    assert net is not None
    return {
        name: layer.weight.shape[0]
        for name, layer in net.named_modules()
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)
    }


def test_a_pruned_variant_is_smaller_has_recovered_and_says_what_was_done(
    job: Callable[[str], PruningFolder], learned: Callable[[], Classifier]
) -> None:
    folder, parent = job("one"), learned()

    variants = folder.prune(a_spec(), parent)

    pruned = variants["pruned"]
    assert list(variants) == ["fp32", "pruned"]
    assert pruned.parent == "fp32"
    assert pruned.made_by is not None
    assert pruned.made_by["ratio"] == 0.5
    assert widths(pruned.net) == {"backbone.stage1.0": 8, "backbone.stage2.0": 16, "head.classes": 2}
    assert facts_of(pruned)["pruning"]["ratio"] == 0.5
    assert facts_of(pruned)["pruning"]["macs_after"] < facts_of(pruned)["pruning"]["macs_before"]
    assert facts_of(pruned)["recovery"]["epochs"] == 2
    assert facts_of(pruned)["recovery"]["val_accuracy_after"] >= facts_of(pruned)["recovery"]["val_accuracy_before"]
    assert same_weights(parent, learned())
    assert [row["recovery_epoch"] for row in folder.reported("metrics")] == [1, 2]


def test_without_a_recovery_the_cut_net_stays_as_it_is(
    job: Callable[[str], PruningFolder], learned: Callable[[], Classifier]
) -> None:
    folder = job("one")

    pruned = folder.prune(a_spec(recover=None), learned())["pruned"]

    assert facts_of(pruned)["recovery"]["epochs"] == 0
    assert folder.reported("metrics") == []


@pytest.mark.parametrize("scope", ["uniform", "global"])
@pytest.mark.parametrize("importance", ["l1", "taylor", "bn_scale", "random"])
def test_every_measure_and_scope_goes_through_the_stage(
    job: Callable[[str], PruningFolder], learned: Callable[[], Classifier], importance: str, scope: str
) -> None:
    part = CUT | {"importance": importance, "scope": scope}

    pruned = job("one").prune(a_spec(part, recover=None), learned())["pruned"]

    assert 16 <= sum(width for name, width in widths(pruned.net).items() if name != "head.classes") <= 28
    assert facts_of(pruned)["pruning"]["ratio"] == pytest.approx(0.5, abs=0.1)


def test_rounds_share_the_epochs_and_end_at_the_ratio_of_the_whole_net(
    job: Callable[[str], PruningFolder], learned: Callable[[], Classifier]
) -> None:
    folder = job("one")

    pruned = folder.prune(a_spec(CUT | {"steps": 2}, recover={"epochs": 3}), learned())["pruned"]

    assert widths(pruned.net) == {"backbone.stage1.0": 8, "backbone.stage2.0": 16, "head.classes": 2}
    assert [row["recovery_epoch"] for row in folder.reported("metrics")] == [1, 1, 2]
    assert facts_of(pruned)["pruning"]["steps"] == 2


@pytest.mark.parametrize("lr", [0.001, 1.0], ids=["the best epoch is kept", "the start is kept"])
@pytest.mark.parametrize("stop_after", [2, 3, 6, 8])
def test_a_stage_that_was_left_ends_as_one_that_was_not(
    job: Callable[[str], PruningFolder], learned: Callable[[], Classifier], stop_after: int, lr: float
) -> None:
    spec = with_rate(a_spec(CUT | {"steps": 2}, recover={"epochs": 2, "lr_scale": 1.0}, control=True), lr)

    whole = job("whole").prune(spec, learned())
    resumed = job("resumed")
    with pytest.raises(Drained):
        resumed.prune(spec, learned(), stop_after=stop_after)
    again = resumed.prune(spec, learned())

    for name in ("pruned", "control"):
        left, right = whole[name], again[name]
        assert left.net is not None
        assert right.net is not None
        assert same_weights(left.net, right.net)
        assert facts_of(left) == facts_of(right)


def test_a_cut_tells_that_it_is_alive_before_and_after_each_of_its_long_steps(
    job: Callable[[str], PruningFolder], learned: Callable[[], Classifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, told = job("one"), []
    monkeypatch.setattr(reporting, "LEAST_S", 0.0)

    def noted(step: Callable[..., Any]) -> Callable[..., Any]:
        def perform(*given: Any, **options: Any) -> Any:
            told.append((folder.folder / "reports").read_text().count("phase_fraction"))
            return step(*given, **options)

        return perform

    for name in ("study", "remove", "compare"):
        monkeypatch.setattr(prune_rounds, name, noted(getattr(prune_rounds, name)))

    folder.prune(a_spec(CUT | {"steps": 2}, recover=None), learned())

    fractions = [line["phase_fraction"] for line in folder.reported("progress")]
    assert len(told) == 6  # the goal's study, two rounds of study and cut, and the comparison
    assert told[0] >= 1
    assert all(later - earlier >= 2 for earlier, later in pairwise(told))
    assert fractions == sorted(fractions)


def test_what_validates_better_than_every_epoch_is_kept(
    job: Callable[[str], PruningFolder], learned: Callable[[], Classifier]
) -> None:
    folder = job("one")
    spec = with_rate(a_spec(CUT | {"ratio": 0.2}, recover={"epochs": 1, "lr_scale": 10.0}), 1.0)

    pruned = folder.prune(spec, learned())["pruned"]

    recovery = facts_of(pruned)["recovery"]
    assert recovery["val_accuracy_after"] == recovery["val_accuracy_before"] > 0.9
    assert any("the start is kept" in line["text"] for line in folder.reported("log"))


def test_the_unpruned_parent_teaches_and_stays_as_it_was(
    job: Callable[[str], PruningFolder], learned: Callable[[], Classifier]
) -> None:
    lessons = {"temperature": 2.0, "weight": 1.0, "features_weight": 1.0}
    parent = learned().requires_grad_(requires_grad=True)

    alone = job("alone").prune(a_spec(), learned())["pruned"]
    taught = job("taught").prune(a_spec(recover={"epochs": 2, "distillation": lessons}), parent)["pruned"]

    assert alone.net is not None
    assert taught.net is not None
    assert not same_weights(alone.net, taught.net)
    assert same_weights(parent, learned())
    assert all(weight.requires_grad for weight in parent.parameters())


def test_a_control_trains_as_the_pruned_net_recovers_and_both_say_how_they_compare(
    job: Callable[[str], PruningFolder], learned: Callable[[], Classifier]
) -> None:
    folder, parent = job("one"), learned()

    variants = folder.prune(a_spec(CUT | {"steps": 2}, control=True), parent)

    control = variants["control"]
    assert list(variants) == ["fp32", "pruned", "control"]
    assert control.parent == "fp32"
    assert control.net is not None
    assert widths(control.net) == widths(parent)
    assert not same_weights(control.net, parent)
    assert facts_of(control)["recovery"]["epochs"] == 2
    assert [row["control_epoch"] for row in folder.reported("metrics") if "control_epoch" in row] == [1, 1]
    told = facts_of(variants["pruned"])["control"]
    assert told == facts_of(control)["control"]
    assert told["drop"] == pytest.approx(told["val_accuracy"]["control"] - told["val_accuracy"]["pruned"])
    assert told["drop_interval"][0] <= told["drop"] <= told["drop_interval"][1]


def test_a_variant_that_lost_too_much_is_stopped_with_the_figures(
    job: Callable[[str], PruningFolder], learned: Callable[[], Classifier]
) -> None:
    part = {"kind": "structured", "ratio": 0.9, "round_to": 1, "importance": "random"}

    pruned = job("one").prune(a_spec(part, recover=None, max_accuracy_drop=0.01), learned())["pruned"]

    assert pruned.stopped is not None
    assert pruned.stopped.startswith("without a recovery the pruned net loses ")
    assert "95 % interval" in pruned.stopped
    assert "at most 0.01 is allowed" in pruned.stopped


@pytest.mark.parametrize("kind", [{"kind": "unstructured_l1", "ratio": 0.8}, {"kind": "n_m", "n": 1, "m": 4}])
def test_single_weights_stay_away_through_the_recovery(
    job: Callable[[str], PruningFolder], learned: Callable[[], Classifier], kind: dict[str, Any]
) -> None:
    pruned = job("one").prune(a_spec(kind), learned())["pruned"]

    assert pruned.net is not None
    weights = [layer.weight for layer in pruned.net.modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)]
    assert sum(int((weight == 0).sum()) for weight in weights) == facts_of(pruned)["pruning"]["zeros"]
    assert pruned.size_only is True
    assert facts_of(pruned)["recovery"]["epochs"] == 2


@pytest.mark.parametrize(
    "part", [CUT, {"kind": "unstructured_l1"}, {"kind": "n_m"}], ids=["structured", "unstructured", "n:m"]
)
def test_a_net_with_weights_that_are_not_finite_is_told_and_the_job_goes_on(
    job: Callable[[str], PruningFolder], learned: Callable[[], Classifier], part: dict[str, Any]
) -> None:
    folder, parent = job("one"), learned()
    with torch.no_grad():
        next(parent.parameters())[0] = torch.nan

    variants = folder.prune(a_spec(part, control=True), parent)

    assert list(variants) == ["fp32"]
    assert "not finite" in folder.not_made["pruned"]
    assert "no pruned variant" in folder.not_made["control"]


def test_a_net_too_narrow_to_be_cut_is_told_and_the_job_goes_on(
    job: Callable[[str], PruningFolder], learned: Callable[[], Classifier]
) -> None:
    folder = job("one")

    variants = folder.prune(a_spec(CUT | {"round_to": 64}), learned())

    assert list(variants) == ["fp32"]
    assert "round_to" in folder.not_made["pruned"]


# ---- to a speedup


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let a net be as fast as it is small, without the minutes of exports and timing; return what notes each timing."""
    asked: list[str] = []

    def weigh(served: Served, *, path: Path, **_: object) -> None:
        path.write_bytes(bytes(sum(weight.numel() for weight in served.module.parameters())))

    def compare(
        variants: Mapping[str, Path], *, baseline: str, sample: Inputs, budget_s: float, report: Callable[[], None]
    ) -> dict[str, float]:
        assert budget_s > 0
        assert len(sample["images"]) == 1
        report()
        asked.append("timed")
        return {name: variants[baseline].stat().st_size / path.stat().st_size for name, path in variants.items()}

    monkeypatch.setattr(prune_rounds, "export", weigh)
    monkeypatch.setattr(prune_rounds, "speedups", compare)
    return asked


@pytest.mark.usefixtures("clock")
def test_a_speedup_is_reached_in_rounds_and_the_card_tells_every_measurement(
    job: Callable[[str], PruningFolder], learned: Callable[[], Classifier]
) -> None:
    part = {"kind": "structured", "target_speedup": 1.5, "round_to": 1, "steps": 2}

    pruned = job("one").prune(a_spec(part), learned())["pruned"]

    facts = facts_of(pruned)["pruning"]
    assert facts["target_speedup"] == 1.5
    assert facts["speedup"] == pytest.approx(1.5, rel=0.1)
    assert facts["parameters_before"] / facts["parameters_after"] == pytest.approx(facts["speedup"])
    told = {round(probe["ratio"], 6): probe["speedup"] for probe in facts["probes"]}
    assert told[round(facts["ratio"], 6)] == facts["speedup"]


@pytest.mark.usefixtures("clock")
def test_a_speedup_out_of_reach_is_answered_with_the_best_there_is(
    job: Callable[[str], PruningFolder], learned: Callable[[], Classifier]
) -> None:
    folder, parent = job("one"), learned()

    variants = folder.prune(a_spec({"kind": "structured", "target_speedup": 50.0, "round_to": 4}), parent)

    assert list(variants) == ["fp32"]
    assert "out of reach" in folder.not_made["pruned"]
    assert "times as fast, which is the maximum" in folder.not_made["pruned"]
    assert same_weights(parent, learned())


@pytest.mark.usefixtures("clock")
def test_a_speedup_between_two_widths_is_answered_with_both(
    job: Callable[[str], PruningFolder], learned: Callable[[], Classifier]
) -> None:
    folder = job("one")

    folder.prune(a_spec({"kind": "structured", "target_speedup": 1.4, "round_to": 16}), learned())

    assert "the nearest speedups are 1.00 (without 0.0% of its channels) and 1.8" in folder.not_made["pruned"]
    assert "or lower `round_to`" in folder.not_made["pruned"]


def test_a_later_attempt_does_not_search_again(
    job: Callable[[str], PruningFolder], learned: Callable[[], Classifier], clock: list[str]
) -> None:
    spec = a_spec({"kind": "structured", "target_speedup": 1.5, "round_to": 1})
    whole, folder = job("whole"), job("one")
    whole.prune(spec, learned())
    clock.clear()
    with pytest.raises(Drained):
        folder.prune(spec, learned(), stop_after=whole.asked)  # in the recovery's last step
    timed = len(clock)

    folder.prune(spec, learned())

    assert len(clock) == timed > 0


def test_a_search_that_was_left_takes_up_its_measurements(
    job: Callable[[str], PruningFolder], learned: Callable[[], Classifier], clock: list[str]
) -> None:
    spec = a_spec({"kind": "structured", "target_speedup": 3.0, "round_to": 1}, recover=None)
    whole, folder = job("whole"), job("one")
    facts = facts_of(whole.prune(spec, learned())["pruned"])
    timed = len(clock)
    clock.clear()
    with pytest.raises(Drained):
        folder.prune(spec, learned(), stop_after=whole.asked)

    resumed = facts_of(folder.prune(spec, learned())["pruned"])

    assert resumed == facts
    assert len(clock) == timed + 2  # of the last three timings two had been taken, and are taken again


@pytest.mark.slow
def test_a_net_is_cut_to_a_speedup_that_onnxruntime_measures(
    job: Callable[[str], PruningFolder], learned: Callable[[], Classifier]
) -> None:
    folder = job("one")

    variants = folder.prune(
        a_spec({"kind": "structured", "target_speedup": 1.2, "round_to": 1}, recover=None), learned()
    )

    if "pruned" in variants:
        assert facts_of(variants["pruned"])["pruning"]["speedup"] == pytest.approx(1.2, rel=0.1)
    else:
        assert "`target_speedup` 1.2" in folder.not_made["pruned"]
    assert any("times as fast" in line["text"] for line in folder.reported("log"))
