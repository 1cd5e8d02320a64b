from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models_store.tasks.image.spec import ResolvedImageSpec
from tests.samples import a_train_spec
from workers.tasks.image import net as task
from workers.tasks.image.examples import INPUT
from workers.tasks.image.net import Classifier
from workers.training.learner import save
from workers.training.stored_weights import WeightsUnfit

SMALL = {"kind": "small_cnn", "widths": [4, 8], "dense_size": 16}


def a_spec(**changes: Any) -> ResolvedImageSpec:
    return a_train_spec(**{"backbone": SMALL} | changes)


def build(spec: ResolvedImageSpec, *, classes: int = 3, initial_weights: Path | None = None) -> Classifier:
    return task.build(spec, class_count=classes, weights_dir=Path("unused"), initial_weights=initial_weights)


def backbone_of(net: Classifier) -> dict[str, Tensor]:
    return net.backbone.state_dict()


def test_a_saved_net_is_restored_whole(tmp_path: Path) -> None:
    spec = a_spec(seed=7, backbone=SMALL | {"weights": "leaves:1", "freeze": "backbone"}, head={"hidden_sizes": [5]})
    start = save(build(a_spec()), tmp_path / "start")
    net = build(spec, initial_weights=start)
    images_BCHW = torch.rand(2, 3, 32, 32)

    restored = task.restore(spec, save(net, tmp_path / "net"), class_count=3)

    assert torch.equal(restored.eval()(images_BCHW), net.eval()(images_BCHW))


def test_a_net_starts_from_another_ones_backbone_with_a_head_of_its_own(tmp_path: Path) -> None:
    source = build(a_spec(), classes=7)
    spec = a_spec(seed=1, backbone=SMALL | {"weights": "leaves:1"}, head={"hidden_sizes": [5]})

    net = build(spec, classes=2, initial_weights=save(source, tmp_path / "source"))

    assert all(torch.equal(value, backbone_of(source)[name]) for name, value in backbone_of(net).items())
    assert net(torch.rand(1, 3, 32, 32)).shape == (1, 2)


def test_a_grey_net_starts_from_a_coloured_one(tmp_path: Path) -> None:
    source = build(a_spec())
    spec = a_spec(backbone=SMALL | {"weights": "leaves:1"}, input={"size": 32, "channels": 1})
    grey_B1HW = torch.randn(2, 1, 32, 32)

    net = build(spec, initial_weights=save(source, tmp_path / "source"))

    features_BF, expected_BF = net.eval().features(grey_B1HW), source.eval().features(grey_B1HW.expand(-1, 3, -1, -1))
    assert torch.allclose(features_BF, expected_BF, atol=1e-4)


def test_another_nets_weights_are_refused_by_the_name_that_the_spec_has_for_them(tmp_path: Path) -> None:
    source = build(a_spec(backbone=SMALL | {"widths": [4, 16]}))
    spec = a_spec(backbone=SMALL | {"weights": "leaves:1"})

    with pytest.raises(WeightsUnfit, match=r"leaves:1 has 'stage2\.0\.weight' as \(16, 4, 3, 3\)"):
        build(spec, initial_weights=save(source, tmp_path / "source"))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_raw_images_of_any_channels_become_its_input(channels: int) -> None:
    net = build(a_spec(input={"size": 32, "channels": channels}))
    raw_BHWC = torch.randint(0, 256, (2, 32, 32, channels), dtype=torch.uint8)

    inputs_BCHW = net.prepare({INPUT: raw_BHWC}, None)

    assert net(inputs_BCHW).shape == (2, 3)
    assert len(net.mean) == len(net.std) == channels
    assert inputs_BCHW.abs().max() <= 1
