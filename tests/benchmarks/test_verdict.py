import json

import pytest

from benchmarks.verdict import Goal, conclude, interleaved, median_ratio


@pytest.mark.parametrize(
    ("bound", "measured", "code"),
    [("at least", 0.9, 0), ("at least", 0.8, 1), ("at most", 0.9, 1), ("at most", 0.8, 0)],
)
def test_a_missed_goal_is_exit_code_1_and_the_last_line_is_json(
    capsys: pytest.CaptureFixture[str], bound: str, measured: float, code: int
) -> None:
    goals = [Goal("speed", "at least" if bound == "at least" else "at most", 0.85)]

    with pytest.raises(SystemExit) as exit_of:
        conclude("wheels", {"speed": measured, "rounds": 3}, goals=goals)

    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert exit_of.value.code == code
    assert set(document) == {"benchmark", "figures", "goals", "met", "machine"}
    assert document["met"] == (code == 0)


def test_a_quick_run_judges_nothing() -> None:
    with pytest.raises(SystemExit) as exit_of:
        conclude("wheels", {"speed": 0.0}, goals=[Goal("speed", "at least", 1)], binding=False)

    assert exit_of.value.code == 0


def test_runs_take_turns_in_both_orders() -> None:
    order: list[str] = []

    def run(name: str) -> float:
        order.append(name)
        return float(len(order))

    measured = interleaved({"a": lambda: run("a"), "b": lambda: run("b")}, rounds=2)

    assert order == ["a", "b", "b", "a"]
    assert measured == {"a": [1.0, 4.0], "b": [2.0, 3.0]}


def test_one_slow_round_does_not_spoil_the_ratio() -> None:
    assert median_ratio([2.0, 2.0, 0.1], [1.0, 1.0, 1.0]) == 2.0
