"""Every task, from an upload to a prediction, through training, a search, compression and a report, in one stack.

The stack runs from a copy of this project that has one task more, the toy: it stands for any that is yet to come.
"""

import base64
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from models_store.tasks.rooms import TASKS
from tests.tasks import house
from tests.tasks.house import House
from tests.tasks.image.samples import SAMPLES as OF_IMAGES
from tests.tasks.samples import Sample
from tests.tasks.text.samples import SAMPLES as OF_TEXTS
from tests.tasks.toy.samples import SAMPLES as OF_THE_TOY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SAMPLES = OF_IMAGES | OF_TEXTS | OF_THE_TOY
ROOM_LINES = 150
TRAINING = {"epochs": 2, "batch_size": 16, "precision": "fp32"}
CUT = {
    "prune": {"kind": "structured", "ratio": 0.5, "round_to": 4},
    "recover": {"epochs": 1},
    "quantize": [{"kind": "static_int8"}],
    "max_accuracy_drop": 1.0,
}
SEARCH = {"kind": "random", "trials": 2, "space": {"optimizer.lr": {"log_uniform": [1e-3, 1e-2]}}}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = house.build(tmp_path_factory.mktemp("house") / "espalier")
    with house.running(folder, home=tmp_path_factory.mktemp("house") / "home") as running:
        yield running


class Trained:
    """A task's dataset, and the job that has trained on it."""

    def __init__(self, stack: House, task: str, sample: Sample) -> None:
        self.stack, self.task, self.sample = stack, task, sample
        self.model = task.replace("_", "-")
        self.dataset = stack.upload(sample.archive(), name=self.model)
        self.job = stack.ended(self.train(compression=CUT))

    def train(self, *, name: str = "", **spec: Any) -> Any:
        asked = {"task": self.task, "name": name or self.model, "dataset": self.dataset["id"], "training": TRAINING}
        return self.stack.http.post(
            "/train", json=asked | {"evaluation": {"bootstrap_samples": 100}} | dict(self.sample.spec) | spec
        )

    @property
    def version(self) -> dict[str, Any]:
        return self.stack.version(self.model, 1)


@pytest.fixture(scope="module")
def trainings(stack: House) -> Callable[[str], Trained]:
    """Return what gives a task's training, which is done once."""
    return cache(lambda task: Trained(stack, task, SAMPLES[task]))


@pytest.fixture(params=SAMPLES)
def trained(request: pytest.FixtureRequest, trainings: Callable[[str], Trained]) -> Trained:
    return trainings(request.param)


def of(*tasks: str) -> pytest.MarkDecorator:
    """Let a test whose jobs take long run for one task of each room; together such tests have every target."""
    return pytest.mark.parametrize("trained", tasks, indirect=True)


def test_there_is_a_sample_of_every_task() -> None:
    assert {task for contract in TASKS for task in contract.targets} <= SAMPLES.keys()


def test_each_room_is_in_the_tests_of_one_task_a_room() -> None:
    rooms = [set(contract.targets) for contract in TASKS]
    chosen = [set(mark.args[1]) for test in SLOW for mark in test.pytestmark if mark.name == "parametrize"]

    assert len(chosen) == len(SLOW)
    assert all(len(tasks & room) == 1 for tasks in chosen for room in rooms)


def test_the_toys_two_rooms_are_small() -> None:
    lines = [line for path in house.TOY for line in path.read_text().splitlines()]

    assert len(lines) < ROOM_LINES


def test_training_makes_measured_variants(trained: Trained) -> None:
    version = trained.version

    variants = {each["name"]: each for each in version["variants"]}
    assert (version["task"], version["not_made"]) == (trained.task, {})
    assert {"fp32", "int8", "pruned", "pruned-int8"} <= variants.keys()
    for name in ("fp32", "int8", "pruned", "pruned-int8"):
        figures = variants[name]["measured"]["cpu"]
        assert figures["accuracy"]["val"] is not None
        assert figures["latency_ms"]["p50"] > 0


def test_an_example_gets_the_same_answer_as_json_as_a_file_and_on_the_command_line(
    trained: Trained, tmp_path: Path
) -> None:
    name, content = trained.sample.file
    path, lines = tmp_path / name, tmp_path / "examples.jsonl"
    path.write_bytes(content)
    lines.write_text(json.dumps(trained.sample.value) + "\n")

    value = trained.stack.http.post("/predict", json={"model": trained.model, "inputs": [trained.sample.value]})
    file = trained.stack.http.post("/predict", data={"model": trained.model}, files={"files": (name, content)})
    shown = trained.stack.command("predict", trained.model, path, lines, "--top-k", "5")

    (answer,) = value.raise_for_status().json()["predictions"]
    assert file.raise_for_status().json()["predictions"] == [answer]
    assert shown["predictions"] == [answer, answer]


def test_an_example_gets_the_same_answer_by_the_inference_protocol(trained: Trained) -> None:
    value = trained.sample.value
    text = value if isinstance(value, str) else json.dumps(value)
    inputs = [{"name": "examples", "datatype": "BYTES", "shape": [1], "data": [text]}]

    metadata = trained.stack.http.get(f"/v2/models/{trained.model}").raise_for_status().json()
    answer = trained.stack.http.post(f"/v2/models/{trained.model}/infer", json={"inputs": inputs})
    plain = trained.stack.http.post("/predict", json={"model": trained.model, "inputs": [value]})

    (output,) = answer.raise_for_status().json()["outputs"]
    (prediction,) = plain.raise_for_status().json()["predictions"]
    (described,) = metadata["outputs"]
    assert (output["name"], output["shape"]) == (described["name"], [1, *described["shape"][1:]])
    best = prediction["top"][0]["probability"] if "top" in prediction else prediction["value"]
    assert max(output["data"]) == pytest.approx(best, rel=1e-5)


def test_an_answer_is_explained_by_a_picture_or_by_weights_or_it_is_said_that_it_cannot_be(trained: Trained) -> None:
    request = {"model": trained.model, "inputs": [trained.sample.value], "explain": True}

    answer = trained.stack.http.post("/predict", json=request)

    if answer.is_success:
        (prediction,) = answer.json()["predictions"]
        explanation = prediction["explanation"]
        if "weights" in explanation:
            assert "".join(part["text"] for part in explanation["weights"]) == trained.sample.value
        else:
            assert base64.b64decode(explanation["heat_map"]).startswith(b"\x89PNG")
    else:
        assert (answer.status_code, answer.json()["code"]) == (422, "not_explained")


@of("image_classification", "text_regression", "row_classification")
def test_a_dataset_and_a_folder_are_predicted_as_single_examples_are(trained: Trained, tmp_path: Path) -> None:
    name, content = trained.sample.file
    folder, ours, theirs = tmp_path / "folder", tmp_path / "dataset.jsonl", tmp_path / "folder.jsonl"
    folder.mkdir()
    (folder / name).write_bytes(content)
    (folder / f"broken-{name}").write_bytes(trained.sample.broken)
    data = {"model": trained.model, "top_k": 5}
    single = trained.stack.http.post("/predict", data=data, files={"files": (name, content)})
    (answer,) = single.raise_for_status().json()["predictions"]

    of_dataset = trained.stack.command(
        "predict-dataset", trained.model, trained.dataset["id"], "--format", "jsonl", "--top-k", "5", "-o", ours
    )
    trained.stack.command("predict-dataset", trained.model, folder, "--format", "jsonl", "--top-k", "5", "-o", theirs)

    rows = [json.loads(line) for line in ours.read_text().splitlines()]
    broken, whole = sorted(map(json.loads, theirs.read_text().splitlines()), key=lambda row: row["file"])
    assert of_dataset["file"] == str(ours)
    assert len(rows) == sum(trained.dataset["splits"].values())
    assert all(row["truth"] is not None and row["error"] is None for row in rows)
    assert rows[0].keys() == whole.keys() >= answer.keys()
    assert [*_values({key: whole[key] for key in answer})] == [
        pytest.approx(each, abs=1e-5) for each in _values(answer)
    ]
    assert broken["error"]
    assert {broken[key] for key in answer} == {None}


def _values(document: Any) -> Iterator[Any]:
    """Yield the names and numbers of a prediction, in order."""
    if isinstance(document, dict | list):
        for child in document.values() if isinstance(document, dict) else document:
            yield from _values(child)
    else:
        yield document


def test_the_report_has_the_figures_and_a_page(trained: Trained, tmp_path: Path) -> None:
    page = tmp_path / "report.html"

    report = trained.stack.command("jobs", "report", trained.job["id"], "--html", page)

    assert (report["task"], report["dataset"]) == (trained.task, trained.dataset["id"])
    assert report["splits"].keys() == {"val", "test"}
    assert len(report["history"]) == TRAINING["epochs"]
    assert page.read_text().startswith("<!doctype html>")


def test_a_report_of_texts_has_their_lengths_and_what_serving_notes(trainings: Callable[[str], Trained]) -> None:
    trained = trainings("text_regression")

    report = trained.stack.http.get(f"/jobs/{trained.job['id']}/report").raise_for_status().json()

    for section in report["splits"].values():
        assert sum(band["count"] for band in section["by_length"]["bands"]) == section["images"]
        assert section["by_length"]["figure"] == "mae"
        assert section["input_notes"].keys() >= {"truncated", "unknown_share", "empty"}
        assert all(mistake["text"] for mistake in section["mistakes"])


@of("image_regression", "text_classification", "row_classification")
def test_a_version_is_measured_again(trained: Trained) -> None:
    before = trained.version

    job = trained.stack.ended(trained.stack.http.post(f"/models/{trained.model}/versions/1:measure"))

    measured = {each["name"] for each in before["variants"] if not each["standalone"]}
    assert {each["variant"] for each in job["result"]["measured"]} == measured
    assert trained.version["metrics"] == before["metrics"]


@of("multilabel_classification", "text_regression", "row_classification")
def test_a_version_is_compressed_without_training(trained: Trained) -> None:
    asked = {"quantize": [{"kind": "fp16"}]}

    job = trained.stack.ended(trained.stack.http.post(f"/models/{trained.model}/versions/1:compress", json=asked))

    compressed = trained.stack.version(trained.model, job["result"]["version"])
    assert compressed["compressed_from"] == f"{trained.model}:1"
    assert compressed["metrics"] == trained.version["metrics"]
    assert {"fp32", "fp16"} <= {each["name"] for each in compressed["variants"]}


@of("image_regression", "text_multilabel", "row_classification")
def test_a_search_trains_the_best_of_its_trials(trained: Trained) -> None:
    job = trained.stack.ended(trained.train(name=f"{trained.model}-searched", compression=None, search=SEARCH))

    assert [each["state"] for each in job["result"]["trials"]] == ["succeeded", "succeeded"]
    assert trained.stack.version(f"{trained.model}-searched", job["result"]["version"])["task"] == trained.task


SLOW = (
    test_a_dataset_and_a_folder_are_predicted_as_single_examples_are,
    test_a_version_is_measured_again,
    test_a_version_is_compressed_without_training,
    test_a_search_trains_the_best_of_its_trials,
)
"""tests whose jobs take long, each of one task of every room"""
