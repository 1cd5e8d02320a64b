from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from models_store.spec.distillation import Distillation
from models_store.tasks.image.spec import ResolvedImageSpec
from tests.samples import a_train_spec
from tests.workers.training_runs import CLASSES, CPU, Recorder, a_small_classifier, run, same_weights, some_arrays
from workers.tasks.image.net import Classifier
from workers.training import targets
from workers.training.distillation import Distiller, Teacher
from workers.training.examples import Examples
from workers.training.feeds import RawFeed
from workers.training.precision import Precision

FP32 = Precision("fp32", CPU)


def a_spec(*, epochs: int = 2, **changes: Any) -> ResolvedImageSpec:
    training = {"epochs": epochs, "batch_size": 8, "precision": "fp32"}
    return a_train_spec(training=training, **{"distillation": {"teacher": "oak"}} | changes)


def aim_of(task: str) -> targets.Targets:
    values = {
        "image_classification": np.array([0, 1]),
        "multilabel_classification": np.eye(2, dtype=np.float32),
        "image_regression": np.array([[10.0], [30.0]], np.float32),
    }[task]
    return targets.build(
        task, Examples({"images": np.zeros((2, 1, 1, 3), np.uint8)}, values, np.array(["train"] * 2), CLASSES)
    )


def a_distiller(task: str, *, temperature: float = 2.0) -> Distiller:
    part = Distillation(teacher="oak", temperature=temperature)
    spec = a_spec()
    teacher = Teacher(a_small_classifier(spec), student=a_small_classifier(spec), precision=FP32)
    return Distiller(part, aim_of(task), teacher, widths=None, seed=0)


def test_soft_targets_of_classes_are_compared_by_divergence_at_the_temperature() -> None:
    student, teacher = torch.tensor([[1.0, -1.0], [0.0, 0.5]]), torch.tensor([[2.0, 0.0], [1.0, -3.0]])

    loss = a_distiller("image_classification").soft_loss(student, teacher)

    q, p = (teacher / 2).softmax(1), (student / 2).softmax(1)
    assert float(loss) == pytest.approx(4 * float((q * (q / p).log()).sum(1).mean()), rel=1e-5)


@pytest.mark.parametrize("task", ["image_classification", "multilabel_classification", "image_regression"])
def test_a_student_that_answers_as_its_teacher_has_nothing_to_learn(task: str) -> None:
    logits = torch.tensor([[1.5], [-0.5]]) if task == "image_regression" else torch.tensor([[1.5, -0.5], [0.0, 2.0]])

    distiller = a_distiller(task)

    assert float(distiller.soft_loss(logits, logits)) == pytest.approx(0, abs=1e-6)
    assert float(distiller.soft_loss(logits + torch.tensor([[1.0], [2.0]]) * logits, logits)) > 0.01


def test_numbers_are_compared_in_units_of_their_spread() -> None:
    loss = a_distiller("image_regression").soft_loss(torch.tensor([[10.0]]), torch.tensor([[20.0]]))

    assert float(loss) == pytest.approx(1.0)


def test_a_student_learns_its_teacher_s_answers_where_labels_say_nothing() -> None:
    spec = a_spec(epochs=30, distillation={"teacher": "oak", "weight": 1.0}, optimizer={"kind": "adamw", "lr": 0.02})
    teacher = a_small_classifier(spec, seed=5)
    arrays = some_arrays(train=64, val=0)
    rows = arrays.split("train")

    def divergence(classifier: Classifier) -> float:
        with torch.no_grad():
            inputs = RawFeed(classifier, arrays, device=CPU).batch(rows, None)
            mine, theirs = (net.eval()(inputs).log_softmax(1) for net in (classifier, teacher))
        return float(functional.kl_div(mine, theirs, log_target=True, reduction="batchmean"))

    student = a_small_classifier(spec)
    with torch.no_grad():
        student.head[0].bias.add_(torch.tensor([2.0, -2.0]))
    before = divergence(student)
    run(spec, arrays, classifier=student, teacher=teacher)

    assert divergence(student) < before / 4


def test_the_teacher_never_changes() -> None:
    spec = a_spec(distillation={"teacher": "oak", "features_weight": 1.0})
    teacher, twin = a_small_classifier(spec, seed=1), a_small_classifier(spec, seed=1)

    run(spec, some_arrays(), classifier=a_small_classifier(spec), teacher=teacher)

    assert same_weights(teacher, twin)


def test_features_of_another_width_are_learned_through_a_projection() -> None:
    spec = a_spec(epochs=12, distillation={"teacher": "oak", "weight": 0.0, "features_weight": 1.0})
    teacher = a_small_classifier(spec, seed=1)
    teacher.backbone = nn.Sequential(teacher.backbone, nn.Linear(6, 9))
    teacher.head = nn.Linear(9, len(CLASSES))

    trained = run(spec, some_arrays(), classifier=a_small_classifier(spec), teacher=teacher)

    assert trained.history[-1]["train_loss"] < trained.history[0]["train_loss"]


def test_answers_are_asked_once_where_nothing_is_drawn() -> None:
    still, moving = a_spec(), a_spec(augmentation=[{"kind": "random_flip"}])

    steps = []
    for spec in (still, moving):
        reporter = Recorder()
        run(
            spec,
            some_arrays(),
            classifier=a_small_classifier(spec),
            teacher=a_small_classifier(spec),
            reporter=reporter,
        )
        steps.append({facts.get("step") for facts in reporter.facts})

    assert "teacher" in steps[0]
    assert "teacher" not in steps[1]


def test_a_remembered_answer_is_the_one_to_the_same_image() -> None:
    spec, arrays = a_spec(), some_arrays()
    student = a_small_classifier(spec)
    teacher = Teacher(a_small_classifier(spec, seed=1), student=student, precision=FP32)
    feed, rows = RawFeed(student, arrays, device=CPU), np.array([3, 8, 21])
    asked = teacher.answers(rows, feed.batch(rows, None))

    teacher.remember(feed, arrays.split("train"), batch_size=8, each=lambda _: None)
    remembered = teacher.answers(rows, torch.empty(0))

    assert torch.allclose(remembered.logits, asked.logits, atol=1e-6)
    assert torch.allclose(remembered.features, asked.features, atol=1e-6)


def test_a_frozen_student_learns_from_a_teacher_of_another_size_and_normalisation() -> None:
    spec = a_spec()
    frozen = spec.model_copy(update={"backbone": spec.backbone.model_copy(update={"freeze": "backbone"})})
    teacher = a_small_classifier(spec, seed=1)
    teacher.mean, teacher.std, teacher.size = (0.3,) * 3, (0.2,) * 3, 48

    trained = run(frozen, some_arrays(), classifier=a_small_classifier(frozen), teacher=teacher)

    assert trained.history[-1]["train_loss"] < trained.history[0]["train_loss"]


def test_a_teacher_sees_what_it_would_have_prepared_itself() -> None:
    student, teacher = (a_small_classifier(a_spec()) for _ in range(2))
    teacher.mean, teacher.std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    rows = np.arange(4)
    feeds = [RawFeed(net, some_arrays(), device=CPU) for net in (student, teacher)]

    translated = teacher.translate(feeds[0].batch(rows, None), of=student)

    assert torch.allclose(translated, feeds[1].batch(rows, None), atol=1e-5)
