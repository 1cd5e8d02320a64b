from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as reference

from models_store.spec.augmentation import ColorJitter, RandomCrop, RandomFlip, RandomRotation
from workers.image import augmentations

SIZE = 48
TOLERANCE = 2 / 255


@pytest.fixture
def images_BCHW() -> Tensor:  # noqa: N802  the shape is part of the name
    """Smooth pictures with an edge in them, as photographs have."""
    coarse = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, size=SIZE, mode="bicubic").clamp(0, 1)
    smooth[:, :, SIZE // 3 :, SIZE // 2 :] *= 0.5
    return smooth.contiguous(memory_format=torch.channels_last)


def mean_error(ours: Tensor, theirs: Tensor) -> float:
    return (ours - theirs).abs().mean().item()


def interior(images: Tensor) -> Tensor:
    return images[..., 8:-8, 8:-8]


@pytest.mark.parametrize("degrees", [-90.0, -30.0, 7.5, 45.0, 180.0])
def test_rotation_is_torchvisions(images_BCHW: Tensor, degrees: float) -> None:
    maps_B33 = augmentations.rotation_maps(torch.full((4,), degrees))

    ours = augmentations.resample(images_BCHW, maps_B33)

    theirs = torch.stack([reference.rotate(image, degrees, InterpolationMode.BILINEAR) for image in images_BCHW])
    assert mean_error(ours, theirs) <= TOLERANCE
    assert mean_error(interior(ours), interior(theirs)) <= TOLERANCE


@pytest.mark.parametrize(("axis", "flip"), [(3, reference.hflip), (2, reference.vflip)], ids=["width", "height"])
def test_a_flip_as_a_map_is_torchvisions(images_BCHW: Tensor, axis: int, flip: Callable[[Tensor], Tensor]) -> None:
    mirrored_B = torch.tensor([True, False, True, False])

    ours = augmentations.resample(images_BCHW, augmentations.flip_maps(mirrored_B, axis))

    theirs = torch.where(mirrored_B.view(-1, 1, 1, 1), flip(images_BCHW), images_BCHW)
    assert (ours - theirs).abs().max() < 1e-4


@pytest.mark.parametrize(("top", "left", "side"), [(0, 0, 24), (12, 18, 30), (6, 0, 42), (0, 0, 48)])
def test_a_crop_is_torchvisions(images_BCHW: Tensor, top: int, left: int, side: int) -> None:
    half = SIZE / 2
    x, y = (left + side / 2 - half) / half, (top + side / 2 - half) / half
    maps_B33 = augmentations.crop_maps(*(torch.full((4,), value) for value in (side / SIZE, x, y)))

    ours = augmentations.resample(images_BCHW, maps_B33)

    theirs = torch.stack([reference.resized_crop(image, top, left, side, side, [SIZE, SIZE]) for image in images_BCHW])
    assert mean_error(ours, theirs) <= TOLERANCE
    assert (interior(ours) - interior(theirs)).abs().max() < 1e-4


def test_composed_geometry_is_one_torchvision_step_after_the_other(images_BCHW: Tensor) -> None:
    crop = augmentations.crop_maps(*(torch.full((4,), value) for value in (0.75, 0.125, -0.125)))
    maps_B33 = crop @ augmentations.rotation_maps(torch.full((4,), 20.0))

    ours = augmentations.resample(images_BCHW, maps_B33)

    cropped = [reference.resized_crop(image, 3, 9, 36, 36, [SIZE, SIZE]) for image in images_BCHW]
    theirs = torch.stack([reference.rotate(image, 20.0, InterpolationMode.BILINEAR) for image in cropped])
    assert mean_error(interior(ours), interior(theirs)) <= TOLERANCE


@pytest.mark.parametrize(
    ("change", "adjust", "factors"),
    [
        (augmentations.change_brightness, reference.adjust_brightness, [0.0, 0.6, 1.0, 1.7]),
        (augmentations.change_contrast, reference.adjust_contrast, [0.0, 0.6, 1.0, 1.7]),
        (augmentations.change_saturation, reference.adjust_saturation, [0.0, 0.6, 1.0, 1.7]),
        (augmentations.change_hue, reference.adjust_hue, [-0.5, -0.1, 0.0, 0.35]),
    ],
    ids=["brightness", "contrast", "saturation", "hue"],
)
@pytest.mark.parametrize("channels", [3, 1])
def test_colours_are_torchvisions_for_each_image_with_its_own_factor(
    images_BCHW: Tensor,
    change: Callable[[Tensor, Tensor], Tensor],
    adjust: Callable[[Tensor, float], Tensor],
    factors: list[float],
    channels: int,
) -> None:
    images = images_BCHW[:, :channels].contiguous(memory_format=torch.channels_last)

    ours = change(images.clone(), torch.tensor(factors))

    theirs = torch.stack([adjust(image, factor) for image, factor in zip(images, factors, strict=True)])
    in_bytes = torch.stack(
        [
            adjust((image * 255).round().to(torch.uint8), factor) / 255
            for image, factor in zip(images, factors, strict=True)
        ]
    )
    assert (ours - theirs).abs().max() < 1e-4
    assert mean_error(ours, in_bytes) <= TOLERANCE


def test_every_image_of_a_batch_is_changed_in_its_own_way() -> None:
    same_BCHW = torch.rand(1, 3, SIZE, SIZE).expand(8, -1, -1, -1).contiguous()
    parts = [RandomCrop(), RandomRotation(), RandomFlip(), ColorJitter(hue=0.1)]

    changed = augmentations.augment(same_BCHW, parts, generator=torch.Generator().manual_seed(0))

    different = [not torch.allclose(changed[0], other, atol=1e-3) for other in changed[1:]]
    assert all(different)
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_the_generators_seed_decides_every_draw(images_BCHW: Tensor) -> None:
    parts = [RandomCrop(), RandomRotation(), RandomFlip(), ColorJitter(hue=0.1)]

    first, second, other = (
        augmentations.augment(images_BCHW.clone(), parts, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )

    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("direction", ["horizontal", "vertical"])
def test_flips_alone_move_pixels_and_resample_nothing(
    images_BCHW: Tensor, direction: Literal["horizontal", "vertical"]
) -> None:
    flipped = images_BCHW.flip(3 if direction == "horizontal" else 2)

    always, never = (
        augmentations.augment(
            images_BCHW.clone(),
            [RandomFlip(direction=direction, probability=probability)],
            generator=torch.Generator().manual_seed(0),
        )
        for probability in (1.0, 0.0)
    )

    assert torch.equal(always, flipped)
    assert torch.equal(never, images_BCHW)


def test_parts_of_no_strength_leave_images_as_they_are(images_BCHW: Tensor) -> None:
    parts = [RandomCrop(scale=1.0), RandomRotation(degrees=0), ColorJitter(brightness=0, contrast=0, saturation=0)]

    changed = augmentations.augment(images_BCHW.clone(), parts, generator=torch.Generator().manual_seed(0))

    assert (changed - images_BCHW).abs().max() < 1e-4
