"""Training with tokenizers that work before the file: from a stored dataset to what the net is fed."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models_store.datasets.manifest import ManifestEntry
from models_store.tasks.text.spec import ResolvedTextSpec
from tests.workers.tasks.text.text_nets import a_text_spec
from workers.tasks.text import examples as text_examples
from workers.tasks.text.examples import TextExamples
from workers.tasks.text.task import TEXT

TEXTS = ["The room was clean", "", "the ROOM was dirty, the staff was rude", "a view"]
WORDS = {"tokenizer": {"kind": "words", "min_count": 1}, "max_tokens": 8}


def stored(folder: Path, spec: ResolvedTextSpec) -> TextExamples:
    with zipfile.ZipFile(folder / "content.zip", "w") as archive:
        for row, text in enumerate(TEXTS):
            archive.writestr(str(row), text.encode())
    manifest = [
        ManifestEntry(f"{row}.txt", str(row), ["good", "bad"][row % 2], "train" if row < 3 else "val", "")
        for row in range(len(TEXTS))
    ]
    return text_examples.prepare(
        spec,
        manifest,
        folder / "content.zip",
        classes=["bad", "good"],
        digest="d",
        auxiliary={},
        cache=folder / "cache",
        cache_max_bytes=1 << 30,
        report=lambda _: None,
    )


def test_rows_are_tokens_and_their_numbers_and_the_tokenizer_knows_the_training_texts_alone(tmp_path: Path) -> None:
    found = stored(tmp_path, a_text_spec(input=WORDS))

    ids = found.tokenizer.ids
    assert found.inputs["lengths"].tolist() == [4, 0, 8, 2]
    assert found.inputs["tokens"][0].tolist() == [*ids("the room was clean"), 0, 0, 0, 0]
    assert found.inputs["tokens"][2].tolist() == ids("the room was dirty, the staff was rude")[:8].tolist()
    assert found.inputs["tokens"][3, :2].tolist() == [1, 1]
    assert {name: array.shape for name, array in found.batch(np.array([1, 3])).items()} == {
        "tokens": (2, 2),
        "lengths": (2,),
    }


def test_arrays_are_found_again_and_another_tokenizer_has_its_own(tmp_path: Path) -> None:
    first, again = (stored(tmp_path, a_text_spec(input=WORDS)) for _ in range(2))
    other = stored(tmp_path, a_text_spec(input=WORDS | {"tokenizer": {"kind": "bpe", "vocabulary": 256}}))

    assert again.files == first.files
    assert not set(other.files.values()) & set(first.files.values())


def test_random_changes_start_from_the_texts_and_are_cut_into_tokens(tmp_path: Path) -> None:
    deletion: dict[str, Any] = {"kind": "random_deletion", "rate": 0.5, "probability": 1.0}
    spec = a_text_spec(input=WORDS, augmentation=[deletion])
    found = stored(tmp_path, spec)
    net = TEXT.build(spec, class_count=2, weights_dir=tmp_path, examples=found)
    raw = {name: torch.from_numpy(array) for name, array in found.raw(np.array([0, 2])).items()}

    plain, changed = net.prepare(raw, None), net.prepare(raw, torch.Generator().manual_seed(3))

    assert torch.equal(plain, raw["tokens"])
    assert changed.shape[0] == 2
    assert int((changed > 0).sum()) < int((plain > 0).sum())
    assert set(changed.flatten().tolist()) <= {0, *found.tokenizer.ids(TEXTS[2]).tolist(), *plain[0].tolist()}


@pytest.mark.parametrize("kind", ["tfidf_linear", "nb_linear", "ngram_bag", "text_cnn"])
def test_every_kind_of_net_learns_from_tokens(tmp_path: Path, kind: str) -> None:
    spec = a_text_spec(input=WORDS, backbone={"kind": kind})
    found = stored(tmp_path, spec)
    net = TEXT.build(spec, class_count=2, weights_dir=tmp_path, examples=found)

    raw = {name: torch.from_numpy(array) for name, array in found.raw(np.arange(3)).items()}
    net(net.prepare(raw, torch.Generator())).sum().backward()

    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in net.parameters())
