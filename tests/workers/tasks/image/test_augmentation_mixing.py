import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models_store.spec.part import Part
from models_store.tasks.image.augmentation import CutMix, Mixup, RandomFlip
from tests.workers.tasks.image.smooth_images import seeded
from workers.tasks.image.augmentations import augment, mix

COUNT, SIDE = 200, 16


def numbered(count: int = COUNT) -> tuple[Tensor, Tensor]:
    """Return images each of one value of its own, and its number one-hot: what was mixed can be read off."""
    values = torch.arange(count) / count
    images = values.view(-1, 1, 1, 1).expand(-1, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    return images, functional.one_hot(torch.arange(count)).float()


@pytest.mark.parametrize("part", [Mixup(), CutMix()], ids=lambda part: part.kind)
def test_an_image_is_mixed_in_the_proportion_that_its_target_says(part: Part) -> None:
    images, targets = numbered()

    mixed, mixed_targets = mix(images.clone(), targets, [part], generator=seeded())

    expected = mixed_targets @ images[:, 0, 0, 0]
    assert torch.allclose(mixed.mean((1, 2, 3)), expected, atol=1e-5)
    assert torch.allclose(mixed_targets.sum(1), torch.ones(COUNT))
    assert ((mixed_targets > 0).sum(1) == 2).sum() > 0.9 * COUNT
    assert mixed.is_contiguous(memory_format=torch.channels_last)


def test_mixup_blends_all_pixels_alike_and_cutmix_takes_each_from_one_image() -> None:
    images, targets = numbered()

    blended, _ = mix(images.clone(), targets, [Mixup()], generator=seeded())
    cut, _ = mix(images.clone(), targets, [CutMix()], generator=seeded())

    assert torch.allclose(blended, blended[:, :1, :1, :1].expand_as(blended))
    kept = cut == images
    rows, columns = (~kept[:, 0]).any(2).sum(1), (~kept[:, 0]).any(1).sum(1)
    assert torch.equal((~kept[:, 0]).sum((1, 2)), rows * columns)  # rectangles
    assert torch.isin(cut, images).all()


@pytest.mark.parametrize(("alpha", "near_the_ends"), [(1.0, 0.2), (0.1, 0.81), (10.0, 0.0)])
def test_alpha_says_how_the_shares_are_spread(alpha: float, near_the_ends: float) -> None:
    images, targets = torch.rand(4000, 1, 2, 2), torch.eye(4000)

    _, mixed = mix(images, targets, [Mixup(alpha=alpha)], generator=seeded())

    shares = mixed.diagonal()
    is_near = (shares < 0.1) | (shares > 0.9)
    assert abs(is_near.float().mean() - near_the_ends) < 0.03  # Beta's cumulative distribution
    assert abs(shares.mean() - 0.5) < 0.03


def test_partners_come_from_the_whole_batch() -> None:
    images, targets = numbered()

    _, mixed = mix(images, targets, [Mixup()], generator=seeded())

    partners = (mixed - torch.diag(mixed.diagonal())).argmax(1)
    distances = (partners - torch.arange(COUNT)).abs().float()
    assert distances.mean() > COUNT / 5


def test_a_probability_says_how_many_images_are_mixed_and_the_others_stay_bit_for_bit() -> None:
    images, targets = numbered()

    mixed, mixed_targets = mix(images.clone(), targets, [CutMix(probability=0.25)], generator=seeded())

    stays = (mixed_targets == targets).all(1)
    assert 30 < (~stays).sum() < 70
    assert torch.equal(mixed[stays], images[stays])


def test_of_two_mixing_parts_each_takes_its_share_and_no_image_gets_both() -> None:
    images, targets = numbered()

    mixed, mixed_targets = mix(images, targets, [Mixup(), RandomFlip(), CutMix()], generator=seeded())

    is_flat = (mixed == mixed[:, :1, :1, :1]).all(3).all(2).all(1)
    assert 0.35 * COUNT < is_flat.sum() < 0.65 * COUNT
    assert ((mixed_targets > 0).sum(1) <= 2).all()


def test_numbers_are_mixed_as_targets_too() -> None:
    images, _ = numbered()
    numbers = images[:, 0, 0, :1]

    mixed, mixed_numbers = mix(images, numbers, [Mixup()], generator=seeded())

    assert torch.allclose(mixed[:, 0, 0, :1], mixed_numbers, atol=1e-6)


def test_without_a_part_that_mixes_nothing_is_touched_and_augment_leaves_mixing_alone() -> None:
    images, targets = numbered()

    assert mix(images, targets, [RandomFlip()], generator=seeded()) == (images, targets)
    assert torch.equal(augment(images.clone(), [Mixup(), CutMix()], generator=seeded()), images)


def test_the_seed_decides_what_is_mixed() -> None:
    images, targets = numbered(8)

    first, second, other = (
        mix(images.clone(), targets, [Mixup(), CutMix()], generator=seeded(seed)) for seed in (1, 1, 2)
    )

    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[1], other[1])
