"""Results of jobs as rows store them: documents of earlier releases are read, and written as they were."""

from typing import Any

import pytest

from models_store.jobs.kinds import KINDS
from models_store.jobs.results import Finished, Published, Repeated, Searched, Tried
from service.answers.outcomes import Outcome

TRIED = {
    "value": 0.9,
    "metrics": {"val": {"accuracy": 0.9}},
    "best_epoch": 2,
    "epochs": 3,
    "precision": "fp32",
    "batch_size": 16,
}
MADE = {"model": "leaves", "version": 2}
CHILD = {"number": 0, "job": "job_1", "state": "succeeded", "value": 0.9}
SPREAD = {"mean": 0.9, "standard_deviation": 0.1, "low": 0.8, "high": 1.0, "runs": 2}
DOCUMENTS: dict[str, list[dict[str, Any]]] = {
    "train": [MADE],
    "compress": [MADE],
    "preview": [{}],
    "predict_dataset": [
        MADE
        | {
            "variant": "int8",
            "provider": "cpu",
            "format": "csv",
            "size_bytes": 1000,
            "rows": 10,
            "failed": 1,
            "compared": 8,
            "metrics": {"test": {"accuracy": 0.875}},
        }
    ],
    "trial": [TRIED, {"pruned": True, "value": 0.5, "epochs": 1}],
    "fold": [TRIED],
    "repeat": [TRIED],
    "search": [
        MADE
        | {
            "monitor": "val_accuracy",
            "winner": "promote",
            "best": {"number": 1, "job": "job_2", "parameters": {"optimizer.lr": 0.1}, "value": 0.9},
            "trials": [CHILD, CHILD | {"number": 1, "value": None, "pruned": True}],
            "gain": None,
            "notes": ["one note"],
        }
    ],
    "k_fold": [
        {
            "model": None,
            "version": None,
            "monitor": "val_loss",
            "runs": [CHILD | {"metrics": {"held_out": {"accuracy": None}}}, CHILD | {"number": 1, "metrics": None}],
            "summary": {"held_out": {"accuracy": SPREAD}},
            "notes": [],
        }
    ],
    "repeats": [MADE | {"monitor": "val_loss", "runs": [], "summary": {}, "notes": []}],
    "measure": [
        MADE
        | {
            "measured": [{"variant": "int8", "provider": "cpu", "before": None, "after": {"accepted": True}}],
            "defaults": {"before": {"cpu": "fp32"}, "after": {"cpu": "int8"}},
        }
    ],
}
CASES = [(kind, document) for kind, documents in DOCUMENTS.items() for document in documents]


def test_every_kind_has_an_example() -> None:
    assert DOCUMENTS.keys() == KINDS.keys()


@pytest.mark.parametrize(("kind", "document"), CASES)
def test_a_result_is_written_as_it_was_read(kind: str, document: dict[str, Any]) -> None:
    assert KINDS[kind].result.of_document(document).as_document() == document


@pytest.mark.parametrize(("kind", "document"), CASES)
def test_a_result_has_no_key_that_its_answer_does_not_describe(kind: str, document: dict[str, Any]) -> None:
    written = KINDS[kind].result.of_document(document).as_document()

    assert Outcome.model_validate(written).model_extra == {}


@pytest.mark.parametrize(("kind", "document"), CASES)
def test_keys_of_a_later_release_are_passed_over(kind: str, document: dict[str, Any]) -> None:
    assert KINDS[kind].result.of_document(document | {"later": 1}) == KINDS[kind].result.of_document(document)


def test_keys_that_an_earlier_release_did_not_write_are_unknown() -> None:
    assert Tried.of_document({"value": 0.5}) == Tried(value=0.5)
    assert Published.of_document({}) == Published(None, None)
    assert Repeated.of_document({"monitor": "val_loss", "runs": []}).notes == ()
    best = {"number": 0, "job": "job_1", "parameters": None, "value": None}
    old = {"monitor": "val_loss", "winner": "retrain", "best": best, "trials": []}
    assert Searched.of_document(old).gain is None


@pytest.mark.parametrize(
    ("kind", "document", "expected"),
    [
        ("trial", TRIED, {"value": 0.9}),
        ("trial", {"pruned": True, "value": 0.5, "epochs": 1}, {"value": 0.5, "pruned": True}),
        ("train", MADE, MADE),
    ],
)
def test_a_childs_end_tells_its_parent_the_figure_or_the_version(
    kind: str, document: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert KINDS[kind].result.of_document(document).for_parent() == expected


def test_what_a_trainer_hands_over_survives_its_way_as_json() -> None:
    finished = Finished({"value": 1.0}, {"answers": "a" * 64})

    assert Finished.of_document(finished.as_document()) == finished
