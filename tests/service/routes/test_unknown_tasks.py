"""A model, a job and a dataset of a task that is not known here: lists show them, and what needs the task says so."""

from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import update

from models_store.storage import tables
from tests.service.live_service import Service, a_plain_image, problem_of
from tests.service.onnx_files import write_colour_net
from tests.service.prediction_requests import as_text

TASK = "smell_classification"


@pytest.fixture(scope="module")
def model(service: Service, tmp_path_factory: pytest.TempPathFactory) -> str:
    service.publish("smells", write_colour_net(tmp_path_factory.mktemp("net") / "net.onnx"), task=TASK)
    return "smells"


@pytest.fixture
def dataset(service: Service) -> Iterator[str]:
    created = service.upload("smells")
    ours = tables.dataset.c.id == created["id"]
    with service.context.database.write() as connection:
        card = connection.execute(tables.dataset.select().where(ours)).one().card
        connection.execute(update(tables.dataset).where(ours).values(card=card | {"examples": "smells"}))
    yield str(created["id"])
    with service.context.database.write() as connection:
        connection.execute(update(tables.dataset).where(ours).values(card=card))


def test_a_prediction_names_the_models_task_and_the_known_ones(service: Service, model: str) -> None:
    image = a_plain_image((5, 250, 5))
    answers = [
        service.http.post("/predict", json={"model": model, "inputs": [as_text(image)]}),
        service.http.post("/predict", params={"model": model}, files={"files": image}),
        service.http.post(
            "/predict", params={"model": model}, content=image, headers={"Content-Type": "application/octet-stream"}
        ),
    ]

    for answer in answers:
        detail = problem_of(answer, 503, "unknown_task")["detail"]
        assert TASK in detail
        assert "image_classification" in detail
    with httpx.Client(base_url=service.url) as other:  # one that does not hold answers to the tasks documented here
        assert other.get(f"/models/{model}").status_code == 200
        assert other.get(f"/models/{model}/versions/1").json()["task"] == TASK


def test_a_dataset_is_shown_and_its_examples_are_refused(service: Service, dataset: str) -> None:
    assert service.http.get(f"/datasets/{dataset}").status_code == 200
    problem_of(service.http.get(f"/datasets/{dataset}/images"), 503, "unknown_task")
    problem_of(service.http.post(f"/datasets/{dataset}:preview", json={}), 503, "unknown_task")
    problem_of(service.http.post("/train", json={"name": "x", "dataset": dataset}), 503, "unknown_task")


def test_a_job_is_shown_and_not_queued_again(service: Service) -> None:
    dataset = service.upload("others")["id"]
    job = service.http.post("/train", json={"name": "odd", "dataset": dataset}).json()
    with service.context.database.write() as connection:
        ours = tables.job.c.id == job["id"]
        spec = job["spec"] | {"task": TASK}
        connection.execute(update(tables.job).where(ours).values(spec=spec, state="failed"))

    with httpx.Client(base_url=service.url) as other:  # one that does not hold the spec to the tasks documented here
        assert other.get(f"/jobs/{job['id']}").json()["spec"]["task"] == TASK
        assert job["id"] in [each["id"] for each in other.get("/jobs").json()["items"]]
    problem_of(service.http.post(f"/jobs/{job['id']}:retry"), 503, "unknown_task")
