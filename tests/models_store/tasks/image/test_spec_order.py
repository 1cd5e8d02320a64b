"""Order of a resolved spec's keys: a training that an earlier release began goes on by its checkpoint only so."""

from tests.samples import a_train_spec
from workers.training.checkpoint import digest

KEYS = [
    *("task", "name", "dataset", "seed", "input", "backbone", "head", "transfer", "distillation", "augmentation"),
    *("regularizers", "loss", "optimizer", "schedule", "training", "evaluation", "validation", "search"),
    *("compression", "export"),
]
EVALUATION = ["temperature_scaling", "test_time_augmentation", "bootstrap_samples", "mistakes"]


def test_keys_are_in_the_order_in_which_earlier_releases_wrote_them() -> None:
    document = a_train_spec().model_dump(mode="json")

    assert list(document) == KEYS
    assert list(document["evaluation"]) == EVALUATION
    assert list(document["export"]) == ["opset", "any_size"]


def test_a_spec_is_read_with_its_keys_in_any_order_and_is_the_same_run() -> None:
    spec = a_train_spec()
    document = spec.model_dump(mode="json")

    again = type(spec).model_validate(dict(reversed(document.items())))

    assert digest(again) == digest(spec)
