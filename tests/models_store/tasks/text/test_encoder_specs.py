"""Specs of pretrained encoders: what the recipe decides, and what contradicts."""

from typing import Any

import pytest
from pydantic import ValidationError

from models_store.spec.recipe import Misfit
from models_store.tasks.text.backbones.encoder import Architecture, Encoder
from models_store.tasks.text.contract import TEXT
from models_store.tasks.text.facts import TextFacts
from models_store.tasks.text.recipe import TextRecipe
from models_store.tasks.text.spec import ResolvedTextSpec, TextSpec, of_texts

CARD = {"encoder": {"architecture": Architecture().model_dump(), "pooling": None}, "name": "minilm", "sha256": "0"}
FACTS = TextFacts(1000, {"good": 500, "bad": 500}, words_95=30)


def an_encoder(**given: Any) -> dict[str, Any]:
    found = Encoder(weights="wt_00000000").described_by(CARD)
    assert isinstance(found, Encoder)
    return found.model_dump() | given


def resolved(facts: TextFacts = FACTS, **given: Any) -> ResolvedTextSpec:
    asked = {"name": "reviews", "dataset": "ds_00000000", "backbone": an_encoder()} | given
    return of_texts(TEXT.resolve(TextSpec.model_validate(asked), facts)[0])


def test_a_head_learns_from_a_frozen_encoder_by_default() -> None:
    spec = resolved()

    assert (spec.freeze, spec.optimizer.lr, spec.transfer.probe_epochs) == ("backbone", 3e-3, 0)
    assert spec.input.tokenizer is not None
    assert spec.input.tokenizer.kind == "pretrained"
    assert (spec.costs.way, spec.costs.freeze) == ("head", "backbone")


def test_a_whole_encoder_learns_slowly_after_its_head() -> None:
    spec = resolved(backbone=an_encoder(freeze="none"))

    assert (spec.optimizer.lr, spec.training.epochs, spec.training.batch_size) == (5e-5, 10, 32)
    assert (spec.transfer.probe_epochs, spec.transfer.layer_decay, spec.transfer.head_lr_scale) == (20, 0.9, 10.0)
    assert spec.schedule.warmup_epochs == 0.5
    assert spec.costs.way == "fine_tune"


def test_its_texts_are_as_long_as_its_positions_at_most() -> None:
    short, long = (resolved(TextFacts(1000, {"a": 500, "b": 500}, words_95=words)) for words in (30, 3000))

    assert (short.input.max_tokens, long.input.max_tokens) == (64, 512)


def test_its_work_is_that_of_its_layers() -> None:
    net = Architecture()

    each = net.layers * (4 * net.width**2 + 2 * net.width * net.ffn + 2 * net.width * 64)

    assert resolved().costs.giga_macs == pytest.approx(64 * each / 1e9)


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"backbone": {"kind": "encoder"}}, "backbone/weights"),
        ({"backbone": {"kind": "encoder", "weights": "wt_00000000"}}, "backbone/architecture"),
        ({"input": {"tokenizer": {"kind": "bpe"}}}, "input/tokenizer/kind"),
        ({"input": {"max_tokens": 513}}, "input/max_tokens"),
        ({"backbone": {"kind": "gru"}, "input": {"tokenizer": {"kind": "pretrained"}}}, "input/tokenizer/kind"),
        ({"backbone": an_encoder(freeze="until:layer7")}, "backbone/freeze"),
        ({"compression": {"prune": {"kind": "structured"}}}, "compression/prune/kind"),
        ({"augmentation": [{"kind": "synonym_replacement"}]}, "augmentation/0"),
    ],
)
def test_what_an_encoder_can_not_have_is_refused_where_it_stands(given: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ValidationError) as refused:
        resolved(**given)

    (error,) = refused.value.errors()
    assert error["ctx"]["pointer"] == pointer


def test_a_file_of_another_kind_or_of_another_net_does_not_fit() -> None:
    no_encoder = Encoder(weights="wt_00000000").described_by({"tensors": 1})
    other_net = Encoder(weights="wt_00000000", architecture=Architecture(layers=12)).described_by(CARD)

    assert isinstance(no_encoder, Misfit)
    assert no_encoder.pointer == "/backbone/weights"
    assert isinstance(other_net, Misfit)
    assert other_net.pointer == "/backbone/architecture"


def test_a_teacher_has_the_same_encoder_where_one_of_both_has_one() -> None:
    spec = resolved()
    other = resolved(backbone=an_encoder(origin={"name": "other", "sha256": "1"})).model_dump(mode="json")
    linear = resolved(backbone={"kind": "nb_linear"})

    misfit = TextRecipe().teacher_misfit

    assert misfit(spec, spec.model_dump(mode="json"), reference="a:1") is None
    assert misfit(linear, linear.model_dump(mode="json"), reference="a:1") is None
    for learner, teacher in ((spec, other), (spec, linear.model_dump(mode="json")), (linear, other)):
        assert misfit(learner, teacher, reference="a:1") is not None
