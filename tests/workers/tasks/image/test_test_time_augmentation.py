import numpy as np

from models_store.tasks.image import evaluation
from models_store.tasks.image.augmentation import RandomFlip
from workers.tasks.image.test_time_augmentation import averaged

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
ROWS = np.array([1, 5, 6, 20, *range(22, 40)])
ALWAYS = RandomFlip(probability=1.0)


def left_brightness(images_BHWC: np.ndarray) -> np.ndarray:
    return images_BHWC[:, :, :4].mean(axis=(1, 2, 3), dtype=np.float64)[:, None].astype(np.float32)


def test_the_mean_is_over_the_image_as_it_is_and_its_changed_copies() -> None:
    part = evaluation.TestTimeAugmentation(views=2, augmentation=[ALWAYS])

    means_NK = np.concatenate(list(averaged(left_brightness, IMAGES, ROWS, part=part, seed=0)))

    chosen = IMAGES[ROWS]
    expected = (left_brightness(chosen) + left_brightness(chosen[:, :, ::-1])) / 2
    assert means_NK.shape == (len(ROWS), 1)
    np.testing.assert_allclose(means_NK, expected, atol=0.01)


def test_the_same_seed_changes_the_copies_alike() -> None:
    part = evaluation.TestTimeAugmentation(views=3)

    first, again, other = (
        np.concatenate(list(averaged(left_brightness, IMAGES, ROWS, part=part, seed=seed))) for seed in (1, 1, 2)
    )

    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
