import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from models_store.spec.pruning import StructuredPruning
from tests.workers.colour_nets import LABELS, SIZE, a_learned_net, a_net, export_net, leaves, torch_probabilities
from workers.compression.prune import PruningImpossible, prune, remove, restructure
from workers.export.sessions import open_session
from workers.tasks.image.net import Classifier
from workers.training.targets import Affine

EXAMPLE = torch.zeros(1, 3, SIZE, SIZE)
BACKBONES = [
    ("small_cnn", 32),
    ("resnet18", 32),
    ("mobilenet_v2", 32),
    ("efficientnet_lite0", 32),
    pytest.param("vgg16", 32, marks=pytest.mark.slow),
]


def widths(net: nn.Module) -> dict[str, int]:
    return {
        name: layer.weight.shape[0] for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)
    }


@pytest.mark.parametrize(("kind", "size"), BACKBONES)
def test_every_backbone_loses_whole_channels_and_can_be_taken_up_in_a_fresh_process(kind: str, size: int) -> None:
    parent = a_net(kind, size=size)
    images_NCHW = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))

    pruned = prune(parent, StructuredPruning(ratio=0.5), example=torch.zeros(1, 3, size, size))
    cuts = json.loads(json.dumps(pruned.cuts))
    taken_up = restructure(a_net(kind, size=size), cuts, example=torch.zeros(1, 3, size, size))
    taken_up.load_state_dict(pruned.net.state_dict(), strict=True)

    facts = pruned.facts
    assert facts.macs_after < 0.6 * facts.macs_before
    assert facts.parameters_after == sum(weight.numel() for weight in pruned.net.parameters())
    assert facts.parameters_before == sum(weight.numel() for weight in parent.parameters())
    assert 0 < facts.channels_removed < facts.channels_before
    with torch.no_grad():
        assert torch.equal(taken_up(images_NCHW), pruned.net(images_NCHW))


def test_the_parent_stays_as_it_was() -> None:
    parent = a_learned_net().train()
    before = copy.deepcopy(parent.state_dict())

    prune(parent, StructuredPruning(), example=EXAMPLE)

    assert parent.training
    assert all(torch.equal(value, before[name]) for name, value in parent.state_dict().items())


def test_the_classes_stay_and_cut_layers_keep_a_multiple_of_the_rounding() -> None:
    parent = a_net("mobilenet_v2", size=32)

    pruned = prune(parent, StructuredPruning(ratio=0.3, round_to=8), example=torch.zeros(1, 3, 32, 32)).net

    before, after = widths(parent), widths(pruned)
    changed = {name for name in before if after[name] != before[name]}
    assert after["head.classes"] == len(LABELS)
    assert len(changed) > 30
    assert all(after[name] % 8 == 0 for name in changed)
    assert all(abs(after[name] - 0.7 * before[name]) <= 4 for name in changed)


def test_the_channels_of_the_smallest_norm_leave() -> None:
    parent = a_net()
    first, second = parent.backbone[0][0], parent.backbone[1][0]
    small = [3, 17, 20, 30]
    with torch.no_grad():
        first.weight[small] *= 0.01
        second.weight[:, small] *= 0.01

    cuts = prune(parent, StructuredPruning(ratio=0.1, round_to=4), example=EXAMPLE).cuts

    assert sorted(cuts[0]["backbone.stage1.0"]) == small


def gradients_of_leaves(net: nn.Module) -> None:
    data = leaves()
    assert isinstance(net, Classifier)
    inputs = net.prepare({"images": torch.from_numpy(data.images_NHWC[data.train])}, None)
    functional.cross_entropy(net(inputs), torch.from_numpy(data.labels_N[data.train])).backward()


SMALL = [3, 17, 20, 30]


def shrink_weights(net: Classifier) -> None:
    net.backbone.stage1[0].weight[SMALL] *= 0.01
    net.backbone.stage2[0].weight[:, SMALL] *= 0.01


def shrink_scales(net: Classifier) -> None:
    net.backbone.stage1[0].weight[SMALL] *= 100
    net.backbone.stage1[1].weight[SMALL] *= 0.01


def shrink_effects(net: Classifier) -> None:
    net.backbone.stage1[0].weight[SMALL] *= 100
    net.backbone.stage2[0].weight[:, SMALL] = 0


@pytest.mark.parametrize("scope", ["uniform", "global"])
@pytest.mark.parametrize(
    ("importance", "plant"),
    [("l2", shrink_weights), ("l1", shrink_weights), ("bn_scale", shrink_scales), ("taylor", shrink_effects)],
)
def test_what_the_importance_finds_small_leaves_first(
    importance: str, plant: Callable[[Classifier], None], scope: str
) -> None:
    parent = a_learned_net()
    with torch.no_grad():
        plant(parent)
    part = StructuredPruning(ratio=0.1, round_to=4, importance=importance, scope=scope)

    cuts = prune(parent, part, example=EXAMPLE, backward=gradients_of_leaves).cuts

    found = cuts[0]["backbone.stage1.0"]
    assert set(SMALL) <= set(found)
    assert len(found) == 4 or scope == "global"


def test_random_channels_differ_by_the_seed_alone() -> None:
    part = StructuredPruning(importance="random")

    first, again, other = (prune(a_net(), part, example=EXAMPLE, seed=seed).cuts for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_ranking_all_layers_together_takes_more_of_some_and_leaves_each_a_tenth() -> None:
    parent = a_net("cifar_resnet18", size=16, width=16)
    block = parent.backbone.layer4[1]
    with torch.no_grad():
        for weight in (block.conv1.weight, block.bn1.weight, block.conv2.weight.transpose(0, 1)):
            weight[:126] *= 0.01
    part = StructuredPruning(ratio=0.5, round_to=4, scope="global")
    pruned = prune(parent, part, example=torch.zeros(1, 3, 16, 16))

    before, after = widths(parent), widths(pruned.net)
    shares = {name: after[name] / before[name] for name in before if name != "head.classes"}
    assert max(shares.values()) - min(shares.values()) > 0.3
    assert min(shares.values()) >= 0.1
    assert after["backbone.layer4.1.conv1"] == 16
    assert all(width % 4 == 0 for name, width in after.items() if name != "head.classes")
    units = {name: len(cut) for name, cut in pruned.cuts[0].items()}
    assert sum(units.values()) == pytest.approx(0.5 * sum(before[name] for name in units), rel=0.1)


def test_batch_norm_scales_need_a_batch_norm() -> None:
    with pytest.raises(PruningImpossible, match="choose another `importance`"):
        prune(a_net(batch_norm=False), StructuredPruning(importance="bn_scale"), example=EXAMPLE)


def test_weights_that_are_not_finite_are_refused_by_name() -> None:
    parent = a_net()
    with torch.no_grad():
        parent.backbone.stage1[0].weight[0] = torch.inf

    with pytest.raises(PruningImpossible, match=r"backbone\.stage1\.0\.weight"):
        prune(parent, StructuredPruning(), example=EXAMPLE)


def test_channels_may_be_left_unaligned() -> None:
    after = widths(prune(a_net(), StructuredPruning(ratio=0.3, round_to=1), example=EXAMPLE).net)

    assert after["backbone.stage1.0"] == 22


def test_pruning_is_repeatable() -> None:
    first, again = (prune(a_learned_net(), StructuredPruning(), example=EXAMPLE) for _ in range(2))

    assert first.cuts == again.cuts
    assert all(
        torch.equal(left, right)
        for left, right in zip(first.net.state_dict().values(), again.net.state_dict().values(), strict=True)
    )


def test_a_frozen_net_is_cut_too_and_comes_back_trainable() -> None:
    parent = a_learned_net()
    parent.freeze("backbone")

    pruned = prune(parent, StructuredPruning(), example=EXAMPLE)

    assert pruned.facts.channels_removed > 0
    assert not pruned.net.frozen
    assert all(weight.requires_grad for weight in pruned.net.parameters())
    assert parent.frozen


def test_pruning_works_where_gradients_are_off() -> None:
    with torch.no_grad():
        pruned = prune(a_learned_net(), StructuredPruning(), example=EXAMPLE)
        restructure(a_net(), pruned.cuts, example=EXAMPLE)

    assert pruned.facts.channels_removed > 0


def test_a_pruned_net_recovers_by_training_and_answers_the_same_from_its_file(tmp_path: Path) -> None:
    data = leaves()
    net = prune(a_learned_net(), StructuredPruning(ratio=0.6), example=EXAMPLE).net
    inputs = net.prepare({"images": torch.from_numpy(data.images_NHWC[data.train])}, None)
    labels = torch.from_numpy(data.labels_N[data.train])
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)

    net.train()
    for _ in range(6):
        optimizer.zero_grad()
        functional.cross_entropy(net(inputs), labels).backward()
        optimizer.step()
    net.eval()
    path = export_net(net, tmp_path / "pruned.onnx")

    images_NHWC = data.images_NHWC[data.val]
    served_NK = open_session(path, device="cpu", threads=1).run(["probabilities"], {"images": images_NHWC})[0]
    np.testing.assert_allclose(served_NK, torch_probabilities(net, images_NHWC), atol=1e-5)
    assert (served_NK.argmax(axis=1) == data.labels_N[data.val]).mean() > 0.9


def test_a_rounding_that_leaves_nothing_to_remove_is_refused_with_a_way_out() -> None:
    narrow = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 30 * 30, 3))

    with pytest.raises(PruningImpossible, match="round_to") as caught:
        prune(narrow, StructuredPruning(ratio=0.3, round_to=16), example=EXAMPLE)

    assert caught.value.as_problem()["code"] == "pruning_impossible"


def test_a_net_without_a_linear_layer_is_refused() -> None:
    with pytest.raises(PruningImpossible, match="linear layer"):
        prune(nn.Conv2d(3, 32, 3), StructuredPruning(), example=EXAMPLE)


class WithItsWidthWrittenDown(nn.Module):
    """A net whose forward pass counts on a number of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.classes = nn.Conv2d(3, 32, 3), nn.Linear(32, 3)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        return self.classes(self.convolution(images_NCHW).view(-1, 32, 30 * 30).mean(dim=2))


def test_a_net_that_would_not_run_after_the_cut_is_refused() -> None:
    with pytest.raises(PruningImpossible, match="another backbone") as caught:
        prune(WithItsWidthWrittenDown(), StructuredPruning(), example=EXAMPLE)

    assert "`unstructured_l1`" in caught.value.detail
    assert "[" not in caught.value.detail  # of a library's shapes


def test_a_cut_that_leaves_a_layer_without_a_channel_is_refused_by_its_name() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 30 * 30, 3))

    with pytest.raises(PruningImpossible, match=r"2 of its layers would have none left \('0', '3'\)"):
        remove(net, {"0": list(range(8))}, example=EXAMPLE)


def a_vision_transformer() -> nn.Module:
    from torchvision.models.vision_transformer import VisionTransformer  # noqa: PLC0415  it takes seconds to import

    torch.manual_seed(0)
    net = VisionTransformer(SIZE, 16, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=3)
    nn.init.normal_(net.heads.head.weight)
    return net.eval()


def a_swin() -> nn.Module:
    from torchvision.models.swin_transformer import SwinTransformer  # noqa: PLC0415  as above

    torch.manual_seed(0)
    return SwinTransformer([4, 4], embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=[4, 4]).eval()


@pytest.mark.parametrize("make", [a_vision_transformer, a_swin])
def test_of_a_transformer_hidden_units_leave_and_its_width_stays(make: Callable[[], nn.Module]) -> None:
    parent = make()

    pruned = prune(parent, StructuredPruning(ratio=0.5), example=EXAMPLE)
    taken_up = restructure(make(), json.loads(json.dumps(pruned.cuts)), example=EXAMPLE)

    before, after = widths(parent), widths(pruned.net)
    images_NCHW = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    assert {name for name in before if after[name] != before[name]} == set(pruned.cuts[0])
    assert len(pruned.cuts[0]) in {2, 4}
    assert all(after[name] == before[name] / 2 for name in pruned.cuts[0])
    with torch.no_grad():
        assert torch.equal(taken_up(images_NCHW), pruned.net(images_NCHW))


def test_heads_leave_whole_and_the_others_answer_as_before() -> None:
    parent = a_net("timm:vit_tiny_patch16_224")
    silent = copy.deepcopy(parent)
    images_NCHW = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))

    pruned = prune(parent, StructuredPruning(ratio=0.3, round_to=64), example=EXAMPLE)

    cut = pruned.cuts[0]
    with torch.no_grad():
        for name, units in cut.items():
            module = silent.get_submodule(name)
            if name.endswith("attn"):
                places = [head * 64 + place for head in units for place in range(64)]
                module.proj.weight[:, places] = 0
            else:
                silent.get_submodule(name.replace("fc1", "fc2")).weight[:, units] = 0
        torch.testing.assert_close(pruned.net(images_NCHW), silent(images_NCHW), atol=1e-5, rtol=1e-4)
    assert cut["backbone.blocks.0.attn"] in [[0], [1], [2]]
    assert pruned.net.backbone.blocks[0].attn.num_heads == 2
    assert widths(pruned.net)["backbone.blocks.0.attn.qkv"] == 3 * 128


def test_a_net_of_one_linear_layer_is_refused() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 3))

    with pytest.raises(PruningImpossible, match="no channels"):
        prune(net, StructuredPruning(), example=EXAMPLE)


def test_a_net_that_gives_numbers_is_cut_below_its_unit() -> None:
    parent = a_net()
    parent.head.add_module("unit", Affine(scale=30.0, shift=2000.0))

    pruned = prune(parent, StructuredPruning(ratio=0.5), example=EXAMPLE)
    taken_up = restructure(parent, json.loads(json.dumps(pruned.cuts)), example=EXAMPLE)
    taken_up.load_state_dict(pruned.net.state_dict(), strict=True)

    images_NCHW = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        answered = pruned.net(images_NCHW)
        assert torch.equal(answered, taken_up(images_NCHW))
    assert 1000 < float(answered.mean()) < 3000
