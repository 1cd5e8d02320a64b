import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from models_store.tasks.image.augmentation import Cutout, RandomErasing
from tests.workers.tasks.image.smooth_images import seeded
from workers.tasks.image.augmentations import augment, erasing

SIDE = 32


def erased(part: RandomErasing | Cutout, *, count: int = 300, channels: int = 3) -> Tensor:
    """Return where white images were painted over, bool (count, SIDE, SIDE); all channels agree."""
    images = augment(torch.ones(count, channels, SIDE, SIDE), [part], generator=seeded())
    painted = images != 1
    assert torch.equal(painted, painted[:, :1].expand_as(painted))
    return painted[:, 0]


def test_a_rectangle_is_painted_as_torchvision_does() -> None:
    images = torch.rand(2, 3, SIDE, SIDE)
    places_2B, sizes_2B = torch.tensor([[3, 0], [7, 20]]), torch.tensor([[5, 32], [9, 12]])

    ours = erasing.paint(images, places_2B, sizes_2B, 0.25, seeded())

    value = torch.full((3, 1, 1), 0.25)
    assert torch.equal(ours[0], reference.erase(images[0], i=7, j=3, h=9, w=5, v=value))
    assert torch.equal(ours[1], reference.erase(images[1], i=20, j=0, h=12, w=32, v=value))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_erased_areas_keep_to_their_range_and_lie_anywhere(channels: int) -> None:
    painted = erased(RandomErasing(probability=1, scale=[0.1, 0.2], ratio=[0.5, 2.0]), channels=channels)

    areas = painted.float().mean((1, 2))
    heights, widths = painted.any(2).sum(1), painted.any(1).sum(1)
    assert torch.equal(painted.sum((1, 2)), heights * widths)  # rectangles
    assert areas.min() > 0.08
    assert areas.max() < 0.23
    assert (widths > heights).any()
    assert (widths < heights).any()
    ever = painted.any(0)
    assert ever.any(0).all()  # every column, every row
    assert ever.any(1).all()


def test_a_rectangle_that_never_fits_erases_nothing() -> None:
    assert not erased(RandomErasing(probability=1, scale=[0.9, 1.0], ratio=[3.0, 3.0])).any()


def test_a_cutout_is_a_square_that_may_reach_out_of_the_image() -> None:
    painted = erased(Cutout(size=0.5))

    heights, widths = painted.any(2).sum(1), painted.any(1).sum(1)
    assert heights.max() == widths.max() == SIDE // 2
    assert heights.min() == widths.min() == SIDE // 4
    assert torch.equal(painted.sum((1, 2)), heights * widths)
    assert painted.any(0).all()


@pytest.mark.parametrize("part", [RandomErasing(probability=0.3), Cutout(probability=0.3)], ids=lambda part: part.kind)
def test_a_probability_says_how_many_images_are_painted_over(part: RandomErasing | Cutout) -> None:
    assert 60 < erased(part).any(2).any(1).sum() < 120


def test_random_values_differ_from_pixel_to_pixel_and_stay_in_range() -> None:
    images = torch.full((2, 3, SIDE, SIDE), 2.0)

    painted = augment(images, [Cutout(size=1.0, value="random")], generator=seeded())

    values = painted[painted != 2]
    assert 0 <= values.min() < 0.05
    assert 0.95 < values.max() <= 1
    assert len(values.unique()) > 0.99 * len(values)
