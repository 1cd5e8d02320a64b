"""Small nets on n-grams, and the texts that they take them from."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from models_store.tasks.text.tokenizers import fit
from tests.workers.tasks.text.text_nets import a_text_spec
from workers.tasks.text.augmentations.letters import codes_of
from workers.tasks.text.examples import TextExamples
from workers.tasks.text.task import TEXT
from workers.training.learner import Learner

TRAINING = ["good room", "a good bed", "good", "bad room", "a bad bed", "so bad 房间", "房间", "好房间"]
CLASSES = [0, 0, 0, 1, 1, 1, 1, 0]
TEXTS = ["good 房间 room", "b", "", "Bad, bad!  bad…" * 9, "房间", "unknown"]
KINDS: dict[str, dict[str, Any]] = {
    "tfidf_linear": {"kind": "tfidf_linear", "min_count": 1},
    "nb_linear": {"kind": "nb_linear", "min_count": 1},
    "ngram_bag": {"kind": "ngram_bag", "min_count": 1, "embedding": 8},
    "words alone": {"kind": "nb_linear", "min_count": 1, "ngrams": [], "word_ngrams": [1, 2]},
    "no words": {"kind": "tfidf_linear", "min_count": 1, "word_ngrams": []},
    "characters": {"kind": "nb_linear", "min_count": 1},
    "ensemble": {
        "kind": "ensemble",
        "members": [
            {"kind": "nb_linear", "min_count": 1},
            {"kind": "ngram_bag", "min_count": 1, "embedding": 8},
            {"kind": "tfidf_linear", "min_count": 1, "ngrams": [], "word_ngrams": [1]},
        ],
    },
    "ensemble with a net": {
        "kind": "ensemble",
        "members": [
            {"kind": "nb_linear", "min_count": 1},
            {"kind": "text_cnn", "embedding": 8, "kernels": [2], "filters": 8},
        ],
    },
}

NUMBERED = {"characters", "ensemble with a net"}


def spec_of(name: str, **given: Any) -> Any:
    tokenizer = {"kind": "characters", "min_count": 1} if name in NUMBERED else {"kind": "code_points"}
    return a_text_spec(backbone=KINDS[name], input={"tokenizer": tokenizer, "max_tokens": 64}, **given)


def examples_of(spec: Any) -> TextExamples:
    codes = codes_of(TRAINING)
    return TextExamples(
        inputs={"code_points": codes},
        targets=np.array(CLASSES, dtype=np.int64),
        splits_N=np.full(len(CLASSES), "train"),
        classes=["good", "bad"],
        tokenizer=fit(spec.input.tokenizer, TRAINING),
    )


def net_of(spec: Any) -> Learner:
    return TEXT.build(spec, class_count=2, weights_dir=Path("unused"), examples=examples_of(spec))


def with_weights(net: Learner) -> Learner:
    """Give each n-gram weights of its own; fresh linear nets have none."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if name.endswith("table"):
                weight[1:] = torch.randn(weight[1:].shape, generator=generator)
    return net.eval()
