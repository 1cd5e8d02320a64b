from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from models_store.tasks.image.backbones.backbone import KINDS, Backbone
from models_store.tasks.image.backbones.network import Network
from models_store.tasks.image.backbones.own import CifarResNet18, SmallCnn
from workers.tasks.image import backbones

LIGHT = ["small_cnn", "cifar_resnet18", "resnet18", "mobilenet_v2", "timm:resnet26d"]
NEEDS_MEMORY = {"regnet_y_400mf", "regnet_y_1_6gf"}  # torchvision computes their widths with tensors


def a_part(kind: str, **fields: Any) -> Network:
    part: Network = TypeAdapter(Backbone).validate_python({"kind": kind, "weights": None} | fields)
    return part


def build(
    part: Network, *, channels: int = 3, weights_dir: Path = Path("unused"), size: int = 32, drop_path: float = 0.0
) -> backbones.Backbone:
    return backbones.build(part, size=size, channels=channels, weights_dir=weights_dir, drop_path=drop_path)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_gives_the_features_that_it_promises_and_its_stages_cover_it(kind: str) -> None:
    part = a_part(kind)
    size = part.smallest_size
    with torch.device("cpu" if kind in NEEDS_MEMORY else "meta"):  # the shapes alone, wherever that is possible
        backbone = build(part, size=size, channels=4)
        features_BF = backbone.net.eval()(torch.rand(2, 4, size, size))

    owners = [
        [stage for stage, prefixes in backbone.stages for prefix in prefixes if f"{name}.".startswith(f"{prefix}.")]
        for name, _ in backbone.net.named_parameters()
    ]

    assert features_BF.shape == (2, backbone.feature_count)
    assert tuple(stage for stage, _ in backbone.stages) == part.stages
    assert [len(each) for each in owners] == [1] * len(owners)
    assert {stage for each in owners for stage in each} == set(part.stages)


def test_a_small_cnn_of_one_size_takes_the_weights_of_another() -> None:
    trained, larger = (build(SmallCnn(widths=[4, 4, 4], dense_size=8), size=size).net for size in (32, 64))

    larger.load_state_dict(trained.state_dict())

    assert larger.eval()(torch.rand(2, 3, 64, 64)).shape == (2, 8)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", LIGHT)
def test_a_backbone_from_scratch_takes_grey_colours_and_alpha(kind: str, channels: int) -> None:
    backbone = build(a_part(kind), channels=channels)

    features_BF = backbone.net.eval()(torch.rand(2, channels, 32, 32))

    assert features_BF.shape == (2, backbone.feature_count)
    assert features_BF.isfinite().all()


@pytest.mark.parametrize("kind", ["cifar_resnet18", "convnext_tiny", "efficientnet_lite0", "timm:repvgg_a0"])
def test_dropped_paths_make_training_random_and_leave_answers_alone(kind: str) -> None:
    images_BCHW = torch.rand(8, 3, 32, 32)
    net = build(a_part(kind), drop_path=0.9).net
    for name, parameter in net.named_parameters():
        if "layer_scale" in name or name.endswith("bn2.weight"):
            nn.init.ones_(parameter)  # branches begin near zero

    answers = [net.train(is_training)(images_BCHW) for is_training in (True, True, False, False)]

    assert not torch.allclose(answers[0], answers[1])
    assert torch.equal(answers[2], answers[3])


@pytest.mark.parametrize("size", [16, 28, 64, 100, 256])
def test_the_small_cnn_takes_any_size_without_growing_out_of_hand(size: int) -> None:
    net = build(SmallCnn(), size=size).net

    assert net.eval()(torch.rand(1, 3, size, size)).shape == (1, 512)
    assert sum(parameter.numel() for parameter in net.parameters()) < 20_000_000


def test_the_small_cnn_has_the_structure_that_is_asked_for() -> None:
    part = SmallCnn(
        widths=[8, 16], depth=2, kernel_size=5, activation="silu", batch_norm=False, dense_size=None, weights=None
    )

    backbone = build(part, channels=1)

    convolutions = [layer for layer in backbone.net.modules() if isinstance(layer, nn.Conv2d)]
    assert [(layer.in_channels, layer.out_channels) for layer in convolutions] == [(1, 8), (8, 8), (8, 16), (16, 16)]
    assert {layer.kernel_size for layer in convolutions} == {(5, 5)}
    assert sum(isinstance(layer, nn.SiLU) for layer in backbone.net.modules()) == 4
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in backbone.net.modules())
    assert backbone.feature_count == 16
    assert part.stages == ("stage1", "stage2")


def test_the_cifar_resnet_keeps_small_images_large_and_grows_with_its_width() -> None:
    narrow = build(CifarResNet18(width=8))
    stem_BCHW = narrow.net.get_submodule("stem")(torch.rand(1, 3, 32, 32))

    assert stem_BCHW.shape == (1, 8, 32, 32)
    assert narrow.feature_count == 64
    assert build(CifarResNet18(width=16)).feature_count == 128
