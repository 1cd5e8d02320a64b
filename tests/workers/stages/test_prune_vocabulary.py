"""Vocabularies cut in the stage of pruning: by a share, to a size of the file, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models_store.settings import Settings
from models_store.tasks.text.tokenizers import fit
from tests.workers.job_folders import JobFolder, data_of
from tests.workers.tasks.text.text_nets import a_text_spec, exported
from workers.process.progress import Drained
from workers.stages.prune import prune
from workers.stages.prune_vocabulary import FIGURES_BYTES
from workers.stages.variant import Variant, Variants
from workers.tasks.text.augmentations.letters import codes_of
from workers.tasks.text.examples import TextExamples
from workers.tasks.text.task import TEXT
from workers.training.learner import Learner
from workers.training.loop import Trained

WORDS = [f"word{number}" for number in range(400)]
TEXTS = [
    " ".join(["good" if row % 2 else "bad", *(WORDS[(7 * row + step) % 400] for step in range(20))])
    for row in range(80)
]
BACKBONE = {"kind": "tfidf_linear", "ngrams": [], "word_ngrams": [1, 2], "min_count": 1}


def a_spec(cut: dict[str, Any], **compression: Any) -> Any:
    return a_text_spec(
        backbone=BACKBONE,
        input={"tokenizer": {"kind": "code_points"}, "max_tokens": 256},
        compression={"prune": {"kind": "vocabulary", **cut}, "quantize": [], "max_accuracy_drop": 1.0} | compression,
        training={"epochs": 2, "batch_size": 16, "precision": "fp32"},
    )


def some_examples(spec: Any) -> TextExamples:
    return TextExamples(
        inputs={"code_points": codes_of(TEXTS)},
        targets=np.arange(len(TEXTS)) % 2,
        splits_N=np.where(np.arange(len(TEXTS)) < 60, "train", "val"),
        classes=["good", "bad"],
        tokenizer=fit(spec.input.tokenizer, TEXTS),
    )


class Cutting:
    """A job that cuts a net whose weights tell good from bad."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.job = JobFolder(folder, settings=settings)

    def net(self, spec: Any) -> Learner:
        net = TEXT.build(spec, class_count=2, weights_dir=Path("unused"), examples=some_examples(spec))
        weight = net.get_parameter("backbone.table")
        weight.data[1:] = torch.linspace(0.001, 0.01, len(weight) - 1)[:, None] * torch.tensor([1.0, -1.0])
        return net

    def cut(self, spec: Any, *, stop_after: int = 0) -> Variants:
        trained = Trained(self.net(spec), [], best_epoch=1, precision="fp32", resumed_from=None, batch_size=16)
        with self.job.reporter(stop_after=stop_after) as reporter:
            return prune(self.job.work(spec, reporter=reporter), data_of(some_examples(spec)), trained)

    def size_of(self, variant: Variant, spec: Any) -> int:
        assert variant.net is not None
        return exported(variant.net, spec, self.folder / "file.onnx").stat().st_size


@pytest.fixture
def cutting(tmp_path: Path, settings: Settings) -> Cutting:
    return Cutting(tmp_path, settings)


def facts_of(variant: Variant) -> dict[str, Any]:
    assert variant.pruning is not None
    return variant.pruning.as_card()


def test_a_share_of_the_vocabulary_stays_and_the_net_recovers(cutting: Cutting) -> None:
    spec = a_spec({"keep": 0.25}, recover={"epochs": 2})

    variants = cutting.cut(spec).made

    facts = facts_of(variants["pruned"])
    assert facts["entries_kept"] == round(0.25 * facts["entries_before"])
    assert variants["pruned"].size_only
    assert variants["pruned"].recovery is not None
    assert variants["pruned"].recovery.epochs == 2
    assert cutting.size_of(variants["pruned"], spec) < cutting.size_of(variants["fp32"], spec) - 10_000


def test_a_file_just_fits_the_size_that_was_asked_for(cutting: Cutting) -> None:
    whole = cutting.size_of(cutting.cut(a_spec({"keep": 0.5}, recover=None)).made["fp32"], a_spec({"keep": 0.5}))
    smallest = cutting.cut(a_spec({"keep": 0.001}, recover=None)).made["pruned"]
    least = cutting.size_of(smallest, a_spec({"keep": 0.5}))
    target = (whole + least) // 2
    spec = a_spec({"target_size_bytes": target}, recover=None)

    pruned = cutting.cut(spec).made["pruned"]

    facts = facts_of(pruned)
    assert target - 2 * FIGURES_BYTES < cutting.size_of(pruned, spec) <= target
    assert facts["target_size_bytes"] == target
    assert [probe["size_bytes"] <= target for probe in facts["probes"]][:2] == [True, False]


@pytest.mark.parametrize(
    ("target", "why"), [(10_000, "without its vocabulary the file has"), (1 << 30, "it fits as it is")]
)
def test_a_size_out_of_reach_is_explained_and_the_job_goes_on(cutting: Cutting, target: int, why: str) -> None:
    variants = cutting.cut(a_spec({"target_size_bytes": target}, recover=None))

    assert list(variants.made) == ["fp32"]
    assert why in variants.not_made["pruned"]


def test_a_share_that_removes_nothing_is_explained(cutting: Cutting) -> None:
    variants = cutting.cut(a_spec({"keep": 0.9999}, recover=None))

    assert "removes none" in variants.not_made["pruned"]


def test_the_search_for_a_size_stops_when_it_is_asked_to(cutting: Cutting) -> None:
    with pytest.raises(Drained):
        cutting.cut(a_spec({"target_size_bytes": 100_000}, recover=None), stop_after=2)


@pytest.fixture(name="refused")
def _refused() -> Callable[..., str]:
    def told(**given: Any) -> str:
        with pytest.raises(ValueError, match="prune") as caught:
            a_text_spec(**given)
        return str(caught.value)

    return told


def test_a_share_and_a_size_contradict_each_other(refused: Callable[..., str]) -> None:
    both = {"prune": {"kind": "vocabulary", "keep": 0.5, "target_size_bytes": 50_000}}

    assert "give `keep` or `target_size_bytes`, not both" in refused(compression=both)


def test_a_share_is_filled_in_where_none_is_given() -> None:
    spec = a_spec({})

    assert spec.compression.prune.keep == 0.25
