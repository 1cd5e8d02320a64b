"""What `augment` makes of a whole list of parts."""

from collections.abc import Sequence
from typing import Any, get_args

import pytest
import torch

from models_store.spec.part import Part
from models_store.tasks.image.augmentation import (
    Augmentation,
    ColorJitter,
    RandomCrop,
    RandomErasing,
    RandomFlip,
    RandomPerspective,
    RandomPosterize,
    RandomRotation,
    RandomScale,
    RandomShear,
    RandomSolarize,
    RandomTranslation,
)
from models_store.tasks.image.augmentation_policies import RandAugment
from tests.workers.tasks.image.smooth_images import mean_error, seeded, some_pictures
from workers.tasks.image.augmentations import augment, sampling

KINDS: tuple[type[Part], ...] = get_args(get_args(Augmentation)[0])
LONG_LIST: Sequence[Part] = [
    RandomCrop(),
    RandomRotation(),
    RandomFlip(),
    RandomPerspective(),
    ColorJitter(hue=0.1),
    RandAugment(),
    RandomErasing(value="random"),
]


def at_full_probability(kind: type[Part]) -> Part:
    return kind(probability=1.0) if "probability" in kind.model_fields else kind()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_part_keeps_shape_type_and_range_and_the_seed_decides_it(kind: type[Part], channels: int) -> None:
    images, part = some_pictures(channels=channels, side=24), at_full_probability(kind)

    first, second = (augment(images.clone(), [part], generator=seeded()) for _ in range(2))

    assert first.shape == images.shape
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() <= 1 + 1e-5
    assert torch.equal(first, second)
    assert torch.equal(first.clone().sub_(1), first.sub_(1))  # callers write into what they get


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_part_works_on_a_gpu(kind: type[Part]) -> None:
    images = some_pictures(side=24).cuda()

    changed = augment(images, [at_full_probability(kind)], generator=torch.Generator("cuda").manual_seed(0))

    assert changed.is_cuda
    assert torch.isfinite(changed).all()


def test_every_image_of_a_batch_is_changed_in_its_own_way() -> None:
    same_BCHW = torch.rand(1, 3, 48, 48).expand(8, -1, -1, -1).contiguous()

    changed = augment(same_BCHW, LONG_LIST, generator=seeded())

    assert all(not torch.allclose(changed[0], other, atol=1e-3) for other in changed[1:])


def test_the_generators_seed_decides_every_draw() -> None:
    images = some_pictures()

    first, second, other = (augment(images.clone(), LONG_LIST, generator=seeded(seed)) for seed in (1, 1, 2))

    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_all_geometry_of_a_spec_is_one_resampling(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = sampling.functional.grid_sample

    def counted(*given: Any, **named: Any) -> Any:
        calls.append(1)
        return real(*given, **named)

    monkeypatch.setattr(sampling.functional, "grid_sample", counted)
    parts = [RandomCrop(), RandomRotation(), RandomShear(), RandomTranslation(), RandomScale(), RandomFlip()]

    augment(some_pictures(), [*parts, RandomPerspective(), ColorJitter(), RandAugment()], generator=seeded())

    assert len(calls) == 1


def test_pixels_stay_as_fine_under_autocast() -> None:
    images = some_pictures()

    plain = augment(images.clone(), LONG_LIST, generator=seeded())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = augment(images.clone(), LONG_LIST, generator=seeded())

    assert torch.equal(plain, cast)


def test_what_follows_geometry_keeps_the_order_of_the_list() -> None:
    images = some_pictures()
    posterize, solarize = RandomPosterize(bits=1, probability=1), RandomSolarize(threshold=0.3, probability=1)

    one = augment(images.clone(), [posterize, solarize], generator=seeded())
    other = augment(images.clone(), [solarize, posterize], generator=seeded())

    assert set(one.unique().tolist()) == {0.0, 0.5}
    assert mean_error(one, other) > 0.1


def test_parts_of_no_strength_leave_images_as_they_are() -> None:
    images = some_pictures()
    parts = [
        RandomCrop(scale=1.0),
        RandomRotation(degrees=0),
        RandomScale(minimum=1, maximum=1),
        RandomPerspective(distortion=0, probability=1),
        ColorJitter(brightness=0, contrast=0, saturation=0),
    ]

    changed = augment(images.clone(), parts, generator=seeded())

    assert (changed - images).abs().max() < 1e-4


@pytest.mark.parametrize("parts", [[], [RandomFlip()], LONG_LIST], ids=["nothing", "a flip", "much"])
def test_a_batch_of_one_image_works(parts: list[Part]) -> None:
    assert augment(some_pictures(count=1), parts, generator=seeded()).shape == (1, 3, 48, 48)
