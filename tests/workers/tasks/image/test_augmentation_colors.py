"""Each change of colours, tones and details against torchvision's; and what the parts draw."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from models_store.spec.part import Part
from models_store.tasks.image.augmentation import (
    ChannelShuffle,
    ColorJitter,
    GaussianBlur,
    GaussianNoise,
    RandomAutocontrast,
    RandomEqualize,
    RandomGamma,
    RandomGrayscale,
    RandomPosterize,
    RandomSharpness,
    RandomSolarize,
)
from tests.workers.tasks.image.smooth_images import TOLERANCE, mean_error, seeded, some_pictures
from workers.tasks.image.augmentations import augment, colors, details, tones

Change = Callable[[Tensor, Tensor], Tensor]
Adjust = Callable[[Tensor, float], Tensor]


def blur(images: Tensor, sigmas: Tensor) -> Tensor:
    return details.blur(images, sigmas, reach=6)


@pytest.mark.parametrize(
    ("change", "adjust", "factors"),
    [
        (colors.change_brightness, reference.adjust_brightness, [0.0, 0.6, 1.0, 1.7]),
        (colors.change_contrast, reference.adjust_contrast, [0.0, 0.6, 1.0, 1.7]),
        (colors.change_saturation, reference.adjust_saturation, [0.0, 0.6, 1.0, 1.7]),
        (colors.change_hue, reference.adjust_hue, [-0.5, -0.1, 0.0, 0.35]),
        (colors.change_gamma, reference.adjust_gamma, [0.5, 0.8, 1.0, 2.0]),
        (tones.posterize, lambda image, bits: reference.posterize(image, int(bits)), [1.0, 3.0, 4.0, 7.0]),
        (tones.solarize, reference.solarize, [0.0, 0.2, 0.5, 1.0]),
        (details.change_sharpness, reference.adjust_sharpness, [0.0, 0.5, 1.0, 2.5]),
        (blur, lambda image, sigma: reference.gaussian_blur(image, [13, 13], [sigma, sigma]), [0.1, 0.5, 1.0, 2.0]),
    ],
    ids=["brightness", "contrast", "saturation", "hue", "gamma", "posterize", "solarize", "sharpness", "blur"],
)
@pytest.mark.parametrize("channels", [3, 1])
def test_each_image_is_changed_by_its_own_number_as_torchvision_does(
    change: Change, adjust: Adjust, factors: list[float], channels: int
) -> None:
    images = some_pictures(channels=channels)

    ours = change(images.clone(), torch.tensor(factors))

    theirs = torch.stack([adjust(image, factor) for image, factor in zip(images, factors, strict=True)])
    assert (ours - theirs).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("change", "adjust", "factors"),
    [
        (colors.change_brightness, reference.adjust_brightness, [0.0, 0.6, 1.0, 1.7]),
        (colors.change_contrast, reference.adjust_contrast, [0.0, 0.6, 1.0, 1.7]),
        (colors.change_saturation, reference.adjust_saturation, [0.0, 0.6, 1.0, 1.7]),
        (colors.change_hue, reference.adjust_hue, [-0.5, -0.1, 0.0, 0.35]),
        (details.change_sharpness, reference.adjust_sharpness, [0.0, 0.5, 1.0, 2.5]),
    ],
    ids=["brightness", "contrast", "saturation", "hue", "sharpness"],
)
def test_it_is_what_torchvision_makes_of_bytes(change: Change, adjust: Adjust, factors: list[float]) -> None:
    images = some_pictures()

    ours = change(images.clone(), torch.tensor(factors))

    in_bytes = (images * 255).round().to(torch.uint8)
    theirs = torch.stack([adjust(image, factor) / 255 for image, factor in zip(in_bytes, factors, strict=True)])
    assert mean_error(ours, theirs) <= TOLERANCE


@pytest.mark.parametrize(
    ("change", "adjust"),
    [(tones.autocontrast, reference.autocontrast), (tones.equalize, reference.equalize)],
    ids=["autocontrast", "equalize"],
)
@pytest.mark.parametrize("channels", [3, 1])
def test_tones_are_spread_as_torchvision_does_and_a_flat_channel_stays(
    change: Callable[[Tensor], Tensor], adjust: Callable[[Tensor], Tensor], channels: int
) -> None:
    images = 0.2 + 0.5 * some_pictures(channels=channels)
    images[1, 0] = 0.6

    ours = change(images)

    assert (ours - adjust(images)).abs().max() < 1e-5
    assert (ours[1, 0] - 0.6).abs().max() < 1 / 255
    assert ours[0].max() - ours[0].min() > 0.95


def test_grey_is_torchvisions() -> None:
    images = some_pictures()

    ours = augment(images.clone(), [RandomGrayscale(probability=1)], generator=seeded())

    assert (ours - reference.rgb_to_grayscale(images, num_output_channels=3)).abs().max() < 1e-6


def test_noise_has_the_deviation_asked_for_and_every_image_its_own() -> None:
    images = torch.full((2, 3, 64, 64), 0.5)

    noise = augment(images.clone(), [GaussianNoise(sigma=0.1)], generator=seeded()) - 0.5

    assert abs(noise.std() - 0.1) < 0.003
    assert abs(noise.mean()) < 0.003
    assert not torch.equal(noise[0], noise[1])


def test_channels_come_in_every_order_and_stay_whole() -> None:
    images = torch.tensor([0.1, 0.5, 0.9]).view(1, 3, 1, 1).expand(600, 3, 4, 4).contiguous()

    shuffled = augment(images, [ChannelShuffle()], generator=seeded())

    assert torch.equal(shuffled, shuffled[:, :, :1, :1].expand_as(shuffled))
    orders, counts = shuffled[:, :, 0, 0].unique(dim=0, return_counts=True)
    assert len(orders) == 6
    assert counts.min() > 60


def test_gamma_is_drawn_evenly_in_its_logarithm() -> None:
    images = torch.full((1000, 1, 1, 1), 0.5)

    changed = augment(images, [RandomGamma(gamma=[0.5, 2.0], probability=1)], generator=seeded())

    powers = changed.log2().neg()
    assert 0.5 <= powers.min() < 0.52
    assert 1.95 < powers.max() <= 2 + 1e-5
    assert abs((powers < 1).float().mean() - 0.5) < 0.06


SOMETIMES: list[Part] = [
    RandomGrayscale(probability=0.5),
    RandomGamma(gamma=[3.0, 3.0], probability=0.5),
    RandomPosterize(bits=2, probability=0.5),
    RandomSolarize(probability=0.5),
    RandomEqualize(probability=0.5),
    RandomAutocontrast(probability=0.5),
    RandomSharpness(factor=5.0, probability=0.5),
    GaussianBlur(sigma=[2.0, 2.0], probability=0.5),
    GaussianNoise(probability=0.5),
]


@pytest.mark.parametrize("part", SOMETIMES, ids=lambda part: part.kind)
def test_a_probability_says_how_many_images_are_changed(part: Part) -> None:
    images = (0.2 + 0.5 * some_pictures(count=1, side=16)).expand(200, -1, -1, -1).contiguous()

    changed = augment(images.clone(), [part], generator=seeded())

    is_changed = (changed - images).abs().amax((1, 2, 3)) > 1e-3
    assert 70 < is_changed.sum() < 130
    assert torch.equal(changed[~is_changed], images[~is_changed])


ALWAYS: list[Part] = [
    ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.3),
    *(part.model_copy(update={"probability": 1.0}) for part in SOMETIMES),
    ChannelShuffle(),
]


@pytest.mark.parametrize("part", ALWAYS, ids=lambda part: part.kind)
def test_alpha_is_left_as_it_is_and_the_colours_below_change_as_without_it(part: Part) -> None:
    images = 0.2 + 0.5 * some_pictures(channels=4)

    changed = augment(images.clone(), [part], generator=seeded())

    without_alpha = augment(images[:, :3].clone(), [part], generator=seeded())
    assert torch.equal(changed[:, 3], images[:, 3])
    assert torch.allclose(changed[:, :3], without_alpha, atol=1e-6)
    assert (changed[:, :3] - images[:, :3]).abs().max() > 0.01


@pytest.mark.parametrize(
    "part",
    [RandomGrayscale(probability=1), ChannelShuffle(), ColorJitter(brightness=0, contrast=0, saturation=1, hue=0.5)],
    ids=lambda part: part.kind,
)
def test_what_has_no_meaning_for_grey_images_does_nothing_to_them(part: Part) -> None:
    images = some_pictures(channels=1)

    assert torch.equal(augment(images.clone(), [part], generator=seeded()), images)


def test_blur_on_an_image_smaller_than_its_kernel_stays_within_it() -> None:
    images = torch.rand(2, 3, 16, 16)

    blurred = augment(images.clone(), [GaussianBlur(sigma=[9.0, 10.0])], generator=seeded())

    assert blurred.std() < images.std() / 4
    assert abs(blurred.mean() - images.mean()) < 0.05
