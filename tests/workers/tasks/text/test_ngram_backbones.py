"""Nets on n-grams: what they take from the training texts, and that their file answers as they do."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from tests.workers.tasks.text.ngram_nets import KINDS, TEXTS, TRAINING, net_of, spec_of, with_weights
from tests.workers.tasks.text.text_nets import a_text_spec, exported
from workers.export.sessions import answer, open_session
from workers.tasks.text.augmentations.letters import codes_of
from workers.tasks.text.task import TEXT
from workers.training.learner import save


@pytest.mark.parametrize("name", KINDS)
def test_padding_and_neighbours_change_no_answer_of_net_or_file(name: str, tmp_path: Path) -> None:
    spec = spec_of(name)
    net = with_weights(net_of(spec))
    together = codes_of(TEXTS)

    session = open_session(exported(net, spec, tmp_path / "net.onnx"), device="cpu", threads=1)

    with torch.no_grad():
        trained = net(torch.from_numpy(together)).softmax(dim=1).numpy()
    served = answer(session, {"code_points": together})
    wider = answer(session, {"code_points": np.pad(together, ((0, 0), (0, 40)))})
    alone = np.concatenate([answer(session, {"code_points": codes_of([text])}) for text in TEXTS])
    assert np.ptp(served[:, 0]) > 0.01, "answers that are all alike prove nothing"
    for other in (trained, wider, alone):
        assert np.abs(served - other).max() < 1e-5


@pytest.mark.parametrize(("hidden_sizes", "columns"), [([], 2), ([4], 8)])
def test_a_file_has_scores_of_n_grams_in_place_of_embeddings_where_one_layer_follows(
    hidden_sizes: list[int], columns: int, tmp_path: Path
) -> None:
    spec = spec_of("ngram_bag", head={"hidden_sizes": hidden_sizes})
    net = with_weights(net_of(spec))
    path = exported(net, spec, tmp_path / "net.onnx")

    served = answer(open_session(path, device="cpu", threads=1), {"code_points": codes_of(TEXTS)})

    tables = [each for each in onnx.load(path).graph.initializer if len(each.dims) == 2 and each.data_type == 1]
    assert max(tables, key=lambda each: each.dims[0]).dims[1] == columns
    with torch.no_grad():
        assert np.abs(served - net(torch.from_numpy(codes_of(TEXTS))).softmax(dim=1).numpy()).max() < 1e-5


@pytest.mark.parametrize("name", KINDS)
def test_a_net_comes_back_from_its_weights(name: str, tmp_path: Path) -> None:
    spec = spec_of(name)
    net = with_weights(net_of(spec))

    restored = TEXT.restore(spec, save(net, tmp_path / "weights.safetensors"), class_count=2).eval()

    code_points = torch.from_numpy(codes_of(TEXTS))
    assert torch.equal(restored(code_points), net(code_points))


@pytest.mark.parametrize("name", KINDS)
def test_every_weight_belongs_to_a_stage_and_learns(name: str) -> None:
    spec = spec_of(name)
    net = net_of(spec)

    net(torch.from_numpy(codes_of(TRAINING))).square().sum().backward()

    assert tuple(stage for stage, _ in net.stages) == spec.backbone.stages
    assert all(weight.grad is not None for weight in net.parameters())


@pytest.mark.parametrize("name", ["tfidf_linear", "nb_linear", "ngram_bag"])
def test_a_text_without_a_known_n_gram_gets_the_bias_alone(name: str) -> None:
    net = with_weights(net_of(spec_of(name)))

    empty, unknown = net(torch.from_numpy(codes_of(["", "zzz"])))

    assert torch.equal(empty, unknown)


def test_words_of_a_class_count_for_it_from_the_first_step() -> None:
    net = net_of(spec_of("words alone"))
    with torch.no_grad():
        net.get_parameter("backbone.table").fill_(1.0)

    good, bad = net.eval()(torch.from_numpy(codes_of(["good", "bad"])))

    assert good[0] > 0 > good[1]
    assert bad[1] > 0 > bad[0]


def test_rare_n_grams_count_more_than_frequent_ones() -> None:
    net = net_of(
        spec_of(
            "tfidf_linear",
        )
    )
    with torch.no_grad():
        net.get_parameter("backbone.table").fill_(1.0)
    known = net.backbone.known

    frequent, rare = (int(known(torch.from_numpy(codes_of([text])))[0, 0]) for text in "ds")

    assert net.backbone.factor[rare] > net.backbone.factor[frequent] > 1


@pytest.mark.parametrize(("given", "count"), [({"min_count": 2}, "fewer"), ({"vocabulary": 100}, 100)])
def test_rare_n_grams_are_left_out(given: dict[str, Any], count: Any) -> None:
    spec = a_text_spec(
        backbone=KINDS["tfidf_linear"] | given, input={"tokenizer": {"kind": "code_points"}, "max_tokens": 64}
    )
    everything = net_of(spec_of("tfidf_linear")).backbone.known.size

    size = net_of(spec).backbone.known.size

    assert 1 < size < everything
    assert count == "fewer" or size == count + 1


def test_each_member_of_an_ensemble_learns_from_a_loss_of_its_own() -> None:
    net = with_weights(net_of(spec_of("ensemble")))
    code_points = torch.from_numpy(codes_of(TEXTS))

    apart = net.apart(code_points)

    assert len(apart) == 3
    assert torch.allclose(torch.stack(apart).mean(0), net(code_points), atol=1e-6)
    assert not torch.allclose(apart[0], apart[1])
    assert len(with_weights(net_of(spec_of("nb_linear"))).apart(code_points)) == 1
