from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.workers.tasks.text.text_nets import a_text_net, a_text_spec, exported, some_texts, with_large_weights
from workers.export.sessions import answer, open_session
from workers.tasks.text.task import TEXT
from workers.training.learner import save

SMALL: dict[str, dict[str, Any]] = {
    "text_cnn": {"kind": "text_cnn", "embedding": 16, "kernels": [1, 3], "filters": 8},
    "rnn": {"kind": "rnn", "embedding": 16, "width": 8, "pooling": "mean"},
    "lstm": {"kind": "lstm", "embedding": 16, "width": 8, "layers": 2, "pooling": "attention", "dropout": 0.2},
    "one-way lstm": {"kind": "lstm", "embedding": 16, "width": 8, "bidirectional": False, "pooling": "last"},
    "gru": {"kind": "gru", "embedding": 16, "width": 8, "pooling": "last"},
    "one-way gru": {"kind": "gru", "embedding": 16, "width": 8, "bidirectional": False, "pooling": "max"},
    "transformer": {"kind": "transformer", "embedding": 16, "heads": 2, "ffn": 32, "pooling": "attention"},
    "deep transformer": {"kind": "transformer", "embedding": 24, "heads": 3, "ffn": 16, "layers": 3, "pooling": "max"},
}
LENGTHS = [1, 7, 0, 33, 2, 61]


@pytest.mark.parametrize("name", SMALL)
def test_padding_and_neighbours_change_no_answer_of_net_or_file(name: str, tmp_path: Path) -> None:
    spec = a_text_spec(backbone=SMALL[name])
    net = with_large_weights(a_text_net(spec)).eval()
    together_NL = some_texts(LENGTHS)

    session = open_session(exported(net, spec, tmp_path / "net.onnx"), device="cpu", threads=1)

    with torch.no_grad():
        trained_NK = net(torch.from_numpy(together_NL)).softmax(dim=1).numpy()
    served_NK = answer(session, {"code_points": together_NL})
    wider_NK = answer(session, {"code_points": np.pad(together_NL, ((0, 0), (0, 40)))})
    single = [together_NL[row, None, : max(1, length)] for row, length in enumerate(LENGTHS)]
    alone_NK = np.concatenate([answer(session, {"code_points": text_1L}) for text_1L in single])
    assert np.ptp(served_NK[:, 0]) > 0.01, "answers that are all alike prove nothing"
    for other_NK in (trained_NK, wider_NK, alone_NK):
        assert np.abs(served_NK - other_NK).max() < 1e-5


@pytest.mark.parametrize("name", SMALL)
def test_a_net_comes_back_from_its_weights(name: str, tmp_path: Path) -> None:
    spec = a_text_spec(backbone=SMALL[name])
    net = with_large_weights(a_text_net(spec)).eval()

    restored = TEXT.restore(spec, save(net, tmp_path / "weights.safetensors"), class_count=2).eval()

    code_points_NL = torch.from_numpy(some_texts(LENGTHS))
    assert torch.equal(restored(code_points_NL), net(code_points_NL))


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_belongs_to_a_stage_and_learns(name: str) -> None:
    spec = a_text_spec(backbone=SMALL[name])
    net = a_text_net(spec)

    net(torch.from_numpy(some_texts(LENGTHS))).square().sum().backward()

    assert tuple(stage for stage, _ in net.stages) == spec.backbone.stages
    prefixes = tuple(prefix for _, found in net.stages for prefix in found)
    assert all(name.startswith(prefixes) for name, _ in net.backbone.named_parameters())
    assert all(weight.grad is not None for weight in net.parameters())


def test_the_order_of_the_tokens_counts() -> None:
    for part in SMALL.values():
        net = with_large_weights(a_text_net(a_text_spec(backbone=part))).eval()
        text_1L = torch.from_numpy(some_texts([9]))

        assert not torch.allclose(net(text_1L), net(text_1L.flip(1)), atol=1e-4) or part.get("kernels") == [1]


def test_dropout_acts_on_embeddings_and_between_layers_in_training_alone() -> None:
    for extra in ({"embedding_dropout": 0.5}, {"dropout": 0.5}):
        net = a_text_net(a_text_spec(backbone=SMALL["gru"] | extra, regularizers=[]))
        text_1L = torch.from_numpy(some_texts([9]))

        assert not torch.equal(net.train()(text_1L), net.train()(text_1L))
        assert torch.equal(net.eval()(text_1L), net.eval()(text_1L))


def test_branches_of_a_transformer_are_left_out_in_training_alone() -> None:
    part = SMALL["transformer"] | {"dropout": 0.0}
    net = a_text_net(a_text_spec(backbone=part, regularizers=[{"kind": "drop_path", "probability": 0.5}]))
    text_1L = torch.from_numpy(some_texts([9]))

    answers = {net.train()(text_1L)[0, 0].item() for _ in range(16)}

    assert len(answers) > 1
    assert torch.equal(net.eval()(text_1L), net.eval()(text_1L))
