"""N-grams that weigh most in a linear net: they are spelled as the training texts have them, and counted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models_store.tasks.text.tokenizers import fit
from tests.workers.tasks.text.text_nets import a_text_spec
from workers.evaluation.features import Feature
from workers.tasks.text import noise
from workers.tasks.text.augmentations.letters import codes_of
from workers.tasks.text.examples import TextExamples
from workers.tasks.text.task import TEXT
from workers.training.learner import Learner

GOOD = ["Lovely room", "a lovely bed", "lovely!", "so lovely 干净"]
TRAINING = [*GOOD, "dismal room", "a dismal bed", "dismal", "脏 dismal"]
CLASSES = np.array([0, 0, 0, 0, 1, 1, 1, 1])


def trained(
    targets: np.ndarray[Any, Any], *, tokenizer: str = "code_points", **backbone: Any
) -> tuple[Learner, TextExamples]:
    """Return a net whose weights are the share of each class among the texts with an n-gram."""
    spec = a_text_spec(
        backbone={"min_count": 1, **backbone}, input={"tokenizer": {"kind": tokenizer}, "max_tokens": 64}
    )
    examples = TextExamples(
        inputs={"code_points": codes_of(TRAINING)},
        targets=targets,
        splits_N=np.full(len(TRAINING), "train"),
        classes=["good", "bad"] if targets.ndim == 1 else [],
        tokenizer=fit(spec.input.tokenizer, TRAINING),
    )
    count = 2 if targets.ndim == 1 else 1
    net = TEXT.build(spec, class_count=count, weights_dir=Path("unused"), examples=examples)
    known = net.backbone.known  # type: ignore[union-attr]
    with torch.no_grad():
        table, rows_BG = net.get_parameter("backbone.table"), known(torch.from_numpy(codes_of(TRAINING)))
        for rows_G, truth in zip(rows_BG, targets.reshape(len(targets), -1)[:, 0], strict=True):
            present = rows_G.unique()
            if targets.ndim == 1:
                table[present[present > 0], int(truth)] += 1
            else:
                table[present[present > 0], 0] += float(truth)
    return net, examples


@pytest.mark.parametrize(
    ("tokenizer", "backbone", "word"),
    [
        ("code_points", {"kind": "tfidf_linear", "ngrams": [], "word_ngrams": [1]}, "lovely"),
        ("code_points", {"kind": "tfidf_linear", "ngrams": [6], "word_ngrams": []}, "lovely"),
        ("characters", {"kind": "tfidf_linear", "ngrams": [6]}, "lovely"),
    ],
)
def test_the_ngrams_of_each_class_are_spelled_and_counted(tokenizer: str, backbone: dict[str, Any], word: str) -> None:
    net, examples = trained(CLASSES, tokenizer=tokenizer, **backbone)

    found = list(TEXT.features(net, examples))

    first = {label: next(each for each in found if each.label == label) for label in ("good", "bad")}
    assert (first["good"].feature.strip(), first["good"].count) == (word, 4)
    assert "dismal" in first["bad"].feature
    assert all(each.weight > 0 and each.count >= 3 for each in found)


def test_an_ngram_that_is_a_part_of_another_is_left_out() -> None:
    net, examples = trained(CLASSES, kind="tfidf_linear", ngrams=[1, 2, 3, 4, 5], word_ngrams=[1])

    good = [each.feature.strip() for each in TEXT.features(net, examples) if each.label == "good"]

    assert good
    assert all(one not in other for one in good for other in good if one != other)


def test_numbers_have_what_raises_and_what_lowers_them() -> None:
    values = np.where(CLASSES == 0, 1.0, -1.0).astype(np.float32)[:, None]
    net, examples = trained(values, kind="tfidf_linear", ngrams=[], word_ngrams=[1])

    found = {each.feature: each for each in TEXT.features(net, examples)}

    assert found["lovely"].weight > 0 > found["dismal"].weight
    assert isinstance(found["lovely"], Feature)
    assert found["lovely"].label is None


def test_other_nets_have_none() -> None:
    spec = a_text_spec()
    examples = noise.noise(spec, classes=["good", "bad"], count=4)
    net = TEXT.build(spec, class_count=2, weights_dir=Path("unused"), examples=examples)

    assert list(TEXT.features(net, examples)) == []
