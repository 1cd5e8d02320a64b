"""Each map of places against what torchvision makes of the same parameters; and what the parts draw."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from models_store.spec.part import Part
from models_store.tasks.image.augmentation import (
    RandomCrop,
    RandomFlip,
    RandomPerspective,
    RandomResizedCrop,
    RandomRotation,
    RandomScale,
    RandomShear,
    RandomTranslation,
)
from tests.workers.tasks.image.smooth_images import SIZE, TOLERANCE, interior, mean_error, seeded, some_pictures
from workers.tasks.image.augmentations import augment, build, geometry
from workers.tasks.image.augmentations.changes import Warp
from workers.tasks.image.augmentations.sampling import projective_places, resample

BILINEAR = InterpolationMode.BILINEAR
IMAGES = some_pictures()


def each(*values: float) -> list[Tensor]:
    """Return every value for each of the four images."""
    return [torch.full((4,), value) for value in values]


def drawn(part: Part, *, batch: int = 256, side: int = SIZE) -> Tensor:
    """Return the maps that a part draws."""
    change = build(part)
    assert isinstance(change, Warp)
    return change.draw(batch, side, seeded())


def affine(*, x: int = 0, y: int = 0, scale: float = 1.0, shear: Sequence[float] = (0, 0)) -> Tensor:
    result: Tensor = reference.affine(
        IMAGES, angle=0.0, translate=[x, y], scale=scale, shear=list(shear), interpolation=BILINEAR
    )
    return result


@pytest.mark.parametrize("degrees", [-90.0, -30.0, 7.5, 45.0, 180.0])
def test_rotation_is_torchvisions(degrees: float) -> None:
    ours = resample(IMAGES, geometry.rotation_maps(*each(degrees)))

    theirs = reference.rotate(IMAGES, degrees, BILINEAR)
    assert mean_error(ours, theirs) <= TOLERANCE
    assert mean_error(interior(ours), interior(theirs)) <= TOLERANCE


@pytest.mark.parametrize("degrees", [-90.0, -30.0, 7.5, 45.0, 180.0])
def test_a_fitted_rotation_is_torchvisions_expanded_one_scaled_back(degrees: float) -> None:
    side = 3 * SIZE  # torchvision's canvas is of whole pixels: on small images its rounding is most of the difference
    images = some_pictures(side=side)

    ours = resample(images, geometry.fitted_rotation_maps(*each(degrees)))

    theirs = reference.resize(reference.rotate(images, degrees, BILINEAR, expand=True), [side, side])
    assert mean_error(ours, theirs) <= TOLERANCE
    assert mean_error(interior(ours), interior(theirs)) <= TOLERANCE


@pytest.mark.parametrize(("axis", "flip"), [(3, reference.hflip), (2, reference.vflip)], ids=["width", "height"])
def test_a_flip_as_a_map_is_torchvisions(axis: int, flip: Callable[[Tensor], Tensor]) -> None:
    mirrored_B = torch.tensor([True, False, True, False])

    ours = resample(IMAGES, geometry.flip_maps(mirrored_B, axis))

    theirs = torch.where(mirrored_B.view(-1, 1, 1, 1), flip(IMAGES), IMAGES)
    assert (ours - theirs).abs().max() < 1e-4


@pytest.mark.parametrize(("x", "y"), [(0, 0), (5, 0), (0, -7), (-20, 31)])
def test_a_translation_is_torchvisions(x: int, y: int) -> None:
    ours = resample(IMAGES, geometry.translation_maps(*each(x / SIZE, y / SIZE)))

    assert (ours - affine(x=x, y=y)).abs().max() < 1e-4


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.0, 1.7])
def test_a_scale_is_torchvisions(scale: float) -> None:
    ours = resample(IMAGES, geometry.scale_maps(*each(scale)))

    assert mean_error(ours, affine(scale=scale)) <= TOLERANCE


@pytest.mark.parametrize(("x", "y"), [(10.0, 0.0), (0.0, -25.0), (-40.0, 20.0)])
def test_a_shear_is_torchvisions(x: float, y: float) -> None:
    ours = resample(IMAGES, geometry.shear_maps(*each(x, y)))

    assert mean_error(ours, affine(shear=(x, y))) <= TOLERANCE


@pytest.mark.parametrize(
    "corners",
    [
        [[0, 0], [48, 0], [48, 48], [0, 48]],
        [[10, 4], [40, 2], [47, 40], [3, 30]],
        [[2, 15], [48, 0], [33, 36], [12, 48]],
        [[15, 15], [48, 0], [48, 48], [0, 33]],
    ],
)
def test_a_perspective_is_torchvisions(corners: list[list[int]]) -> None:
    places_B42 = (torch.tensor(corners) / (SIZE / 2) - 1).expand(4, -1, -1)

    ours = resample(IMAGES, geometry.perspective_maps(places_B42), places=projective_places)

    whole = [[0, 0], [SIZE, 0], [SIZE, SIZE], [0, SIZE]]
    theirs = reference.perspective(IMAGES, whole, corners, interpolation=BILINEAR)
    assert mean_error(ours, theirs) <= TOLERANCE


@pytest.mark.parametrize(
    ("top", "left", "height", "width"), [(0, 0, 24, 24), (12, 18, 30, 30), (6, 0, 42, 20), (0, 0, 48, 48)]
)
def test_a_crop_is_torchvisions(top: int, left: int, height: int, width: int) -> None:
    half = SIZE / 2
    x, y = (left + width / 2 - half) / half, (top + height / 2 - half) / half

    ours = resample(IMAGES, geometry.crop_maps(*each(width / SIZE, height / SIZE, x, y)))

    theirs = reference.resized_crop(IMAGES, top, left, height, width, [SIZE, SIZE])
    assert mean_error(ours, theirs) <= TOLERANCE
    assert (interior(ours) - interior(theirs)).abs().max() < 1e-4


@pytest.mark.parametrize(("top", "left"), [(0, 0), (4, 9), (12, 12)])
def test_a_padded_crop_is_torchvisions(top: int, left: int) -> None:
    padding = 6

    ours = resample(IMAGES, geometry.translation_maps(*each((padding - left) / SIZE, (padding - top) / SIZE)))

    theirs = reference.crop(reference.pad(IMAGES, [padding]), top, left, SIZE, SIZE)
    assert (ours - theirs).abs().max() < 1e-4


def test_composed_geometry_is_one_torchvision_step_after_the_other() -> None:
    whole = [[0, 0], [SIZE, 0], [SIZE, SIZE], [0, SIZE]]
    corners = [[3, 1], [46, 2], [47, 44], [2, 46]]
    maps = [
        geometry.crop_maps(*each(0.75, 0.75, 0.125, -0.125)),
        geometry.rotation_maps(*each(20.0)),
        geometry.shear_maps(*each(8.0, 0.0)),
        geometry.perspective_maps((torch.tensor(corners) / (SIZE / 2) - 1).expand(4, -1, -1)),
        geometry.translation_maps(*each(2 / SIZE, 1 / SIZE)),
    ]
    product = maps[0]
    for inner in maps[1:]:
        product = geometry.after(product, inner)

    ours = resample(IMAGES, product, places=projective_places)

    theirs = reference.resized_crop(IMAGES, 3, 9, 36, 36, [SIZE, SIZE])
    theirs = reference.rotate(theirs, 20.0, BILINEAR)
    theirs = reference.affine(theirs, angle=0.0, translate=[0, 0], scale=1.0, shear=[8, 0], interpolation=BILINEAR)
    theirs = reference.perspective(theirs, whole, corners, interpolation=BILINEAR)
    theirs = reference.affine(theirs, angle=0.0, translate=[2, 1], scale=1.0, shear=[0, 0], interpolation=BILINEAR)
    assert mean_error(interior(ours), interior(theirs)) <= TOLERANCE


def test_a_crop_that_may_reach_into_the_padding_moves_images_by_whole_pixels() -> None:
    maps_B33 = drawn(RandomCrop(scale=1.0, padding=0.125), side=32)

    moves = maps_B33[:, :2, 2] * 32 / 2
    assert torch.equal(moves, moves.round())
    assert set(moves[:, 0].tolist()) == set(range(-4, 5))
    assert torch.equal(maps_B33[:, :2, :2], torch.eye(2).expand(256, 2, 2))


@pytest.mark.parametrize("padding", [0.0, 0.25])
def test_crops_stay_within_the_image_and_its_padding(padding: float) -> None:
    maps_B33 = drawn(RandomCrop(scale=0.3, ratio=[0.5, 2.0], padding=padding))

    halves, centres = torch.stack([maps_B33[:, 0, 0], maps_B33[:, 1, 1]], 1), maps_B33[:, :2, 2]
    assert (centres.abs() + halves).max() <= 1 + 2 * padding + 1e-6
    assert (halves[:, 0] / halves[:, 1]).max() <= 2 + 1e-5
    assert (halves.prod(1).sqrt().min() - 0.3).abs() < 0.02


def test_a_resized_crop_keeps_to_its_areas_and_ratios() -> None:
    maps_B33 = drawn(RandomResizedCrop(scale=[0.25, 0.5], ratio=[0.5, 2.0]))

    widths, heights = maps_B33[:, 0, 0], maps_B33[:, 1, 1]
    areas, ratios = widths * heights, widths / heights
    assert 0.25 - 1e-5 <= areas.min() < 0.27
    assert 0.48 < areas.max() <= 0.5 + 1e-5
    assert 0.5 - 1e-5 <= ratios.min() < 0.55
    assert 1.8 < ratios.max() <= 2 + 1e-5
    assert (maps_B33[:, :2, 2].abs() + torch.stack([widths, heights], 1)).max() <= 1 + 1e-5


def test_a_resized_crop_of_an_impossible_window_takes_the_largest_of_the_nearest_ratio() -> None:
    maps_B33 = drawn(RandomResizedCrop(scale=[0.9, 1.0], ratio=[2.0, 3.0]))

    assert set(maps_B33[:, 0, 0].tolist()) == {1.0}
    assert set(maps_B33[:, 1, 1].tolist()) == {0.5}


@pytest.mark.parametrize(
    ("part", "entry", "low", "high"),
    [
        (RandomRotation(degrees=30), lambda maps: torch.atan2(maps[:, 1, 0], maps[:, 0, 0]).rad2deg(), -30, 30),
        (RandomScale(minimum=0.5, maximum=2.0), lambda maps: 1 / maps[:, 0, 0], 0.5, 2.0),
        (RandomShear(x=20, y=0), lambda maps: maps[:, 0, 1].atan().rad2deg(), -20, 20),
        (RandomShear(x=0, y=20), lambda maps: maps[:, 1, 0].atan().rad2deg(), -20, 20),
        (RandomTranslation(x=0.25, y=0), lambda maps: maps[:, 0, 2] / -2, -0.25, 0.25),
        (RandomTranslation(x=0, y=0.25), lambda maps: maps[:, 1, 2] / -2, -0.25, 0.25),
    ],
)
def test_draws_fill_the_range_evenly_and_keep_to_it(
    part: Part, entry: Callable[[Tensor], Tensor], low: float, high: float
) -> None:
    shares = (entry(drawn(part)) - low) / (high - low)

    assert -1e-5 <= shares.min() < 0.05
    assert 0.95 < shares.max() <= 1 + 1e-5
    assert abs(shares.mean() - 0.5) < 0.06


def test_a_perspective_moves_corners_inwards_by_at_most_its_distortion_and_only_some_images() -> None:
    maps_B33 = drawn(RandomPerspective(distortion=0.4, probability=0.5), batch=400)

    corners_43 = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]])
    moved_B43 = torch.linalg.inv(maps_B33) @ corners_43.T
    places_B24 = (moved_B43[:, :2] / moved_B43[:, 2:]).abs()
    is_whole_B = (places_B24 - 1).abs().amax((1, 2)) < 1e-4
    assert 0.4 < is_whole_B.float().mean() < 0.6
    assert 0.6 - 1e-4 <= places_B24.min() < 0.62
    assert places_B24.max() <= 1 + 1e-4


def test_the_strongest_perspective_gives_numbers_everywhere() -> None:
    images = torch.ones(64, 1, 32, 32)

    changed = augment(images, [RandomPerspective(distortion=0.65, probability=1)], generator=seeded())

    assert torch.isfinite(changed).all()
    assert 0 <= changed.min() < changed.max() <= 1 + 1e-5


@pytest.mark.parametrize("direction", ["horizontal", "vertical"])
def test_flips_alone_move_pixels_and_resample_nothing(direction: Any) -> None:
    flipped = IMAGES.flip(3 if direction == "horizontal" else 2)

    always, never = (
        augment(IMAGES.clone(), [RandomFlip(direction=direction, probability=probability)], generator=seeded())
        for probability in (1.0, 0.0)
    )

    assert torch.equal(always, flipped)
    assert torch.equal(never, IMAGES)
