"""Reports of examples that are texts: mistakes to read, accuracy by length, what serving notes, what weighs most."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models_store.targets import LABELS, NUMBER, ONE_CLASS
from tests.workers.evaluation.sample_reports import a_report, answers, examined
from workers.evaluation.features import Feature
from workers.evaluation.input_facts import Lengths, by_length, mean_notes
from workers.evaluation.page import page
from workers.evaluation.split_report import Split


def of_texts(outputs_NK: np.ndarray, targets: np.ndarray, *, texts: list[str], **more: Any) -> Split:
    files = [f"texts.csv:{number + 2}" for number in range(len(texts))]
    return Split("test", outputs_NK, targets, files=files, show=texts.__getitem__, **more)


def lengths(*values: int) -> Lengths:
    return Lengths("characters", np.array(values))


def test_mistakes_of_texts_are_told_as_text_and_not_drawn() -> None:
    outputs_NK = np.array([[0.9, 0.1], [0.8, 0.2]], np.float32)
    texts = ["good <b>bed</b>", "bad " * 200]

    found = examined(of_texts(outputs_NK, np.array([1, 1]), texts=texts), ["bad", "good"])

    first, second = found.section["mistakes"]
    assert first == {
        "file": "texts.csv:2",
        "text": texts[0],
        "label": "good",
        "answer": "bad",
        "confidence": pytest.approx(0.9),
    }
    assert (len(second["text"]), second["text"][-1]) == (500, "…")
    assert not [picture.name for picture in found.pictures if "mistakes" in picture.name]


def test_accuracy_is_that_of_bands_of_as_many_examples_each() -> None:
    targets = np.zeros(100, np.int64)
    answered = np.array([0] * 80 + [1] * 20)

    found = by_length(lengths(*range(1, 101)), answered, targets, target=ONE_CLASS)

    assert (found["unit"], found["figure"]) == ("characters", "accuracy")
    assert sum(band["count"] for band in found["bands"]) == 100
    assert [band["accuracy"] for band in found["bands"]][:3] == [1, 1, 1]
    assert found["bands"][-1]["accuracy"] < 0.1
    assert all(18 <= band["count"] <= 22 for band in found["bands"])


@pytest.mark.parametrize(
    ("values", "bands"),
    [
        ((7, 7, 7), [(7, 7, 3)]),
        ((1,), [(1, 1, 1)]),
        ((1, 1, 1, 1, 1, 1, 1, 1, 9), [(1, 1, 8), (9, 9, 1)]),
        ((1, 1, 1, 2, 2, 2), [(1, 1, 3), (2, 2, 3)]),
        ((0, 5), [(0, 0, 1), (5, 5, 1)]),
    ],
)
def test_every_example_is_in_one_band_whatever_the_lengths(
    values: tuple[int, ...], bands: list[tuple[int, int, int]]
) -> None:
    zeros = np.zeros(len(values), np.int64)

    found = by_length(lengths(*values), zeros, zeros, target=ONE_CLASS)["bands"]

    assert [(band["from"], band["to"], band["count"]) for band in found] == bands


def test_labels_have_their_share_and_numbers_their_mean_error_by_length() -> None:
    members_NK = np.array([[1, 0], [0, 1]], np.float32)

    labels = by_length(lengths(3, 3), LABELS.answers(members_NK[:, ::-1]), members_NK, target=LABELS)
    numbers = by_length(lengths(3, 3), np.array([1.0, 4.0]), np.array([[0.0], [1.0]]), target=NUMBER)

    assert labels["bands"] == [{"from": 3, "to": 3, "count": 2, "accuracy": 0.0}]
    assert numbers["bands"] == [{"from": 3, "to": 3, "count": 2, "mae": 2.0}]


def test_notes_are_shares_and_means() -> None:
    notes = [{"truncated": True, "unknown_share": 0.5}, {"truncated": False, "unknown_share": 0.0}]

    assert mean_notes(notes) == {"truncated": 0.5, "unknown_share": 0.25}
    assert mean_notes([]) == {}


def test_the_page_tells_of_texts_their_lengths_and_what_weighs_most(tmp_path: Path) -> None:
    document, pictures = a_report(tmp_path / "report.zip", count=30)
    outputs_NK, labels_N = answers(30, 3)
    split = of_texts(
        outputs_NK,
        labels_N,
        texts=["<script>x</script>\nsecond line"] * 30,
        lengths=lengths(*range(30)),
        notes={"truncated": 0.125},
    )
    document["splits"] = {"test": examined(split).section}
    features = [Feature("ant", "six <legs>", 1.25, 7), Feature("bee", "sting", 0.5, 3)]

    shown = page(document | {"features": [each.as_document() for each in features]}, pictures)

    assert "truncated: 12.50%" in shown
    assert "0 to 6" in shown
    assert '<td class="text">&lt;script&gt;x&lt;/script&gt;\nsecond line</td>' in shown
    assert "six &lt;legs&gt;&nbsp;<small>+1.25</small>" in shown
