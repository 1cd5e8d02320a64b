"""Vocabularies that lose entries: answers are those of the whole net without these entries, in the file too."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models_store.tasks.text.tokenizers import fit
from models_store.tasks.text.tokenizers.tokens import FIRST, UNKNOWN
from tests.workers.tasks.text.ngram_nets import CLASSES, KINDS, TEXTS, TRAINING, spec_of, with_weights
from tests.workers.tasks.text.ngram_nets import examples_of as examples_of_ngrams
from tests.workers.tasks.text.text_nets import a_text_spec, exported, with_large_weights
from workers.export.sessions import answer, open_session
from workers.tasks.task import Entries
from workers.tasks.text.augmentations.letters import codes_of
from workers.tasks.text.backbones.ngrams import BagNet, LinearNet
from workers.tasks.text.backbones.sequence import Embedded
from workers.tasks.text.examples import TextExamples
from workers.tasks.text.task import TEXT
from workers.training.learner import Learner, save

CHARACTERS = {"tokenizer": {"kind": "characters", "min_count": 1}, "max_tokens": 64}
WORDS = {"tokenizer": {"kind": "words", "min_count": 1}, "max_tokens": 64}
TEXT_CNN = {"kind": "text_cnn", "embedding": 8, "kernels": [2], "filters": 8}
GRU = {"kind": "gru", "embedding": 8, "width": 4}
SEQUENCES: dict[str, dict[str, Any]] = {
    "text_cnn": {"backbone": TEXT_CNN, "input": CHARACTERS},
    "gru": {"backbone": GRU, "input": CHARACTERS},
    "gru of words": {"backbone": GRU, "input": WORDS},
}
EVERY = [*KINDS, *SEQUENCES]


class Known:
    """A net with weights, the texts that it was made of, and odd texts as it takes them."""

    def __init__(self, name: str) -> None:
        self.spec = a_text_spec(**SEQUENCES[name]) if name in SEQUENCES else spec_of(name)
        self.examples = examples_of_ngrams(self.spec)
        self.inputs = {"code_points": codes_of(TEXTS)}
        if not self.examples.tokenizer.in_graph:
            self.examples = self._numbered()
            self.inputs = self._ids(TEXTS)
        net = TEXT.build(self.spec, class_count=2, weights_dir=Path("unused"), examples=self.examples)
        self.net: Learner = (with_large_weights if name in SEQUENCES else with_weights)(net).eval()

    @property
    def kept(self) -> list[Entries]:
        """Return every other entry of each vocabulary."""
        return [np.arange(0, len(each), 2) for each in TEXT.worths(self.net, self.examples)]

    def answers(self, net: Learner) -> np.ndarray[Any, Any]:
        first = self.inputs["tokens" if "tokens" in self.inputs else "code_points"]
        with torch.no_grad():
            return np.asarray(net(torch.from_numpy(first)).softmax(dim=1).numpy())

    def _ids(self, texts: list[str]) -> dict[str, np.ndarray[Any, Any]]:
        rows = [self.examples.tokenizer.ids(text) for text in texts]
        tokens = np.zeros((len(rows), max(map(len, rows))), np.int32)
        for number, ids in enumerate(rows):
            tokens[number, : len(ids)] = ids
        return {"tokens": tokens, "lengths": np.array([len(ids) for ids in rows], np.int32)}

    def _numbered(self) -> TextExamples:
        return TextExamples(
            inputs=self._ids(TRAINING),
            targets=np.array(CLASSES, dtype=np.int64),
            splits_N=np.full(len(CLASSES), "train"),
            classes=["good", "bad"],
            tokenizer=fit(self.spec.input.tokenizer, TRAINING),
        )


def without(net: Learner, kept: list[Entries]) -> Learner:
    """Return the whole net, which takes all other entries for unknown."""
    same = copy.deepcopy(net)
    places = [each for each in same.modules() if isinstance(each, LinearNet | BagNet | Embedded)]
    for place, entries in zip(places, kept, strict=True):
        if isinstance(place, Embedded):
            stay = torch.from_numpy(np.concatenate([np.arange(FIRST), entries + FIRST]))
            leaves = torch.ones(len(place.embedding.weight), dtype=torch.bool)
            leaves[stay] = False
            place.embedding.weight.data[leaves] = place.embedding.weight.data[UNKNOWN].clone()
        else:
            place.known.register_forward_hook(_forgetting(torch.from_numpy(entries + 1)))
    return same


def _forgetting(stay: Tensor) -> Any:
    def forget(_module: nn.Module, _inputs: Any, rows_BG: Tensor) -> Tensor:
        return torch.where(torch.isin(rows_BG, stay), rows_BG, 0)

    return forget


@pytest.mark.parametrize("name", EVERY)
def test_a_cut_net_and_its_file_answer_as_the_whole_one_without_what_left(name: str, tmp_path: Path) -> None:
    known = Known(name)
    kept = known.kept

    cut = TEXT.with_entries(known.net, kept)

    expected = known.answers(without(known.net, kept))
    session = open_session(exported(cut, known.spec, tmp_path / "cut.onnx"), device="cpu", threads=1)
    served = answer(session, known.inputs)
    assert np.abs(expected - known.answers(known.net)).max() > 1e-3, "what left must have mattered"
    assert np.abs(known.answers(cut) - expected).max() < 1e-5
    assert np.abs(served - expected).max() < 1e-5


@pytest.mark.parametrize("name", EVERY)
def test_a_cut_net_comes_back_from_its_weights_and_can_be_cut_and_trained_again(name: str, tmp_path: Path) -> None:
    known = Known(name)
    cut = TEXT.with_entries(known.net, known.kept)

    path = save(cut, tmp_path / "weights.safetensors")
    restored = TEXT.restore(known.spec, path, class_count=2, examples=known.examples).eval()
    again = TEXT.with_entries(restored, _half_of(restored, known))

    assert np.array_equal(known.answers(restored), known.answers(cut))
    assert np.isfinite(known.answers(again)).all()
    again.train()
    again(torch.from_numpy(next(iter(known.inputs.values())))).square().sum().backward()
    assert all(weight.grad is not None for weight in again.parameters())


def _half_of(net: Learner, known: Known) -> list[Entries]:
    return [np.arange(0, len(each), 2) for each in TEXT.worths(net, known.examples)]


@pytest.mark.parametrize("name", EVERY)
def test_all_entries_kept_change_nothing(name: str) -> None:
    known = Known(name)
    every = [np.arange(len(each)) for each in TEXT.worths(known.net, known.examples)]

    assert np.array_equal(known.answers(TEXT.with_entries(known.net, every)), known.answers(known.net))


@pytest.mark.parametrize("name", ["tfidf_linear", "ngram_bag", "text_cnn"])
def test_an_entry_is_worth_more_the_larger_its_weights_and_the_more_texts_have_it(name: str) -> None:
    known = Known(name)
    (worth_E,) = TEXT.worths(known.net, known.examples)
    table = next(
        weight for name, weight in known.net.named_parameters() if name.endswith(("table", "embedding.weight"))
    )
    first = FIRST if name == "text_cnn" else 1

    with torch.no_grad():
        table[first] *= 3
    (larger_E,) = TEXT.worths(known.net, known.examples)

    assert larger_E[0] == pytest.approx(9 * worth_E[0], rel=1e-4)
    np.testing.assert_allclose(larger_E[1:], worth_E[1:])
    assert (worth_E > 0).all()  # each is in a training text
