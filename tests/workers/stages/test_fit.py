"""A training's plan, fitted to its budget by measured steps: what is taken, kept, reported and taken up again."""

import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models_store.datasets.store import ManifestEntry
from models_store.spec.ladder import rungs
from models_store.tasks.image.contract import IMAGE as CONTRACT
from models_store.tasks.image.facts import ImageFacts
from models_store.tasks.image.spec import ImageSpec, ResolvedImageSpec
from tests.samples import DATASET_ID
from tests.workers.job_folders import JobFolder
from tests.workers.training_runs import CLASSES, CPU, Recorder, ticking
from workers.process.assignment import TrainedNet
from workers.stages.context import Work
from workers.stages.fit import choose, fit
from workers.tasks.image import net as task
from workers.tasks.image.noise import noise
from workers.tasks.image.task import IMAGE
from workers.training.costs import CALLS, LIMIT_S, Costs, Counts, Estimate

PHOTOGRAPHS = ImageFacts(3_000, {"ant": 1_500, "bee": 1_500}, median_side=200)
TARGETS: dict[str, Any] = {
    "image_classification": "class",
    "multilabel_classification": "labels",
    "image_regression": "number",
}
PROMOTED = TrainedNet("1" * 64, [], best_epoch=1, precision="fp32", batch_size=8)
MANY = 300_000
"""images that no host goes through in half a second"""


class Host:
    """A host on which a step of a net costs so many seconds an image, and an answer a third of that."""

    def __init__(self, step_s: float, *, images: int = 3_000) -> None:
        self.step_s, self.images = step_s, images

    def of(self, spec: ResolvedImageSpec) -> Estimate:
        assert spec.input.size is not None
        pixels = (spec.input.size / 260) ** 2
        answers_s = self.images * self.step_s / 3 * pixels
        if spec.backbone.freeze == "backbone":
            return Estimate(answers_s, 0.1)
        deeper = 0.7 if spec.backbone.freeze == "until:stage5" else 1.0
        return Estimate(answers_s, self.images * self.step_s * pixels * deeper)


class Told(Recorder):
    """A reporter that also remembers what its supervisor is told."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.expected: dict[str, float] = {}

    def say(self, kind: str, data: dict[str, Any]) -> None:
        self.said.append((kind, data))

    def expect(self, phase: str, seconds: float) -> None:
        self.expected[phase] = seconds


def resolved(facts: ImageFacts = PHOTOGRAPHS, **asked: Any) -> ResolvedImageSpec:
    return CONTRACT.resolve(ImageSpec.model_validate({"name": "leaves", "dataset": DATASET_ID} | asked), facts)[0]


def plan_of(step_s: float, **asked: Any) -> tuple[int | None, str | None, int]:
    spec = resolved(**asked)
    costs: Any = Host(step_s)
    chosen = choose(rungs(spec, PHOTOGRAPHS), costs, facts=PHOTOGRAPHS, budget_s=600).spec
    return chosen.input.size, chosen.backbone.freeze, chosen.training.epochs


@pytest.mark.parametrize(
    ("step_s", "plan"),
    [
        (0.01, (260, "until:stage3", 5)),
        (0.045, (260, "until:stage3", 4)),
        (0.06, (260, "until:stage5", 4)),
        (0.09, (192, "until:stage5", 5)),
        (0.3, (260, "backbone", 50)),
        (1.0, (192, "backbone", 50)),
        (1.8, (128, "backbone", 50)),
        (99.0, (128, "backbone", 10)),
    ],
)
def test_the_slower_the_host_the_cheaper_the_plan(step_s: float, plan: tuple[int, str, int]) -> None:
    assert plan_of(step_s) == plan


def test_epochs_that_were_set_are_trained_on_the_slowest_host() -> None:
    assert plan_of(99.0, training={"epochs": 7})[2] == 7


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    return JobFolder(tmp_path)


def a_small_spec(**training: Any) -> ResolvedImageSpec:
    backbone = {"kind": "small_cnn", "widths": [4, 6], "dense_size": None}
    facts = ImageFacts(100, {"blue": 50, "red": 50}, median_side=32)
    return resolved(facts, backbone=backbone, training={"precision": "fp32"} | training)


def entries(*, train: int, val: int = 10) -> list[ManifestEntry]:
    """Return a manifest of as many images as wanted, all alike."""
    entry = ManifestEntry("blue/1.png", "1.png", "blue", "train", "1" * 64)
    return [entry] * train + [replace(entry, split="val")] * val


def fitted(
    job: JobFolder, spec: ResolvedImageSpec, *, train: int = 100, reporter: Told | None = None, **assigned: Any
) -> Work:
    """Return the work after its plan was fitted, for so many training images."""
    work = job.work(spec, reporter=reporter or Told())
    counts = {"blue": train // 2, "red": train // 2}
    facts = ImageFacts(train, counts, target=TARGETS[spec.task], median_side=32)
    work = replace(work, assignment=replace(work.assignment, facts=asdict(facts), **assigned))
    return fit(work, entries(train=train))


def test_on_a_host_that_is_quick_enough_the_recipes_plan_stays(job: JobFolder) -> None:
    spec, told = a_small_spec(budget_minutes=1_000), Told()

    work = fitted(job, spec, reporter=told)

    decided = spec.training.model_copy(update={"fit_to_budget": []})
    assert work.spec == spec.model_copy(update={"training": decided})
    assert [kind for kind, _ in told.said] == ["plan"]
    assert "within its budget" in told.lines[0]
    assert re.match(r"a step takes [\d.]+ ms per image here and an answer [\d.]+ ms: ", told.lines[0])
    assert told.expected["training"] > 0


def test_on_a_host_that_is_too_slow_epochs_are_left_out_and_the_card_says_why(job: JobFolder) -> None:
    spec, told = a_small_spec(budget_minutes=0.01, batch_size=1), Told()

    work = fitted(job, spec, train=MANY, reporter=told)

    assert work.plan is not None
    assert work.spec.training.epochs < spec.training.epochs
    assert work.plan.card["planned"]["training.epochs"] == spec.training.epochs
    assert work.plan.card["fitted"]["training.epochs"] == work.spec.training.epochs
    assert work.plan.card["step_ms_per_image"] > 0
    assert work.plan.card["estimated_s"] < work.plan.card["planned_s"]
    assert "`training.budget_minutes` is 0.01" in told.lines[0]


def test_what_the_supervisor_is_told_is_the_spec_that_is_trained(job: JobFolder) -> None:
    told = Told()

    work = fitted(job, a_small_spec(budget_minutes=0.01, batch_size=1), train=MANY, reporter=told)

    (kind, data), *_ = told.said
    assert kind == "plan"
    assert ResolvedImageSpec.model_validate(data["spec"]) == work.spec
    assert work.assignment.spec == data["spec"]
    assert work.assignment.spec_sha256 != "5" * 64
    assert work.spec.training.fit_to_budget == []


def test_with_everything_set_the_budget_only_warns(job: JobFolder) -> None:
    spec, told = a_small_spec(budget_minutes=0.01, epochs=3), Told()

    work = fitted(job, spec, train=MANY, reporter=told)

    assert work.spec == spec
    assert told.said == []
    assert "the spec leaves nothing to change" in told.lines[0]


def test_without_a_budget_nothing_is_measured(job: JobFolder) -> None:
    spec, told = a_small_spec(budget_minutes=None), Told()

    work = fitted(job, spec, train=MANY, reporter=told)

    assert (work.spec, work.plan, told.lines, told.said) == (spec, None, [], [])


def test_a_resumed_attempt_keeps_the_plan_whatever_its_host_can_do(job: JobFolder) -> None:
    spec = a_small_spec(budget_minutes=0.01, batch_size=1)
    first, told = fitted(job, spec, train=MANY), Told()

    again = fitted(job, spec, train=20, reporter=told)  # few images: a host on which the whole recipe would fit

    assert again.spec == first.spec != spec
    assert again.plan == first.plan
    assert told.lines == []


def test_a_child_by_its_siblings_plan_is_not_measured_again(job: JobFolder) -> None:
    spec, told = a_small_spec(budget_minutes=0.01, fit_to_budget=[]), Told()

    work = fitted(job, spec, train=MANY, reporter=told, kind="trial")

    assert (work.spec, told.lines) == (spec, [])


@pytest.mark.parametrize("given", [{"kind": "compress"}, {"kind": "measure"}, {"promoted": PROMOTED}])
def test_what_is_not_trained_is_not_fitted(job: JobFolder, given: dict[str, Any]) -> None:
    spec = a_small_spec(budget_minutes=0.01)

    assert fitted(job, spec, train=MANY, **given).spec == spec


@pytest.mark.parametrize(
    "asked",
    [
        {"task": "multilabel_classification"},
        {"task": "image_regression"},
        {"regularizers": [{"kind": "sam"}]},
        {"regularizers": [{"kind": "swa"}]},
        {"augmentation": [{"kind": "mixup"}, {"kind": "random_flip"}]},
        {"optimizer": {"kind": "schedule_free_adamw"}},
        {"training": {"batch_size": "full"}},
        {"training": {"batch_size": "auto"}},
        {"training": {"batch_size": 8, "accumulate_steps": 4, "sampling": "balanced"}},
        {"input": {"size": 20, "channels": 1}},
    ],
)
def test_every_way_of_learning_is_measured(job: JobFolder, asked: dict[str, Any]) -> None:
    target = TARGETS[asked.get("task", "image_classification")]
    facts = ImageFacts(100, {"blue": 50, "red": 50}, target=target, median_side=32)
    spec = resolved(facts, **{"backbone": {"kind": "small_cnn", "widths": [4, 6], "dense_size": None}} | asked)

    work = fitted(job, spec)

    assert work.plan is not None
    assert work.plan.epoch_s > 0


def some_costs(clock: Callable[[], float], *, count: int = 1_000) -> Costs:
    spec = a_small_spec()
    net = task.build(spec, class_count=len(CLASSES), weights_dir=Path("unused"))
    examples = noise(spec, classes=CLASSES, count=count)
    return Costs(net, examples, spec=spec, counts=Counts(count, 100), work_of=IMAGE.work, device=CPU, clock=clock)


@pytest.mark.parametrize("seconds", [0.001, 1.0, 500.0])
def test_measuring_takes_few_calls_however_slow_the_host(seconds: float) -> None:
    looks = 0
    tick = ticking(seconds)

    def clock() -> float:
        nonlocal looks
        looks += 1
        return tick()

    costs = some_costs(clock)
    costs.step_s("none")

    calls = looks // 2
    assert calls <= 2 + CALLS
    assert (calls - 2) * seconds <= LIMIT_S + seconds


def test_measuring_leaves_the_random_numbers_of_a_run_alone(job: JobFolder) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)

    fitted(job, a_small_spec())

    assert torch.equal(torch.rand(4), expected)
