"""Each operation against torchvision's at the same magnitude; and how policies draw and combine them."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from models_store.spec.part import Part
from models_store.tasks.image.augmentation_policies import AugMix, RandAugment, TrivialAugmentWide
from tests.workers.tasks.image.smooth_images import SIZE, TOLERANCE, mean_error, seeded, some_pictures
from workers.tasks.image.augmentations import augment, policies
from workers.tasks.image.augmentations.policies import OPERATIONS, Drawn
from workers.tasks.image.augmentations.sampling import resample

BILINEAR = InterpolationMode.BILINEAR
POLICIES: list[Part] = [RandAugment(), TrivialAugmentWide(), AugMix()]
by_policy = pytest.mark.parametrize("part", POLICIES, ids=lambda part: part.kind)


def layer(*operations: tuple[str, float]) -> Drawn:
    names, magnitudes = zip(*operations, strict=True)
    return Drawn(torch.tensor([OPERATIONS.index(name) for name in names]), torch.tensor(magnitudes))


def done(images: Tensor, layers: list[Drawn]) -> Tensor:
    return policies.repaint(resample(images, policies.maps(layers, images.shape[-1])), layers)


def sheared(image: Tensor, x: float, y: float) -> Tensor:
    degrees = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
    result: Tensor = reference.affine(
        image, angle=0.0, translate=[0, 0], scale=1.0, shear=degrees, interpolation=BILINEAR, center=[0, 0]
    )
    return result


def moved(image: Tensor, x: int, y: int) -> Tensor:
    result: Tensor = reference.affine(
        image, angle=0.0, translate=[x, y], scale=1.0, shear=[0.0, 0.0], interpolation=BILINEAR
    )
    return result


THEIRS: dict[str, tuple[float, Callable[[Tensor, float], Tensor]]] = {
    "identity": (0.0, lambda image, _: image),
    "shear_x": (-0.25, lambda image, magnitude: sheared(image, magnitude, 0)),
    "shear_y": (0.3, lambda image, magnitude: sheared(image, 0, magnitude)),
    "translate_x": (7.8, lambda image, magnitude: moved(image, int(magnitude), 0)),
    "translate_y": (-7.8, lambda image, magnitude: moved(image, 0, int(magnitude))),
    "rotate": (21.0, lambda image, magnitude: reference.rotate(image, magnitude, BILINEAR)),
    "brightness": (-0.6, lambda image, magnitude: reference.adjust_brightness(image, 1 + magnitude)),
    "color": (0.8, lambda image, magnitude: reference.adjust_saturation(image, 1 + magnitude)),
    "contrast": (-0.4, lambda image, magnitude: reference.adjust_contrast(image, 1 + magnitude)),
    "sharpness": (0.9, lambda image, magnitude: reference.adjust_sharpness(image, 1 + magnitude)),
    "posterize": (3.0, lambda image, magnitude: reference.posterize(image, int(magnitude))),
    "solarize": (0.3, reference.solarize),
    "autocontrast": (0.0, lambda image, _: reference.autocontrast(image)),
    "equalize": (0.0, lambda image, _: reference.equalize(image)),
}


def test_every_operation_is_torchvisions_each_image_of_a_batch_with_its_own() -> None:
    images = some_pictures(count=len(OPERATIONS))

    ours = done(images, [layer(*((name, THEIRS[name][0]) for name in OPERATIONS))])

    for name, image, changed in zip(OPERATIONS, images, ours, strict=True):
        magnitude, change = THEIRS[name]
        assert mean_error(changed, change(image, magnitude)) <= TOLERANCE, name


def test_layers_follow_each_other_and_turns_come_before_colours() -> None:
    images = some_pictures(count=2)

    ours = done(images, [layer(("rotate", 20.0), ("solarize", 0.4)), layer(("posterize", 2.0), ("shear_x", 0.2))])

    turned = reference.posterize(reference.rotate(images[0], 20.0, BILINEAR), 2)
    slanted = reference.solarize(sheared(images[1], 0.2, 0), 0.4)
    assert mean_error(ours[0], turned) <= TOLERANCE
    assert mean_error(ours[1], slanted) <= TOLERANCE


@pytest.mark.parametrize(
    ("space", "level", "expected"),
    [
        (policies.rand_augment_space(331), 1.0, {"rotate": 30, "translate_x": 150, "shear_y": 0.3, "posterize": 4}),
        (policies.rand_augment_space(331), 0.0, {"rotate": 0, "solarize": 1, "color": 0, "posterize": 8}),
        (policies.trivial_augment_space(), 1.0, {"rotate": 135, "translate_y": 32, "contrast": 0.99, "posterize": 2}),
        (policies.aug_mix_space(30), 1.0, {"rotate": 30, "translate_x": 10, "solarize": 0, "posterize": 0}),
    ],
)
def test_magnitudes_are_torchvisions_and_half_of_the_signed_ones_are_negative(
    space: policies.Space, level: float, expected: dict[str, float]
) -> None:
    drawn = policies.draw_operations(space, torch.full((4000,), level), generator=seeded())

    for name, magnitude in expected.items():
        values = drawn.magnitudes[drawn.operations == OPERATIONS.index(name)]
        assert torch.allclose(values.abs(), torch.tensor(float(magnitude))), name
        if name in policies.SIGNED and magnitude:
            assert 0.35 < (values < 0).float().mean() < 0.65
    counts = torch.bincount(drawn.operations, minlength=len(OPERATIONS))
    drawable = torch.tensor([name in space for name in OPERATIONS])
    assert (counts[drawable] > 0.7 * 4000 / len(space)).all()
    assert (counts[~drawable] == 0).all()


@by_policy
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_policy_changes_images_of_any_channels_each_in_its_own_way(part: Part, channels: int) -> None:
    images = some_pictures(channels=channels, count=1).expand(24, -1, -1, -1).contiguous()

    changed = augment(images.clone(), [part], generator=seeded())

    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 1 + 1e-5
    assert len({round(float(image.double().sum()), 3) for image in changed}) > 8


def test_magnitude_zero_of_rand_augment_changes_little_beside_its_tones() -> None:
    images = some_pictures(count=200)

    changed = augment(images.clone(), [RandAugment(operations=1, magnitude=0)], generator=seeded())

    errors = (changed - images).abs().mean((1, 2, 3))
    assert (errors < TOLERANCE).float().mean() > 10 / 14  # all but autocontrast and equalize


def test_a_stronger_rand_augment_changes_more() -> None:
    images = some_pictures(count=100)

    weak, strong = (
        mean_error(augment(images.clone(), [RandAugment(magnitude=magnitude)], generator=seeded()), images)
        for magnitude in (5, 30)
    )

    assert strong > 1.5 * weak


def test_aug_mix_stays_near_the_image_and_moves_alpha_with_the_colours() -> None:
    images = some_pictures(channels=4, count=16)
    images[:, 3] = images[:, 0]

    mixed = augment(images.clone(), [AugMix(severity=10, all_ops=False)], generator=seeded())

    assert mean_error(mixed[:, 3], images[:, 3]) > TOLERANCE
    assert mean_error(mixed, images) < mean_error(
        augment(images.clone(), [RandAugment(operations=3, magnitude=30)], generator=seeded()), images
    )


@pytest.mark.parametrize("depth", [1, 4])
def test_a_chain_of_aug_mix_is_as_deep_as_asked(depth: int) -> None:
    images = some_pictures(count=32)

    one, other = (
        augment(images.clone(), [AugMix(depth=depth, width=1, severity=severity)], generator=seeded())
        for severity in (1, 10)
    )

    assert mean_error(one, other) > 0
    assert mean_error(other, images) > 0


@by_policy
def test_the_seed_decides_what_a_policy_draws(part: Part) -> None:
    images = some_pictures(count=8)

    first, second, other = (augment(images.clone(), [part], generator=seeded(seed)) for seed in (1, 1, 2))

    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_two_policies_in_one_spec_share_the_resampling_and_keep_their_order_of_colours() -> None:
    images = torch.rand(8, 3, SIZE, SIZE)

    changed = augment(images.clone(), [TrivialAugmentWide(), RandAugment()], generator=seeded())

    assert torch.isfinite(changed).all()
    assert not torch.equal(changed, images)
