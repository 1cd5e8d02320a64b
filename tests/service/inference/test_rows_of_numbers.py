"""A task whose examples are rows of numbers goes through route, batcher and session, beside images."""

import asyncio
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper

from models_store.settings import Settings
from models_store.tasks import rooms
from models_store.tasks.codec import Codec, Inputs, OverBudget, Tensor, bad_example
from models_store.tasks.task import Contract
from service.inference import devices
from service.inference.engine import Work
from service.inference.nets import SessionNet
from tests import samples
from tests.service.inference.batchers import a_batcher, close
from tests.service.live_service import Service, a_plain_image, problem_of, running
from tests.service.onnx_files import write_colour_net
from tests.service.prediction_requests import as_text, metric_of

# B batch, L length of the longest row
Row = npt.NDArray[np.float32]
MOST_NUMBERS = 100


class Numbers:
    """How many numbers the rows of a request may have together."""

    left = MOST_NUMBERS

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise OverBudget(f"the rows have more than {MOST_NUMBERS} numbers together")


@dataclass(frozen=True)
class RowCodec(Codec[Row]):
    """Rows of any length; the file gets them padded, and where their numbers are."""

    scale: float

    def describe(self) -> tuple[Tensor, ...]:
        return Tensor("values", "float32", (None,)), Tensor("present", "float32", (None,))

    def budget(self) -> Numbers:
        return Numbers()

    def decode(self, given: bytes | list[float], *, budget: Numbers | None = None) -> Row:
        if isinstance(given, bytes):
            raise bad_example("not_a_row", "a row of numbers comes in JSON, not as a file")
        with np.errstate(over="ignore"):
            row_L = np.array(given, np.float32) * np.float32(self.scale)
        if len(row_L) == 0:
            raise bad_example("empty_row", "there are no numbers")
        for place in np.flatnonzero(~np.isfinite(row_L)):
            raise bad_example("too_large", "it does not fit into 32 bits", pointer=f"/{place}", allowed={"bits": 32})
        if budget is not None:
            budget.spend(len(row_L))
        return row_L

    def collate(self, examples: Sequence[Row]) -> Inputs:
        longest = max(map(len, examples))
        values_BL, present_BL = np.zeros((2, len(examples), longest), np.float32)
        for place, row_L in enumerate(examples):
            values_BL[place, : len(row_L)] = row_L
            present_BL[place, : len(row_L)] = 1
        return {"values": values_BL, "present": present_BL}


class NotingCodec(RowCodec):
    """One that notes the numbers of longer rows."""

    def notes(self, example: Row) -> dict[str, Any]:
        return {"numbers": len(example)} if len(example) > 1 else {}

    def decodes_quickly(self, given: Any) -> bool:  # noqa: ARG002  a row is short
        return True


class RowContract(Contract):
    """Rows of numbers → whether their sum is positive."""

    targets = {"row_classification": "class"}  # noqa: RUF012  one for everybody
    example, examples = "row", "rows"
    json_example = list[float]
    json_meaning = "rows of numbers"
    json_sample = (1.5, -2)
    media_types = ("text/csv",)

    def codec(self, card: Mapping[str, Any], *, files: Mapping[str, Path], settings: Settings) -> RowCodec:  # noqa: ARG002  no limits
        return RowCodec(json.loads(files["scale"].read_text()) if "scale" in files else card["input"]["scale"])


def write_sum_net(path: Path, *, kind: int = TensorProto.FLOAT) -> Path:
    """Write a net of two inputs: softmax(sum, -sum) of the values that are present."""
    nodes = [
        helper.make_node("Cast", ["values"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "present"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "axis"], ["sum"], keepdims=1),
        helper.make_node("MatMul", ["sum", "signs"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["answers"]),
    ]
    constants = {"axis": np.array([1]), "signs": np.array([[1, -1]], np.float32)}
    graph = helper.make_graph(
        nodes,
        "sums",
        [
            helper.make_tensor_value_info("present", TensorProto.FLOAT, ["N", "L"]),
            helper.make_tensor_value_info("values", kind, ["N", "L"]),
        ],
        [helper.make_tensor_value_info("answers", TensorProto.FLOAT, ["N", 2])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def expected(row: Sequence[float]) -> float:
    """Return the probability that the net gives to a positive sum."""
    return float(1 / (1 + np.exp(-2 * sum(row))))


ROWS = {"task": "row_classification", "labels": ["positive", "negative"], "input": {"scale": 1.0}}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service in a house with two tasks, and a model of each."""
    folder = tmp_path_factory.mktemp("rows")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rooms, "TASKS", (*rooms.TASKS, RowContract()))
        with running(samples.quick_settings(folder / "home", predict_max_inputs=8)) as live:
            live.publish("sums", write_sum_net(folder / "sums.onnx"), **ROWS)
            live.publish("colours", write_colour_net(folder / "colours.onnx"))
            yield live


def ask(service: Service, *rows: Any, model: str = "sums") -> httpx.Response:
    return service.http.post("/predict", json={"model": model, "inputs": rows})


def test_rows_of_different_lengths_in_one_request_get_their_own_answers(service: Service) -> None:
    rows = [[0.5], [1, -2, 0.25], [0.1, 0.1]]

    predictions = ask(service, *rows).raise_for_status().json()["predictions"]

    assert [each["label"] for each in predictions] == ["positive", "negative", "positive"]
    found = [{top["label"]: top["probability"] for top in each["top"]}["positive"] for each in predictions]
    assert found == pytest.approx([expected(row) for row in rows], abs=1e-6)


def test_a_fault_in_a_row_is_pointed_at(service: Service) -> None:
    problem = problem_of(ask(service, [1], [1, 1e300], []), 422, "bad_input")

    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [
        ("/inputs/1/1", "too_large"),
        ("/inputs/2", "empty_row"),
    ]
    assert problem["errors"][0]["allowed"] == {"bits": 32}


@pytest.mark.parametrize(
    ("model", "given", "pointer"),
    [("sums", "aGk=", "/inputs/0"), ("sums", [1, "2"], "/inputs/0/1"), ("colours", [1.0], "/inputs/0")],
)
def test_json_of_another_kind_than_the_models_task_takes_is_refused(
    service: Service, model: str, given: Any, pointer: str
) -> None:
    problem = problem_of(ask(service, given, model=model), 422, "invalid_body")

    assert [error["pointer"] for error in problem["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("model", "inputs", "pointers"),
    [
        ("sums", ["aGk="], ["/inputs/0", "/top_k"]),
        ("colours", [1], ["/inputs/0", "/top_k"]),
        ("nobody", [True], ["/inputs/0", "/top_k"]),
        ("nobody", ["aGk=", [1.0]], ["/top_k"]),
    ],
)
def test_all_faults_of_a_body_are_told_at_once_before_its_model_is_missed(
    service: Service, model: str, inputs: list[Any], pointers: list[str]
) -> None:
    body = {"model": model, "inputs": inputs, "top_k": "three"}

    problem = problem_of(service.http.post("/predict", json=body), 422, "invalid_body")

    assert [error["pointer"] for error in problem["errors"]] == pointers


def test_a_file_is_refused_where_an_example_is_none(service: Service) -> None:
    form = service.http.post("/predict?model=sums", files={"files": b"1,2"})
    raw = service.http.post("/predict?model=sums", content=b"1,2", headers={"Content-Type": "text/csv"})

    assert problem_of(form, 422, "bad_input")["errors"][0]["pointer"] == "/files/0"
    assert problem_of(raw, 422, "bad_input")["errors"][0]["pointer"] == "body"


def test_rows_that_are_too_much_together_are_refused_as_a_whole(service: Service) -> None:
    row = [0.01] * (MOST_NUMBERS // 2)

    assert ask(service, row, row).status_code == 200
    problem_of(ask(service, row, row, [1]), 413, "over_budget")


def test_images_are_answered_beside_rows_and_each_are_counted(service: Service) -> None:
    answer = ask(service, as_text(a_plain_image((5, 250, 5))), model="colours")

    assert answer.json()["predictions"][0]["label"] == "green"
    assert sum(metric_of(service, "espalier_predicted_images_total")) == 1
    rows = sum(metric_of(service, "espalier_predicted_rows_total"))
    ask(service, [1], [2])
    assert sum(metric_of(service, "espalier_predicted_rows_total")) == rows + 2
    assert metric_of(service, "espalier_waiting_rows") == [0]


def test_too_many_examples_are_refused_in_the_words_of_all_tasks(service: Service) -> None:
    problem = problem_of(ask(service, *[[1]] * 9), 422, "invalid_body")

    assert problem["detail"].startswith("at most 8 images, texts or rows may come at once")


def test_a_models_own_files_reach_its_codec(service: Service, tmp_path: Path) -> None:
    (tmp_path / "scale.json").write_text("-1")
    net = write_sum_net(tmp_path / "net.onnx")
    net.write_bytes(onnx.load(net).SerializeToString(deterministic=True) + b"\x52\x00")  # another blob: a domain of ""
    service.publish("upside-down", net, auxiliary={"scale": tmp_path / "scale.json"}, **ROWS)

    answer = ask(service, [1, 2], model="upside-down")

    assert answer.json()["predictions"][0]["label"] == "negative"


def test_a_file_whose_inputs_are_of_another_type_is_not_served(service: Service, tmp_path: Path) -> None:
    service.publish("whole", write_sum_net(tmp_path / "net.onnx", kind=TensorProto.INT64), **ROWS)

    problem_of(ask(service, [1], model="whole"), 503, "model_unusable")


@pytest.mark.parametrize("quick_s", [0.0, 1e-6], ids=["lanes", "event loop"])
def test_what_the_codec_notes_of_an_example_comes_with_its_outputs(tmp_path: Path, quick_s: float) -> None:
    session = devices.open_session(write_sum_net(tmp_path / "net.onnx"), provider=devices.CPU, threads=1)
    batcher = a_batcher(SessionNet(session), codec=NotingCodec(scale=1.0), run_s=quick_s)

    async def notes(*rows: list[float]) -> list[dict[str, Any]]:
        return list((await batcher.infer(Work(rows, [""] * len(rows)))).notes)

    assert asyncio.run(notes([1, 2, 3], [1], [0, 2])) == [{"numbers": 3}, {}, {"numbers": 2}]
    assert asyncio.run(notes([1])) == []
    close(batcher)


def test_among_a_hundred_concurrent_requests_every_answer_belongs_to_its_row(tmp_path: Path) -> None:
    session = devices.open_session(write_sum_net(tmp_path / "net.onnx"), provider=devices.CPU, threads=1)
    chance = random.Random(5)

    batcher = a_batcher(SessionNet(session), codec=RowCodec(scale=1.0))

    async def one() -> None:
        rows = [[chance.uniform(-1, 1) for _ in range(chance.randint(1, 9))] for _ in range(chance.randint(1, 5))]
        answer = await batcher.infer(Work(rows, [""] * len(rows)))
        found = [float(row_K[0]) for row_K in answer.outputs]
        assert found == pytest.approx([expected(row) for row in rows], abs=1e-5)

    async def all_at_once() -> None:
        await asyncio.gather(*(one() for _ in range(100)))

    asyncio.run(all_at_once())
    close(batcher)
