import pytest

from workers.compression.gate import Measured, choose

FP32 = Measured(accuracy=0.95, speedup=1.0, parent=None)


def test_the_fastest_accepted_form_is_the_default() -> None:
    forms = {"fp32": FP32, "int8": Measured(0.945, 2.1), "pruned": Measured(0.94, 1.6)}

    choice = choose(forms, max_accuracy_drop=0.02)

    assert choice.default == "int8"
    assert all(verdict.accepted for verdict in choice.verdicts.values())
    assert choice.verdicts["int8"].accuracy_drop == pytest.approx(0.005)


def test_a_form_that_loses_too_much_is_not_accepted_and_never_the_default() -> None:
    choice = choose({"fp32": FP32, "int8": Measured(0.90, 9.0)}, max_accuracy_drop=0.02)

    verdict = choice.verdicts["int8"]
    assert (choice.default, verdict.accepted) == ("fp32", False)
    assert len(verdict.reasons) == 1
    assert "loses 0.0500" in verdict.reasons[0]
    assert "at most 0.02" in verdict.reasons[0]


@pytest.mark.parametrize("speedup", [0.4, 1.0])
def test_a_form_that_is_not_faster_is_not_accepted(speedup: float) -> None:
    choice = choose({"fp32": FP32, "int8": Measured(0.95, speedup)}, max_accuracy_drop=0.02)

    assert choice.default == "fp32"
    assert "not faster than fp32" in choice.verdicts["int8"].reasons[0]


def test_a_form_slower_than_the_one_it_was_made_from_is_not_accepted_though_faster_than_fp32() -> None:
    forms = {"fp32": FP32, "pruned": Measured(0.95, 2.0), "pruned-int8": Measured(0.95, 1.5, parent="pruned")}

    choice = choose(forms, max_accuracy_drop=0.02)

    assert choice.default == "pruned"
    assert choice.verdicts["pruned-int8"].reasons == ("is not faster than pruned: 0.75 times its speed",)


def test_every_reason_is_told() -> None:
    forms = {"fp32": FP32, "pruned": Measured(0.95, 2.0), "pruned-int8": Measured(0.5, 0.5, parent="pruned")}

    assert len(choose(forms, max_accuracy_drop=0.02).verdicts["pruned-int8"].reasons) == 3


def test_fp32_alone_is_accepted_and_the_default() -> None:
    choice = choose({"fp32": FP32}, max_accuracy_drop=0.0)

    assert choice.default == "fp32"
    assert choice.verdicts["fp32"].accepted


def test_a_drop_of_exactly_the_limit_is_within_it() -> None:
    choice = choose({"fp32": Measured(0.3, 1.0, None), "int8": Measured(0.1, 2.0)}, max_accuracy_drop=0.2)

    assert choice.verdicts["int8"].accepted


def test_a_form_better_than_fp32_has_a_negative_drop() -> None:
    choice = choose({"fp32": FP32, "int8": Measured(0.96, 2.0)}, max_accuracy_drop=0.0)

    assert choice.verdicts["int8"].accuracy_drop == pytest.approx(-0.01)
    assert choice.default == "int8"


def test_figures_that_are_no_numbers_are_never_accepted() -> None:
    forms = {"fp32": FP32, "a": Measured(float("nan"), 2.0), "b": Measured(0.95, float("nan"))}

    choice = choose(forms, max_accuracy_drop=1.0)

    assert choice.default == "fp32"
    assert not choice.verdicts["a"].accepted
    assert not choice.verdicts["b"].accepted


def test_between_equally_fast_forms_the_more_accurate_one_is_the_default() -> None:
    forms = {"fp32": FP32, "int8": Measured(0.94, 2.0), "pruned": Measured(0.95, 2.0)}

    assert choose(forms, max_accuracy_drop=0.02).default == "pruned"
