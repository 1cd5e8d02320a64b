"""Losses, regularizers, optimizers and schedules of any task, on nets of texts: each kind trains one, or is refused."""

from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from models_store.spec.optimizer import Optimizer
from models_store.spec.regularizer import Regularizer
from models_store.spec.schedule import Schedule
from models_store.tasks.text.spec import ResolvedTextSpec
from models_store.tasks.text.tokenizers.fitting import fit
from tests.workers.tasks.text.text_nets import a_text_spec, some_texts
from tests.workers.training_runs import CPU, DiskCheckpoints, Recorder, ticking
from workers.tasks.text.examples import TextExamples, string_of
from workers.tasks.text.task import TEXT
from workers.training import loop
from workers.training.learner import Learner, save

GRU = {"kind": "gru", "embedding": 8, "width": 4}
TRAINING = {"epochs": 2, "batch_size": 8, "precision": "fp32"}
REFUSED = {"drop_path": "gru has no residual branches", "l2_sp": "l2_sp needs pretrained weights"}
COUNT = 40


def kinds(union: Any) -> list[str]:
    return [part.model_fields["kind"].default for part in get_args(get_args(union)[0])]


def some_examples(spec: ResolvedTextSpec) -> TextExamples:
    texts_NL = some_texts([3 + row % 30 for row in range(COUNT)])
    return TextExamples(
        inputs={"code_points": texts_NL},
        padded=("code_points",),
        targets=np.arange(COUNT) % 2,
        splits_N=np.where(np.arange(COUNT) < 32, "train", "val"),
        classes=["good", "bad"],
        tokenizer=fit(spec.input.tokenizer, map(string_of, texts_NL)),
    )


def trained(spec: ResolvedTextSpec, *, teacher: Learner | None = None) -> tuple[Learner, Learner]:
    """Return a net before training and after it."""
    examples = some_examples(spec)
    before, net = (TEXT.build(spec, class_count=2, weights_dir=None, examples=examples) for _ in "ab")
    done = loop.train(
        net,
        examples,
        spec=spec,
        device=CPU,
        reporter=Recorder(),
        checkpoints=DiskCheckpoints(),
        clock=ticking(),
        teacher=teacher,
    )
    assert np.isfinite([row["val_loss"] for row in done.history]).all()
    return before, net


def has_learned(before: Learner, net: Learner) -> bool:
    return not torch.equal(*(each.get_parameter("backbone.embedded.embedding.weight") for each in (before, net)))


@pytest.mark.parametrize("kind", kinds(Regularizer))
def test_each_regularizer_works_or_is_refused_by_name(kind: str) -> None:
    asked = {"backbone": GRU, "regularizers": [{"kind": kind}], "training": TRAINING}

    if kind in REFUSED:
        with pytest.raises(ValidationError, match=REFUSED[kind]):
            a_text_spec(**asked)
    else:
        assert has_learned(*trained(a_text_spec(**asked)))


@pytest.mark.parametrize("kind", kinds(Optimizer))
def test_each_optimizer_trains_embeddings_and_recurrent_layers(kind: str) -> None:
    schedule = {"kind": "constant"}
    spec = a_text_spec(backbone=GRU, optimizer={"kind": kind}, schedule=schedule, regularizers=[], training=TRAINING)

    assert has_learned(*trained(spec))


@pytest.mark.parametrize("kind", kinds(Schedule))
def test_each_schedule_trains(kind: str) -> None:
    assert has_learned(*trained(a_text_spec(backbone=GRU, schedule={"kind": kind}, training=TRAINING)))


@pytest.mark.parametrize(
    "loss",
    [
        {"kind": "cross_entropy", "label_smoothing": 0.1, "class_weights": "balanced"},
        {"kind": "focal"},
        {"kind": "poly1"},
        {"kind": "binary_cross_entropy"},
    ],
)
def test_each_loss_trains(loss: dict[str, Any]) -> None:
    assert has_learned(*trained(a_text_spec(backbone=GRU, loss=loss, training=TRAINING)))


def test_gradients_are_clipped_and_training_stops_early() -> None:
    stopping = {"patience": 1, "min_delta": 100.0}
    training = TRAINING | {"epochs": 9, "clip_grad_norm": 1.0, "clip_grad_value": 0.5, "early_stopping": stopping}
    spec = a_text_spec(backbone=GRU, training=training)
    reporter = Recorder()
    examples = some_examples(spec)
    net = TEXT.build(spec, class_count=2, weights_dir=None, examples=examples)

    done = loop.train(
        net, examples, spec=spec, device=CPU, reporter=reporter, checkpoints=DiskCheckpoints(), clock=ticking()
    )

    assert len(done.history) == 2


def test_a_net_learns_from_one_of_another_kind() -> None:
    large = a_text_spec(backbone={"kind": "lstm", "embedding": 8, "width": 8}, training=TRAINING)
    _, teacher = trained(large)
    small = a_text_spec(backbone=GRU, distillation={"teacher": "large:1", "features_weight": 1.0}, training=TRAINING)

    assert has_learned(*trained(small, teacher=teacher))


def test_padding_is_no_part_of_what_is_trained(tmp_path: Any) -> None:
    _, net = trained(a_text_spec(backbone=GRU, training=TRAINING))

    assert not net.get_parameter("backbone.embedded.embedding.weight")[0].any()
    assert save(net, tmp_path / "net").exists()
