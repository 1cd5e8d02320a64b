from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn.utils import prune as torch_prune

from models_store.spec.pruning import NM, UnstructuredL1
from tests.samples import a_train_spec
from tests.workers.colour_nets import a_learned_net, a_net, export_net, leaves, torch_probabilities
from tests.workers.training_runs import DiskCheckpoints, Recorder, a_small_classifier, run, same_weights, some_arrays
from workers.compression.prune import PruningImpossible
from workers.compression.sparsity import Masks, facts_of, hold, masks_of, settle, zeros_of
from workers.export.sessions import open_session
from workers.process.progress import Drained

HALF = UnstructuredL1(ratio=0.5)

TRAININGS: dict[str, dict[str, Any]] = {
    "adamw with an average of the weights": {
        "optimizer": {"kind": "adamw", "weight_decay": 0.1},
        "regularizers": [{"kind": "ema"}],
    },
    "sgd with momentum, at the sharpest place": {
        "optimizer": {"kind": "sgd", "momentum": 0.9},
        "regularizers": [{"kind": "sam", "adaptive": True}, {"kind": "swa", "start": 0.3}],
    },
    "muon, whose steps mix the weights": {"optimizer": {"kind": "muon"}},
    "schedule-free, with penalties": {
        "optimizer": {"kind": "schedule_free_adamw"},
        "regularizers": [{"kind": "l1"}, {"kind": "l2", "decoupled": True}, {"kind": "max_norm", "limit": 0.5}],
    },
    "bf16": {"training": {"epochs": 2, "batch_size": 16, "precision": "bf16"}},
}


def weights_of(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value for name, value in net.state_dict().items() if name.endswith("weight") and value.ndim > 1}


def zeros(masks: Masks) -> int:
    return sum(int((~kept).sum()) for kept in masks.values())


def test_the_smallest_weights_of_all_layers_together_leave_as_torch_s_own_pruning_does_it() -> None:
    net, theirs = a_learned_net(), a_learned_net()
    layers = [(layer, "weight") for layer in theirs.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]

    masks = masks_of(net, UnstructuredL1(ratio=0.7))
    torch_prune.global_unstructured(layers, pruning_method=torch_prune.L1Unstructured, amount=0.7)

    assert list(masks) == list(weights_of(net))
    for kept, (layer, _) in zip(masks.values(), layers, strict=True):
        assert torch.equal(kept, layer.weight_mask.bool())


def test_the_share_is_exact_where_many_weights_are_equal() -> None:
    net = nn.Linear(10, 10)
    nn.init.constant_(net.weight, 0.5)

    assert zeros(masks_of(net, UnstructuredL1(ratio=0.37))) == 37


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (4, 8)])
def test_each_group_of_input_channels_keeps_its_largest_weights(n: int, m: int) -> None:
    net = nn.Conv2d(16, 5, 3)

    kept = masks_of(net, NM(n=n, m=m))["weight"]

    for output, group, row, column in np.ndindex(5, 16 // m, 3, 3):
        channels = slice(group * m, (group + 1) * m)
        sizes, stay = net.weight[output, channels, row, column].abs(), kept[output, channels, row, column]
        assert int(stay.sum()) == n
        assert sizes[stay].min() > sizes[~stay].max()


def test_what_fills_no_group_stays_dense_and_is_told() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(10, 2))
    part = NM(n=2, m=4)

    masks = masks_of(net, part)
    facts = facts_of(part, masks)

    assert masks["0.weight"].all()
    assert masks["1.weight"].all()
    assert masks["3.weight"][:, 8:].all()
    assert zeros(masks) == 8
    assert facts.size_only
    assert facts.as_card() == {
        "kind": "n_m",
        "weights": 8 * 3 * 9 + 8 * 9 + 20,
        "zeros": 8,
        "sparsity": 8 / (8 * 3 * 9 + 8 * 9 + 20),
        "dense_weights": 8 * 3 * 9 + 8 * 9 + 4,
    }


def test_attention_s_projections_are_pruned_too() -> None:
    net = nn.MultiheadAttention(8, 2, batch_first=True)
    masks = masks_of(net, HALF)

    held = hold(net, masks).eval()
    images = torch.randn(1, 3, 8)
    answered = held(images, images, images)[0]

    assert set(masks) == {"in_proj_weight", "out_proj.weight"}
    assert torch.equal(settle(held)(images, images, images)[0], answered)
    assert torch.equal(held.in_proj_weight == 0, ~masks["in_proj_weight"])


@pytest.mark.parametrize("changes", TRAININGS.values(), ids=TRAININGS)
@pytest.mark.parametrize("part", [UnstructuredL1(ratio=0.6), NM(n=1, m=2)], ids=["unstructured", "n:m"])
def test_what_was_removed_stays_removed_in_training(part: UnstructuredL1 | NM, changes: dict[str, Any]) -> None:
    spec = a_train_spec(**changes)
    parent = a_small_classifier(spec)
    masks = masks_of(parent, part)

    held = hold(parent, masks)
    before = {name: weight.clone() for name, weight in weights_of(settle(hold(parent, masks))).items()}
    trained = settle(run(spec, some_arrays(), classifier=held).learner)

    for name, weight in weights_of(trained).items():
        assert not weight[~masks[name]].any()
        assert (weight != before[name])[masks[name]].any()
    assert set(trained.state_dict()) == set(parent.state_dict())
    assert zeros(zeros_of(trained)) == zeros(masks)


def test_muon_takes_the_same_weights_of_a_held_net() -> None:
    spec = a_train_spec(optimizer={"kind": "muon", "weight_decay": 0.0})
    parent = a_small_classifier(spec)
    everything = {name: torch.ones_like(kept) for name, kept in masks_of(parent, HALF).items()}

    held = settle(run(spec, some_arrays(), classifier=hold(parent, everything)).learner)
    plain = run(spec, some_arrays(), classifier=a_small_classifier(spec)).learner

    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in held.state_dict().items())


def test_a_resumed_recovery_ends_with_the_weights_of_one_that_did_not_stop() -> None:
    spec = a_train_spec(regularizers=[{"kind": "ema"}])
    parent = a_small_classifier(spec)
    masks = masks_of(parent, HALF)
    checkpoints = DiskCheckpoints()

    whole = run(spec, some_arrays(), classifier=hold(parent, masks)).learner
    with pytest.raises(Drained):
        run(
            spec,
            some_arrays(),
            classifier=hold(parent, masks),
            reporter=Recorder(stop_after=3),
            checkpoints=checkpoints,
        )
    resumed = run(spec, some_arrays(), classifier=hold(parent, masks), checkpoints=checkpoints).learner

    assert same_weights(settle(whole), settle(resumed))


def test_the_parent_stays_as_it_was_and_the_file_holds_zeros_and_no_masks(tmp_path: Path) -> None:
    parent, images_NHWC = a_learned_net(), leaves().images_NHWC[:8]
    masks = masks_of(parent, UnstructuredL1(ratio=0.9))

    pruned = settle(hold(parent, masks))
    path = export_net(pruned, tmp_path / "pruned.onnx")

    assert same_weights(parent, a_learned_net())
    tensors = {each.name: numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}
    floats = [tensor for tensor in tensors.values() if tensor.dtype == np.float32 and tensor.ndim > 1]
    assert sum(int((tensor == 0).sum()) for tensor in floats) == zeros(masks)
    served_NK = open_session(path, device="cpu", threads=1).run(["probabilities"], {"images": images_NHWC})[0]
    np.testing.assert_allclose(served_NK, torch_probabilities(pruned, images_NHWC), atol=1e-5)


@pytest.mark.parametrize(
    ("net", "part", "match"),
    [
        (nn.BatchNorm2d(3), HALF, "no convolution"),
        (nn.Linear(2, 2), UnstructuredL1(ratio=0.1), "raise `ratio`"),
        (nn.Conv2d(3, 8, 3), NM(n=2, m=4), "lower `m`"),
    ],
    ids=["no layer", "less than one weight", "no group"],
)
def test_what_can_not_be_pruned_is_refused_with_a_way_out(
    net: nn.Module, part: UnstructuredL1 | NM, match: str
) -> None:
    with pytest.raises(PruningImpossible, match=match):
        masks_of(net, part)


def test_weights_that_are_no_numbers_are_refused_by_name() -> None:
    net = a_net()
    with torch.no_grad():
        net.head.classes.weight[0, 0] = torch.nan

    with pytest.raises(PruningImpossible, match=r"head\.classes\.weight"):
        masks_of(net, HALF)
