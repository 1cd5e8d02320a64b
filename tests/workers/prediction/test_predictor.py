import json
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from models_store.targets import NAMED
from tests.tasks.toy.contract import INPUT, RowCodec
from workers.prediction import predictor
from workers.prediction.comparison import Comparison
from workers.prediction.predictor import Answered
from workers.prediction.rows import Row, Truth


def a_row(number: int, *, truth: Truth | None = "low", fault: str | None = None, data: bytes | None = None) -> Row:
    given = json.dumps([float(number), 0.0, 0.0, 0.0]).encode() if data is None else data
    return Row(number, f"{number}.row", "test", truth, given, fault)


def first_number(inputs: dict[str, np.ndarray]) -> np.ndarray:
    return inputs[INPUT][:, :1]


def predicted(batches: Sequence[Sequence[Row]], *, threads: int = 3) -> list[Answered]:
    answers = predictor.predict(batches, codec=RowCodec(), run=first_number, threads=threads)
    return [each for batch in answers for each in batch]


def test_answers_come_in_the_order_of_the_rows() -> None:
    rows = [a_row(number) for number in range(100)]

    answers = predicted([rows[start : start + 3] for start in range(0, 100, 3)])

    assert [each.row for each in answers] == rows
    assert [float(each.output[0]) for each in answers if each.output is not None] == list(range(100))


def test_a_row_that_cannot_be_decoded_has_the_reason_and_the_others_their_answers() -> None:
    rows = [a_row(0), a_row(1, data=b"[1, 2]"), a_row(2, fault="too large"), a_row(3)]

    answers = predicted([rows, [a_row(4, data=b"nothing")]])

    assert [None if each.output is None else float(each.output[0]) for each in answers] == [0, None, None, 3, None]
    assert [each.fault for each in answers][:3] == [None, "a row has 4 finite numbers", "too large"]


def test_no_more_batches_are_read_than_the_threads_soon_need() -> None:
    read = 0

    def batches() -> Iterator[list[Row]]:
        nonlocal read
        for number in range(1000):
            read += 1
            yield [a_row(number)]

    answers = predictor.predict(batches(), codec=RowCodec(), run=first_number, threads=2)
    next(answers)

    assert read <= 2 * predictor.WAITING_PER_THREAD + 1
    answers.close()


def test_what_stops_the_model_stops_the_job() -> None:
    def broken(_: dict[str, np.ndarray]) -> np.ndarray:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        list(predictor.predict([[a_row(0)]], codec=RowCodec(), run=broken, threads=1))


@pytest.mark.parametrize(
    ("target", "outputs", "truth", "figures"),
    [
        ("class", [0.9, 0.1], "low", {"accuracy": 1.0}),
        ("class", [0.9, 0.1], "unknown", None),
        ("class", [0.9, 0.1], ["low"], None),
        ("labels", [0.9, 0.1], ["low"], {"accuracy": 1.0}),
        ("labels", [0.9, 0.1], [], {"accuracy": 0.5}),
        ("labels", [0.9, 0.1], ["unknown"], None),
        ("labels", [0.9, 0.1], "low", None),
        ("number", [2.0], 4.0, {"mean_squared_error": 4.0}),
        ("number", [2.0], "low", None),
    ],
)
def test_rows_are_compared_with_truths_that_the_model_can_give(
    target: str, outputs: list[float], truth: Truth, figures: dict[str, float] | None
) -> None:
    kind = NAMED[target]  # type: ignore[index]
    comparison = Comparison(kind, ["low", "high"])
    answered = Answered(a_row(0, truth=truth), np.array(outputs, np.float32))

    comparison.add([answered, Answered(a_row(1), None, "no row"), Answered(a_row(2, truth=None), answered.output)])

    assert comparison.compared == (figures is not None)
    assert [*comparison.metrics().values()] == ([] if figures is None else [figures])
