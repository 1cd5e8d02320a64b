import numpy as np
import pytest

from workers.evaluation.calibration import (
    BINS,
    activate,
    before_scaling,
    expected_calibration_error,
    fit_temperature,
    reliability,
)

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(0, 4, 800)
LOGITS = GENERATOR.normal(size=(800, 4)) + 1.5 * np.eye(4)[LABELS]
MEMBERS = (GENERATOR.random((400, 3)) < 1 / (1 + np.exp(-GENERATOR.normal(size=(400, 3))))).astype(np.float64)


def test_logits_blown_up_threefold_get_three_times_the_temperature() -> None:
    plain = fit_temperature(LOGITS, LABELS, activation="softmax")
    blown_up = fit_temperature(3 * LOGITS, LABELS, activation="softmax")

    assert blown_up.value == pytest.approx(3 * plain.value, rel=1e-2)
    assert blown_up.loss_after < blown_up.loss_before
    assert blown_up.loss_after == pytest.approx(plain.loss_after, rel=1e-4)


def test_scaling_lowers_the_calibration_error_and_changes_no_answer() -> None:
    temperature = fit_temperature(3 * LOGITS, LABELS, activation="softmax").value

    before = activate(3 * LOGITS, activation="softmax")
    after = activate(3 * LOGITS, activation="softmax", temperature=temperature)

    right = before.argmax(axis=1) == LABELS
    assert (before.argmax(axis=1) == after.argmax(axis=1)).all()
    assert expected_calibration_error(after.max(axis=1), right) < 0.5 * expected_calibration_error(
        before.max(axis=1), right
    )


def test_labels_are_calibrated_one_by_one() -> None:
    logits = 4 * np.log((0.1 + 0.8 * MEMBERS) / (0.9 - 0.8 * MEMBERS))

    found = fit_temperature(logits, MEMBERS, activation="sigmoid")

    assert (found.value, found.reason) == (1.0, "the validation split does not bound it: it is too small, or too easy")
    noisy = logits + GENERATOR.normal(size=logits.shape) * 12
    assert fit_temperature(noisy, MEMBERS, activation="sigmoid").value > 1.5


@pytest.mark.parametrize("logits", [10 * np.eye(4)[LABELS], LOGITS[:1] * 0 + [[0, 9, 0, 0]]])
def test_a_split_that_bounds_no_temperature_leaves_it_at_1_and_says_so(logits: np.ndarray) -> None:
    found = fit_temperature(logits, LABELS[: len(logits)], activation="softmax")

    assert found.value == 1.0
    assert found.loss_before == found.loss_after
    assert found.reason is not None


def test_logits_that_are_no_numbers_leave_it_at_1_and_say_so() -> None:
    found = fit_temperature(np.array([[np.nan, 1.0]]), np.array([0]), activation="softmax")

    assert (found.value, found.reason) == (1.0, "there are no logits, or some are not finite numbers")


def test_a_few_images_do_not_fit_a_temperature_to_their_chance() -> None:
    random = np.random.default_rng(0)
    fitted = []
    for _ in range(100):
        logits_NK = random.normal(0, 2, (12, 2))
        chances_N = activate(logits_NK, activation="softmax")[:, 1]
        fitted.append(fit_temperature(logits_NK, (random.random(12) < chances_N).astype(int), activation="softmax"))

    assert sum(found.value != 1 for found in fitted) <= 10  # one in twenty, by chance
    assert all(found.reason for found in fitted if found.value == 1)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_what_it_was_before_scaling_comes_back_from_the_answers(activation: str) -> None:
    scaled = activate(LOGITS, activation=activation, temperature=1.7)

    restored = before_scaling(scaled, temperature=1.7, activation=activation)

    np.testing.assert_allclose(restored, activate(LOGITS, activation=activation), atol=1e-4)


def test_every_answer_is_in_one_bin_and_empty_bins_say_nothing() -> None:
    bins = reliability(np.array([0.0, 1 / BINS, 0.99, 1.0]), np.array([True, False, True, True]))

    assert [bin_["count"] for bin_ in bins] == [2] + [0] * (BINS - 2) + [2]
    assert bins[0]["accuracy"] == 0.5
    assert bins[-1]["confidence"] == pytest.approx(0.995)
    assert bins[1]["confidence"] is bins[1]["accuracy"] is None
