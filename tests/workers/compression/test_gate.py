import math
import re
from typing import Any

import numpy as np
import pytest

from models_store.targets import LABELS, NUMBER, ONE_CLASS
from tests.workers.measured_figures import RIGHT_OF_FP32, measured
from workers.compression.gate import Candidate, Drop, Verdict, choose, paired_drop
from workers.export.figures import Unmeasurable

SIZE_BYTES = 1000


def variant(accuracy: float, speedup: float = 1.0, *, size_bytes: int = SIZE_BYTES, **changes: Any) -> Candidate:
    return Candidate(measured(accuracy, speedup, **changes), size_bytes)


FP32 = Candidate(measured(RIGHT_OF_FP32), SIZE_BYTES, parent=None)


def pruned_int8(accuracy: float, speedup: float, *, over_parent: float) -> Candidate:
    over = {"parent_speedup": over_parent, "parent_speedup_interval": (0.98 * over_parent, 1.02 * over_parent)}
    return Candidate(measured(accuracy, speedup, **over), SIZE_BYTES, parent="pruned")


def test_the_fastest_accepted_variant_is_the_default() -> None:
    choice = choose({"fp32": FP32, "int8": variant(0.945, 2.1), "pruned": variant(0.94, 1.6)}, max_accuracy_drop=0.02)

    assert choice.default == "int8"
    assert all(verdict.accepted for verdict in choice.verdicts.values())


def test_a_variant_that_loses_too_much_is_not_accepted_and_never_the_default() -> None:
    choice = choose({"fp32": FP32, "int8": variant(0.90, 9.0)}, max_accuracy_drop=0.02)

    verdict = choice.verdicts["int8"]
    assert (choice.default, verdict.accepted) == ("fp32", False)
    assert len(verdict.reasons) == 1
    for told in ("loses 0.0500", "0.9000 against 0.9500", "0.0400 to 0.0600", "at most 0.02"):
        assert told in verdict.reasons[0]


@pytest.mark.parametrize("speedup", [0.4, 1.0])
def test_a_variant_that_is_not_faster_is_not_accepted(speedup: float) -> None:
    choice = choose({"fp32": FP32, "int8": variant(0.95, speedup)}, max_accuracy_drop=0.02)

    assert choice.default == "fp32"
    assert choice.verdicts["int8"].reasons[0].startswith(f"is not faster than fp32: {speedup:.2f} times its speed")


@pytest.mark.parametrize(
    ("speedup", "interval", "accepted"),
    [
        (1.02, (1.01, 1.03), False),  # by luck: two sessions of one file differ as much
        (1.15, (0.99, 1.40), False),  # too noisy to tell
        (1.15, (1.08, 1.22), True),
    ],
)
def test_faster_is_faster_beyond_what_measuring_can_be_wrong(
    speedup: float, interval: tuple[float, float], *, accepted: bool
) -> None:
    variants = {"fp32": FP32, "pruned": variant(0.95, speedup, speedup_interval=interval)}

    verdict = choose(variants, max_accuracy_drop=0.02).verdicts["pruned"]

    assert verdict.accepted is accepted
    if not accepted:
        assert f"95 % interval {interval[0]:.2f} to {interval[1]:.2f}" in verdict.reasons[0]


def test_a_variant_slower_than_the_one_it_was_made_from_is_not_accepted_though_faster_than_fp32() -> None:
    variants = {"fp32": FP32, "pruned": variant(0.95, 2.0), "pruned-int8": pruned_int8(0.95, 1.5, over_parent=0.75)}

    choice = choose(variants, max_accuracy_drop=0.02)

    assert choice.default == "pruned"
    (reason,) = choice.verdicts["pruned-int8"].reasons
    assert reason.startswith("is not faster than pruned: 0.75 times its speed")


def test_every_reason_is_told() -> None:
    variants = {"fp32": FP32, "pruned": variant(0.95, 2.0), "pruned-int8": pruned_int8(0.5, 0.5, over_parent=0.25)}

    assert len(choose(variants, max_accuracy_drop=0.02).verdicts["pruned-int8"].reasons) == 3


def test_a_variant_that_failed_on_the_way_keeps_the_reason_however_well_it_measures() -> None:
    stopped = Candidate(measured(0.95, 3.0), SIZE_BYTES, stopped="lost too much before recovery")

    choice = choose({"fp32": FP32, "pruned": stopped}, max_accuracy_drop=0.02)

    assert choice.default == "fp32"
    assert choice.verdicts["pruned"].reasons == ("lost too much before recovery",)


def test_a_variant_that_does_not_run_here_is_not_accepted_and_says_why() -> None:
    choice = choose(
        {"fp32": FP32, "bf16": Candidate(Unmeasurable("no kernel for bfloat16"), 500)}, max_accuracy_drop=1.0
    )

    assert choice.default == "fp32"
    assert choice.verdicts["bf16"].reasons == ("no kernel for bfloat16",)


def test_fp32_alone_is_accepted_and_the_default() -> None:
    choice = choose({"fp32": FP32}, max_accuracy_drop=0.0)

    assert choice.default == "fp32"
    assert choice.verdicts["fp32"].accepted


def test_an_interval_that_ends_at_exactly_the_limit_is_within_it() -> None:
    exactly = variant(0.1, 2.0, accuracy_drop=0.0, accuracy_drop_interval=(0.0, 0.3 - 0.1))

    choice = choose({"fp32": FP32, "int8": exactly}, max_accuracy_drop=0.2)

    assert choice.verdicts["int8"].accepted


@pytest.mark.parametrize(("accuracy", "accepted"), [(0.9499, False), (0.95, False), (0.97, True)])
def test_a_gate_of_nothing_accepts_what_is_better_beyond_chance_alone(accuracy: float, *, accepted: bool) -> None:
    choice = choose({"fp32": FP32, "int8": variant(accuracy, 2.0)}, max_accuracy_drop=0.0)

    assert choice.verdicts["int8"].accepted is accepted
    assert choice.default == ("int8" if accepted else "fp32")


def test_figures_that_are_no_numbers_are_never_accepted() -> None:
    nan = float("nan")
    variants = {
        "fp32": FP32,
        "a": variant(0.95, 2.0, accuracy_drop=nan, accuracy_drop_interval=(nan, nan)),
        "b": variant(0.95, nan),
    }

    choice = choose(variants, max_accuracy_drop=1.0)

    assert choice.default == "fp32"
    assert not choice.verdicts["a"].accepted
    assert not choice.verdicts["b"].accepted


@pytest.mark.parametrize(("objective", "default"), [("latency", "pruned"), ("size", "int8"), ("accuracy", "fp32")])
def test_the_default_is_the_best_by_the_objective(objective: Any, default: str) -> None:
    variants = {
        "fp32": FP32,
        "int8": variant(0.94, 2.0, size_bytes=250),
        "pruned": variant(0.945, 3.0, size_bytes=500),
        "tiny": variant(0.5, 9.0, size_bytes=1),  # fails its gate
    }

    assert choose(variants, max_accuracy_drop=0.02, objective=objective).default == default


@pytest.mark.parametrize(("objective", "default"), [("latency", "fp32"), ("size", "small"), ("accuracy", "small")])
def test_a_variant_as_fast_as_fp32_is_good_enough_where_speed_is_not_what_is_wanted(
    objective: Any, default: str
) -> None:
    variants = {
        "fp32": FP32,
        "small": variant(0.951, 1.0, size_bytes=SIZE_BYTES // 4, speedup_interval=(0.98, 1.02)),
        "slow": variant(0.96, 0.9, size_bytes=SIZE_BYTES // 8, speedup_interval=(0.88, 0.92)),
    }

    choice = choose(variants, max_accuracy_drop=0.02, objective=objective)

    assert choice.default == default
    assert not choice.verdicts["slow"].accepted


def test_between_variants_that_are_equally_good_the_objective_next_to_it_decides() -> None:
    variants = {"fp32": FP32, "int8": variant(0.94, 2.0), "pruned": variant(0.95, 2.0)}

    assert choose(variants, max_accuracy_drop=0.02).default == "pruned"
    assert choose(variants, max_accuracy_drop=0.02, objective="accuracy").default == "pruned"


@pytest.mark.parametrize(
    ("objective", "one", "other"),  # `one` is the better by next to nothing, `other` by what comes next
    [
        ("size", variant(0.95, 1.5, size_bytes=998), variant(0.94, 2.0, size_bytes=1000)),
        ("size", variant(0.94, 2.01, size_bytes=998), variant(0.95, 2.0, size_bytes=1000)),
        ("latency", variant(0.94, 2.05), variant(0.95, 2.0)),
        ("latency", variant(0.94, 2.3, speedup_interval=(1.9, 2.6)), variant(0.95, 2.0, speedup_interval=(1.8, 2.1))),
        ("accuracy", variant(0.95 + 1e-12, 1.5), variant(0.95, 2.0)),
    ],
)
def test_what_is_nearly_as_good_is_as_good(objective: Any, one: Candidate, other: Candidate) -> None:
    variants = {"fp32": Candidate(measured(RIGHT_OF_FP32), 2 * SIZE_BYTES, parent=None), "one": one, "other": other}

    assert choose(variants, max_accuracy_drop=0.02, objective=objective).default == "other"


@pytest.mark.parametrize(
    ("objective", "better", "worse"),
    [
        ("size", variant(0.94, 1.5, size_bytes=900), variant(0.95, 3.0, size_bytes=1000)),
        ("latency", variant(0.94, 2.2), variant(0.95, 2.0)),
        ("accuracy", variant(0.95, 1.5), variant(0.949, 3.0)),
    ],
)
def test_what_is_better_beyond_that_wins(objective: Any, better: Candidate, worse: Candidate) -> None:
    variants = {"worse": worse, "better": better, "fp32": Candidate(measured(0.9), 2000, parent=None)}

    assert choose(variants, max_accuracy_drop=0.02, objective=objective).default == "better"


def test_no_reason_contradicts_itself_by_its_rounding() -> None:
    almost = variant(0.95, 1.0304, speedup_interval=(1.0296, 1.0402))
    above = variant(0.92996, 2.0, accuracy_drop=0.02004, accuracy_drop_interval=(0.01, 0.03))

    verdicts = choose({"fp32": FP32, "almost": almost, "above": above}, max_accuracy_drop=0.02).verdicts

    (slow,), (wrong,) = verdicts["almost"].reasons, verdicts["above"].reasons
    assert "1.0304 times its speed (95 % interval 1.0296 to 1.0402); the whole interval must be above 1.03" in slow
    assert wrong.startswith("loses 0.02004 of accuracy")


def test_what_a_stopped_variant_loses_is_told_once() -> None:
    stopped = Candidate(measured(0.5, 3.0), SIZE_BYTES, stopped="the pruned net loses too much")

    verdict = choose({"fp32": FP32, "pruned": stopped}, max_accuracy_drop=0.02).verdicts["pruned"]

    assert verdict.reasons == ("the pruned net loses too much",)


def test_a_variant_whose_answers_depend_on_the_batch_is_never_the_default() -> None:
    dynamic = Candidate(measured(0.95, 3.0), SIZE_BYTES, batch_dependent=True)

    choice = choose({"fp32": FP32, "dynamic-int8": dynamic}, max_accuracy_drop=0.02)

    assert choice.default == "fp32"
    (reason,) = choice.verdicts["dynamic-int8"].reasons
    assert reason.startswith("an example's answer depends on the others of its request")


@pytest.mark.parametrize("objective", ["latency", "size", "accuracy"])
def test_the_control_is_never_the_default_however_well_it_measures(objective: Any) -> None:
    control = variant(0.99, 3.0, size_bytes=SIZE_BYTES // 2)

    choice = choose({"fp32": FP32, "control": control}, max_accuracy_drop=0.02, objective=objective)

    assert choice.default == "fp32"
    (reason,) = choice.verdicts["control"].reasons
    assert reason.startswith("is the control for the pruned variant")


@pytest.mark.parametrize(("size_bytes", "accepted"), [(539_267, False), (534_000, False), (533_000, True)])
def test_where_size_is_wanted_a_variant_is_smaller_than_fp32_beyond_what_is_as_small(
    size_bytes: int, *, accepted: bool
) -> None:
    fp32 = Candidate(measured(RIGHT_OF_FP32), 539_249, parent=None)

    choice = choose(
        {"fp32": fp32, "fp16": variant(0.96, size_bytes=size_bytes)}, max_accuracy_drop=0.02, objective="size"
    )

    assert choice.verdicts["fp16"].accepted is accepted
    assert choice.default == ("fp16" if accepted else "fp32")
    if not accepted:
        told = f"is not smaller than fp32 by more than 1 %: its file has {size_bytes:,} bytes, fp32's 539,249"
        assert choice.verdicts["fp16"].reasons == (told,)


def test_of_a_sparse_variant_that_is_not_smaller_it_is_told_where_its_zeros_show() -> None:
    sparse = Candidate(measured(0.96), SIZE_BYTES + 18, sparse=True)

    choice = choose({"fp32": FP32, "pruned": sparse}, max_accuracy_drop=0.02, objective="size")

    assert choice.verdicts["fp32"].accepted
    (reason,) = choice.verdicts["pruned"].reasons
    assert reason.endswith("1,018 bytes, fp32's 1,000; its zeros save space only when the file is compressed")


@pytest.mark.parametrize("objective", ["latency", "accuracy"])
def test_where_size_is_not_wanted_a_larger_file_is_accepted(objective: Any) -> None:
    variants = {"fp32": FP32, "pruned": variant(0.96, 2.0, size_bytes=2 * SIZE_BYTES)}

    assert choose(variants, max_accuracy_drop=0.02, objective=objective).default == "pruned"


def test_a_paired_drop_is_the_accuracy_lost_and_its_interval_knows_that_the_images_are_the_same() -> None:
    labels_N = np.random.default_rng(0).integers(0, 10, 1000)
    others_N = np.where(np.arange(1000) < 700, labels_N, (labels_N + 1) % 10)
    answered_N = np.where(np.arange(1000) < 690, labels_N, (labels_N + 1) % 10)

    drop = paired_drop(ONE_CLASS, answered_N, others_N, labels_N)

    assert drop.value == pytest.approx(0.01)
    # 10 of 1000 images differ: a standard error of 0.0031, where two separate draws would have 0.02; and images that
    # were not drawn may be lost or won as well
    assert (drop.low, drop.high) == pytest.approx((0.0016, 0.0184), abs=0.0001)


def test_the_interval_of_two_that_answer_alike_is_no_wider_than_that_of_two_that_differ_once() -> None:
    labels_N = np.arange(20) % 3
    one_wrong_N = np.where(np.arange(20) == 7, (labels_N + 1) % 3, labels_N)

    alike = paired_drop(ONE_CLASS, labels_N, labels_N, labels_N)
    once = paired_drop(ONE_CLASS, one_wrong_N, labels_N, labels_N)

    assert alike.value == 0.0
    assert alike.high == -alike.low == pytest.approx(3.8415 / 20, abs=1e-4)
    assert once.high - once.low > alike.high - alike.low


@pytest.mark.parametrize("count", [1, 2, 6])
def test_few_images_that_are_all_lost_leave_room_for_fewer(count: int) -> None:
    labels_N = np.zeros(count, np.int64)

    drop = paired_drop(ONE_CLASS, labels_N + 1, labels_N, labels_N)

    assert drop.low < drop.value == drop.high == 1.0


def test_of_labels_the_drop_is_in_right_labels() -> None:
    targets_NK = np.ones((100, 4), np.float32)
    others_NK = np.ones((100, 4), np.bool_)
    answered_NK = others_NK.copy()
    answered_NK[:20, 0] = False

    drop = paired_drop(LABELS, answered_NK, others_NK, targets_NK)

    assert drop.value == pytest.approx(0.05)
    assert 0.0 < drop.low < 0.05 < drop.high < 0.1


def test_of_numbers_the_drop_is_in_r2_and_its_interval_holds_it() -> None:
    generator = np.random.default_rng(0)
    true_N1 = generator.normal(size=(400, 1))
    others_N = true_N1[:, 0] + generator.normal(scale=0.3, size=400)
    answered_N = others_N + generator.normal(scale=0.3, size=400)

    drop = paired_drop(NUMBER, answered_N, others_N, true_N1)

    assert drop.value == pytest.approx(0.09, abs=0.03)
    assert 0.03 < drop.low < drop.value < drop.high < 0.16
    assert paired_drop(NUMBER, others_N, others_N, true_N1).value == 0


def lost_and_won(images: int, *, lost: int = 0, won: int = 0) -> Drop:
    """Return the drop of a variant that loses so many of fp32's right answers, and wins so many of its wrong ones."""
    true_N, others_N, answered_N = (np.zeros(images, np.int64) for _ in range(3))
    answered_N[:lost] = 1
    others_N[lost : lost + won] = 1
    return paired_drop(ONE_CLASS, answered_N, others_N, true_N)


def verdict_on(drop: Drop, *, images: int | None, max_accuracy_drop: float = 0.02) -> Verdict:
    changes = {"accuracy_drop_interval": (drop.low, drop.high), "validation_images": images}
    variants = {"fp32": FP32, "int8": variant(RIGHT_OF_FP32 - drop.value, 2.0, **changes)}
    choice = choose(variants, max_accuracy_drop=max_accuracy_drop)
    assert (choice.default == "int8") is choice.verdicts["int8"].accepted
    return choice.verdicts["int8"]


def test_one_image_won_of_112_does_not_show_that_less_than_two_points_are_lost() -> None:
    verdict = verdict_on(lost_and_won(112, won=1), images=112)

    assert not verdict.accepted
    (reason,) = verdict.reasons
    assert reason.startswith(
        "not enough examples to decide: on 112 validation examples its loss of accuracy is -0.0089 ("
    )
    assert "its 95 % interval, -0.0505 to 0.0327, reaches beyond the allowed 0.02" in reason
    assert reason.endswith("; at least about 278 validation examples would be needed")


@pytest.mark.parametrize(
    ("images", "lost", "won", "accepted"),
    [
        (20, 0, 0, False),
        (192, 0, 0, False),
        (193, 0, 0, True),
        (500, 3, 3, True),
        (500, 8, 3, False),  # a loss of one point
        (2000, 20, 10, True),
        (5000, 125, 75, True),
        (5000, 140, 60, False),
    ],
)
def test_a_variant_is_accepted_where_the_images_exclude_a_larger_loss(
    images: int, lost: int, won: int, *, accepted: bool
) -> None:
    verdict = verdict_on(lost_and_won(images, lost=lost, won=won), images=images)

    assert verdict.accepted is accepted
    assert accepted or verdict.reasons[0].startswith("not enough examples to decide")


@pytest.mark.parametrize(("images", "lost", "won"), [(36, 0, 0), (112, 1, 1), (250, 3, 1), (600, 14, 8)])
def test_as_many_images_as_are_said_to_be_needed_are_enough(images: int, lost: int, won: int) -> None:
    (reason,) = verdict_on(lost_and_won(images, lost=lost, won=won), images=images).reasons
    needed = int(re.search(r"at least about ([\d,]+) validation", reason)[1].replace(",", ""))

    more = math.ceil(needed * 1.02 / images)
    fewer = needed // images
    assert verdict_on(lost_and_won(images * more, lost=lost * more, won=won * more), images=images * more).accepted
    assert not verdict_on(lost_and_won(images * fewer, lost=lost * fewer, won=won * fewer), images=None).accepted


def test_a_loss_that_is_measured_is_told_as_a_loss_however_few_the_images() -> None:
    (reason,) = verdict_on(lost_and_won(36, lost=1), images=36).reasons

    assert reason.startswith("loses 0.0278 of accuracy on the validation split")


def test_no_number_of_images_shows_that_nothing_is_lost() -> None:
    (reason,) = verdict_on(lost_and_won(5000), images=5000, max_accuracy_drop=0.0).reasons

    assert reason.endswith("; no number of examples can prove that nothing is lost: allow a loss above 0")


def test_any_loss_is_allowed_where_all_accuracy_may_be_lost() -> None:
    assert verdict_on(lost_and_won(3), images=3, max_accuracy_drop=1.0).accepted


@pytest.mark.parametrize("labels", [1, 20])
def test_of_labels_few_images_tell_as_little_as_of_classes(labels: int) -> None:
    true_NK = np.ones((100, labels), np.float32)

    drop = paired_drop(LABELS, true_NK >= 0.5, true_NK >= 0.5, true_NK)

    assert drop.high == lost_and_won(100).high


@pytest.mark.parametrize("images", [2, 10, 100])
def test_of_numbers_few_images_tell_nothing_though_all_answers_are_the_same(images: int) -> None:
    true_N1 = np.arange(float(images))[:, None]

    drop = paired_drop(NUMBER, true_N1[:, 0], true_N1[:, 0], true_N1)

    assert (drop.value, drop.high) == (0.0, lost_and_won(images).high)


def test_of_numbers_that_are_all_alike_nothing_is_told() -> None:
    true_N1 = np.ones((500, 1))

    drop = paired_drop(NUMBER, true_N1[:, 0], true_N1[:, 0], true_N1)

    assert (drop.low, drop.value, drop.high) == (-1.0, 0.0, 1.0)


@pytest.mark.parametrize("images", [20, 100, 400])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_of_numbers_the_interval_holds_its_level_with_few_images(images: int, noise: float) -> None:
    """A twentieth of the images is answered by the mean: some twenty draws in a thousand may miss what that costs."""
    generator = np.random.default_rng(images)
    costs = 0.05 + noise**2
    missed = 0
    for _ in range(400):
        true_N = generator.normal(size=images)
        answered_N = np.where(generator.random(images) < 0.05, 0.0, true_N) + generator.normal(size=images) * noise
        missed += paired_drop(NUMBER, answered_N, true_N, true_N[:, None]).high < costs

    assert missed / 400 <= 0.08


def test_a_drop_of_what_is_no_number_is_none() -> None:
    true_N1 = np.arange(4.0)[:, None]

    drop = paired_drop(NUMBER, np.full(4, np.nan), true_N1[:, 0], true_N1)

    assert not drop.value <= 1


def test_a_single_image_is_counted_in_the_singular() -> None:
    (reason,) = verdict_on(lost_and_won(1), images=1).reasons

    assert "on 1 validation example its loss of accuracy is" in reason
