"""Nets of texts that train on changed texts: with the real loop, on a few sentences."""

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from models_store.datasets.manifest import ManifestEntry
from models_store.spec.part import Part
from models_store.tasks.text.augmentation import Augmentation, Homophones, MixupOfTexts, Paraphrases, SynonymReplacement
from models_store.tasks.text.codec import CODE_POINTS
from models_store.tasks.text.contract import TEXT
from models_store.tasks.text.facts import TextFacts
from models_store.tasks.text.spec import ResolvedTextSpec, TextSpec
from models_store.tasks.text.tokenizers.fitting import fit
from tests.workers.training_runs import CPU, DiskCheckpoints, Recorder, same_weights, ticking
from workers.process.progress import Drained
from workers.tasks.text import examples, net, vectors
from workers.tasks.text.augmentations.letters import codes_of, texts_of
from workers.tasks.text.augmentations.sources import material_of
from workers.tasks.text.examples import TextExamples
from workers.training import loop
from workers.training.learner import save
from workers.training.loop import Trained

KINDS: tuple[type[Part], ...] = get_args(get_args(Augmentation)[0])
FACTS = TextFacts(
    train_count=24, counts={"bad": 12, "good": 12}, han_share=0.5, has_synonyms=True, has_paraphrases=True
)
SENTENCES = ["the room was dirty, sorry", "the room was clean, thanks", "房间很脏，不好", "八号房间很干净，很好"]
EVERYTHING = [{"kind": kind.model_fields["kind"].default} for kind in KINDS]


def some_texts() -> TextExamples:
    texts = [f"{sentence} {number}" for number in range(9) for sentence in SENTENCES]
    splits = np.array(["train"] * 24 + ["val"] * 12)
    return TextExamples(
        inputs={CODE_POINTS: codes_of(texts)},
        targets=np.arange(36, dtype=np.int64) % 2,
        splits_N=splits,
        classes=["bad", "good"],
        tokenizer=fit(a_spec().input.tokenizer, texts[:24]),
        synonyms={"clean": ("tidy",), "干净": ("整洁",)},
        paraphrases={1: ("it was tidy",), 33: ("a paraphrase of a validation text",)},
    )


def a_spec(**changes: Any) -> ResolvedTextSpec:
    asked = {
        "name": "reviews",
        "dataset": "ds_01hzx3v7k2m4n6p8q0r2s4",
        "input": {"tokenizer": {"kind": "characters", "min_count": 1}, "max_tokens": 32},
        "backbone": {"kind": "text_cnn", "embedding": 8, "kernels": [3], "filters": 8},
        "augmentation": [],
        "training": {"epochs": 2, "batch_size": 8, "precision": "fp32"},
    }
    spec, _ = TEXT.resolve(TextSpec.model_validate(asked | changes), FACTS)
    assert isinstance(spec, ResolvedTextSpec)
    return spec


def run(
    spec: ResolvedTextSpec, *, checkpoints: DiskCheckpoints | None = None, stop_after: int | None = None
) -> Trained:
    examples = some_texts()
    return loop.train(
        net.build(spec, class_count=2, examples=examples),
        examples,
        spec=spec,
        device=CPU,
        reporter=Recorder(stop_after=stop_after),
        checkpoints=checkpoints or DiskCheckpoints(),
        clock=ticking(),
        checkpoint_s=1e9,
    )


@pytest.mark.parametrize("part", EVERYTHING, ids=lambda part: part["kind"])
def test_a_net_trains_with_every_part(part: dict[str, Any]) -> None:
    plain, changed = run(a_spec()), run(a_spec(augmentation=[part | {"probability": 1.0}]))

    assert not same_weights(plain.learner, changed.learner)
    assert changed.history[-1]["val_loss"] > 0


def test_a_run_that_stopped_goes_on_to_the_very_weights_of_one_that_did_not() -> None:
    spec, checkpoints = a_spec(augmentation=EVERYTHING), DiskCheckpoints()

    whole = run(spec)
    with pytest.raises(Drained):
        run(spec, checkpoints=checkpoints, stop_after=4)
    resumed = run(spec, checkpoints=checkpoints)

    assert resumed.resumed_from == (1, 1)
    assert same_weights(whole.learner, resumed.learner)


def test_validation_and_served_texts_are_never_changed() -> None:
    learner = net.build(a_spec(augmentation=EVERYTHING), class_count=2, examples=some_texts())
    raw = {CODE_POINTS: torch.from_numpy(codes_of(SENTENCES))}

    assert learner.draws
    assert torch.equal(learner.prepare(raw, None), raw[CODE_POINTS])
    assert torch.equal(learner.plain().prepare(raw, torch.Generator()), raw[CODE_POINTS])


def test_changed_texts_are_no_longer_than_the_spec_allows() -> None:
    spec = a_spec(augmentation=[{"kind": "random_insertion", "rate": 0.5, "probability": 1.0}])
    learner = net.build(spec, class_count=2, examples=some_texts())

    prepared = learner.prepare({CODE_POINTS: torch.from_numpy(codes_of(["word " * 6]))}, torch.Generator())

    assert prepared.shape == (1, 32)
    assert texts_of(prepared.numpy())[0].startswith("word word")


def test_features_are_blended_as_the_targets_are() -> None:
    learner = net.build(a_spec(augmentation=[{"kind": "mixup", "alpha": 1.0}]), class_count=2, examples=some_texts())
    inputs = torch.from_numpy(codes_of(SENTENCES))

    mixed, soft = learner.mix(inputs, torch.eye(4), generator=torch.Generator().manual_seed(0))

    assert learner.mixes
    assert torch.allclose(learner.features(mixed), soft @ learner.features(inputs), atol=1e-6)


def test_only_training_rows_lend_their_paraphrases_and_characters() -> None:
    examples = some_texts()
    later = replace(examples, splits_N=np.array(["val"] * 24 + ["train"] * 12))

    material = material_of([Paraphrases(), Homophones()], examples)

    assert material.paraphrases == {"the room was clean, thanks 0": ("it was tidy",)}
    assert "5" in material.characters
    assert "6" not in material.characters
    assert list(material_of([Paraphrases()], later).paraphrases.values()) == [("a paraphrase of a validation text",)]


def test_a_restored_net_trains_further_on_changed_texts(tmp_path: Path) -> None:
    spec, examples = a_spec(augmentation=EVERYTHING), some_texts()
    path = save(net.build(spec, class_count=2, examples=examples), tmp_path / "net")

    answering = net.restore(spec, path, class_count=2)
    training = net.restore(spec, path, class_count=2, examples=examples)

    assert (answering.draws, training.draws) == (False, True)


def test_vectors_that_an_embedding_starts_from_stand_in_for_synonyms() -> None:
    examples = replace(some_texts(), synonyms={})
    learner = net.build(a_spec(), class_count=2, examples=examples)
    with torch.no_grad():
        learner.embedding.weight[:] = torch.eye(*learner.embedding.weight.shape)
        learner.embedding.weight[[2, 3, 4]] = 1.0

    near = vectors.neighbours(learner.embedding, examples.tokenizer)(2)

    first, second, third = examples.tokenizer.as_document()["characters"][:3]
    assert near[first] == (second, third)


def test_parts_name_what_they_need() -> None:
    assert material_of([MixupOfTexts()], some_texts()).characters == ""
    assert material_of([SynonymReplacement()], some_texts()).synonyms["clean"] == ("tidy",)


def test_paraphrases_come_from_a_column_and_from_a_file_by_the_id_of_their_text(tmp_path: Path) -> None:
    content, texts = tmp_path / "content.zip", [f"{sentence} {number}" for number in range(5) for sentence in SENTENCES]
    with zipfile.ZipFile(content, "w") as archive:
        for number, text in enumerate(texts):
            archive.writestr(f"{number}.txt", text)
    facts: list[dict[str, Any]] = [{"id": "first"}, {"paraphrase": "beside it"}, *[{} for _ in texts[2:]]]
    entries = [
        ManifestEntry(f"t.csv:{row + 2}", f"{row}.txt", ("bad", "good")[row % 2], "train", "", facts=facts[row])
        for row in range(len(texts))
    ]

    found = examples.prepare(
        a_spec(),
        entries,
        content,
        classes=["bad", "good"],
        digest="d",
        auxiliary={
            "paraphrases.csv": b"id,text\nfirst,by its id\nt.csv:3,by its line\nt.csv:2,of nobody\n",
            "synonyms.csv": b"clean,tidy\n",
        },
        cache=tmp_path / "cache",
        cache_max_bytes=1 << 20,
        report=lambda _: None,
    )

    assert found.paraphrases == {0: ("by its id",), 1: ("beside it", "by its line")}
    assert found.synonyms == {"clean": ("tidy",), "tidy": ("clean",)}
