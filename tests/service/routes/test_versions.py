"""Versions taken up again over HTTP: what is queued, what is refused and where the body is at fault."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import update

from models_store.jobs import claims, submissions
from models_store.models import measure
from models_store.storage import tables
from tests import samples
from tests.service.live_service import OWNER, Service, problem_of
from tests.service.onnx_files import write_colour_net

COMPRESS = "/models/colours/versions/1:compress"
MEASURE = "/models/colours/versions/1:measure"


@pytest.fixture(scope="module", autouse=True)
def colours(service: Service, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Publish a version with its weights, and one without."""
    folder = tmp_path_factory.mktemp("onnx")
    for _ in range(2):
        service.publish("colours", write_colour_net(folder / "net.onnx"))
    _change_version(service, 1, weights_blob="a" * 64)


def _change_version(service: Service, number: int, **values: Any) -> None:
    table = tables.version
    with service.context.database.write() as connection:
        which = (table.c.model == "colours", table.c.number == number)
        connection.execute(update(table).where(*which).values(**values))


def post(service: Service, path: str, body: Any = None, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return service.http.post(path, content=content, headers={"Content-Type": "application/json", **headers})


def test_a_compression_is_queued_with_the_versions_spec_and_another_compression(service: Service) -> None:
    answer = post(service, COMPRESS, {"quantize": [{"kind": "fp16"}], "max_accuracy_drop": 0.5})

    job = answer.json()
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert (job["kind"], job["state"], job["name"]) == ("compress", "queued", "colours")
    assert job["parameters"] == {"model": "colours", "version": 1}
    assert [part["kind"] for part in job["spec"]["compression"]["quantize"]] == ["fp16"]
    assert (job["spec"]["backbone"]["kind"], job["spec"]["training"]["epochs"]) == ("small_cnn", 2)
    assert "training" not in [step["name"] for step in job["steps"]]
    assert [step["name"] for step in job["steps"] if step["state"] == "pending"][-1] == "publishing"


def test_a_measuring_is_queued_with_the_versions_spec(service: Service) -> None:
    answer = service.http.post(MEASURE)

    job = answer.json()
    assert (answer.status_code, job["kind"], job["state"]) == (202, "measure", "queued")
    assert job["parameters"] == {"model": "colours", "version": 1}
    assert [step["name"] for step in job["steps"]] == ["validating", "measuring", "publishing"]
    assert job["id"] in [each["id"] for each in service.http.get("/jobs?limit=100").json()["items"]]


def test_a_dry_run_says_what_a_compression_means_and_queues_nothing(service: Service) -> None:
    before = len(service.http.get("/jobs?limit=100").json()["items"])

    body = {"quantize": [{"kind": "static_int8", "calibration_images": 9999}]}

    answer = post(service, f"{COMPRESS}?dry_run=true", body)

    meant = answer.json()
    assert (answer.status_code, meant["kind"], meant["children"]) == (200, "compress", 0)
    assert meant["spec"]["compression"]["quantize"][0]["calibration"] == "minmax"
    assert any("calibration_images" in warning for warning in meant["warnings"])
    assert any("validation images: not enough" in warning for warning in meant["warnings"])
    assert len(service.http.get("/jobs?limit=100").json()["items"]) == before


@pytest.mark.parametrize("path", [COMPRESS, MEASURE])
def test_the_same_key_makes_one_job(service: Service, path: str) -> None:
    key = {"Idempotency-Key": uuid4().hex}

    first, again = (post(service, path, {}, **key) for _ in range(2))

    assert (first.status_code, again.status_code) == (202, 202), first.text
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"


def test_the_same_key_with_another_body_is_refused(service: Service) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    post(service, COMPRESS, {}, **key)

    problem_of(post(service, COMPRESS, {"max_accuracy_drop": 0.5}, **key), 422, "idempotency_key_reused")


@pytest.mark.parametrize("path", [COMPRESS, MEASURE])
def test_a_canceled_job_is_tried_again_as_what_it_was(service: Service, path: str) -> None:
    job = post(service, path, {"quantize": [{"kind": "bf16"}]} if path == COMPRESS else {}).json()
    canceled = service.http.post(f"/jobs/{job['id']}:cancel").json()

    again = service.http.post(f"/jobs/{job['id']}:retry").json()

    assert canceled["state"] == "canceled"
    assert again["id"] != job["id"]
    assert {name: again[name] for name in ("kind", "parameters", "spec", "state")} == {
        name: job[name] for name in ("kind", "parameters", "spec", "state")
    }


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"prun": {}}, "/prun"),
        ({"prune": {"kind": "structured", "ratio": 1}}, "/prune/ratio"),
        ({"quantize": [{"kind": "static_int8", "calibration_images": 0}]}, "/quantize/0/calibration_images"),
        ({"quantize": [{"kind": "int8"}]}, "/quantize/0/kind"),
        ({"quantize": [{"kind": "fp16"}, {"kind": "fp16"}]}, "/quantize/1/kind"),
        ({"quantize": {"kind": "static_int8"}}, "/quantize"),
        ({"max_accuracy_drop": "little"}, "/max_accuracy_drop"),
        ({"control": True}, "/control"),
        ([], ""),
    ],
)
def test_a_body_at_fault_is_told_where(service: Service, body: Any, pointer: str) -> None:
    problem = problem_of(post(service, COMPRESS, body), 422, "invalid_body")

    assert pointer in [error["pointer"] for error in problem["errors"]]


def test_a_compression_that_does_not_fit_the_versions_spec_is_told_relative_to_the_body(
    service: Service, tmp_path: Path
) -> None:
    service.publish("frozen", write_colour_net(tmp_path / "net.onnx", name="frozen"))
    backbone = {"kind": "resnet18", "weights": "imagenet", "freeze": "backbone"}
    spec = samples.a_train_spec(name="frozen", backbone=backbone).model_dump(mode="json")
    with service.context.database.write() as connection:
        connection.execute(
            update(tables.version).where(tables.version.c.model == "frozen").values(weights_blob="b" * 64)
        )
        connection.execute(update(tables.job).where(tables.job.c.name == "frozen").values(spec=spec))

    answer = post(service, "/models/frozen/versions/1:compress", {"prune": {"kind": "structured"}, "recover": None})

    problem = problem_of(answer, 422, "invalid_body")
    assert [error["pointer"] for error in problem["errors"]] == ["/recover"]
    assert "frozen" in problem["detail"]


def test_a_compression_that_asks_for_nothing_is_refused(service: Service) -> None:
    problem = problem_of(post(service, COMPRESS, {"quantize": []}), 422, "nothing_to_make")

    assert [error["pointer"] for error in problem["errors"]] == ["/quantize"]


@pytest.mark.parametrize("body", [b"", b"{", b'{"max_accuracy_drop": NaN}', b'{"prune": null, "prune": null}'])
def test_what_is_not_strict_json_is_malformed(service: Service, body: bytes) -> None:
    problem_of(post(service, COMPRESS, body), 400, "malformed_request")


@pytest.mark.parametrize("verb", ["compress", "measure"])
@pytest.mark.parametrize("version", ["nobody/versions/1", "colours/versions/99"])
def test_a_version_that_is_not_there_is_not_found(service: Service, version: str, verb: str) -> None:
    problem_of(post(service, f"/models/{version}:{verb}", {}), 404, "model_not_found")


def test_a_version_without_its_weights_is_not_compressed_but_can_be_measured(service: Service) -> None:
    problem = problem_of(post(service, "/models/colours/versions/2:compress", {}), 409, "weights_not_kept")

    assert "train it again" in problem["detail"]
    assert service.http.post("/models/colours/versions/2:measure").status_code == 202


@pytest.mark.parametrize("path", [COMPRESS, MEASURE])
def test_a_version_whose_dataset_was_deleted_says_what_to_do(service: Service, path: str) -> None:
    dataset = service.http.get("/models/colours/versions/1").json()["dataset"]
    _change_version(service, 1, dataset_id="ds_deleted0000")
    try:
        problem = problem_of(post(service, path, {}), 409, "dataset_deleted")
    finally:
        _change_version(service, 1, dataset_id=dataset)

    assert "ds_deleted0000" in problem["detail"]
    assert "upload the same archive again" in problem["detail"]


def test_the_same_content_sent_again_stands_for_a_deleted_dataset(service: Service, tmp_path: Path) -> None:
    again = service.upload()
    service.publish("moved", write_colour_net(tmp_path / "net.onnx", name="moved"), dataset_digest=again["digest"])
    with service.context.database.write() as connection:
        which = tables.version.c.model == "moved"
        connection.execute(update(tables.version).where(which).values(dataset_id="ds_deleted0000"))

    job = service.http.post("/models/moved/versions/1:measure").json()

    assert (job["dataset"], job["spec"]["dataset"]) == (again["id"], again["id"])


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_verb_that_there_is_not_is_told_those_that_there_are(service: Service, method: str) -> None:
    shrink, misspelt = (
        service.http.request(method, f"/models/colours/versions/1:{verb}") for verb in ("zzz", "mesure")
    )

    assert problem_of(shrink, 404, "route_not_found")["detail"].endswith("there are compress, measure, predict_dataset")
    assert problem_of(misspelt, 404, "route_not_found")["detail"].endswith("did you mean 'measure'?")


def test_a_number_that_no_version_has_is_told_why(service: Service) -> None:
    answer = service.http.post("/models/colours/versions/0:measure")

    assert "number: Input should be greater than or equal to 1" in problem_of(answer, 404, "route_not_found")["detail"]


def test_verbs_on_a_version_take_nothing_but_a_post(service: Service) -> None:
    answer = service.http.put(MEASURE)

    assert problem_of(answer, 405, "method_not_allowed")


@pytest.mark.parametrize("body", [b"", b" ", b"{}"])
def test_a_measuring_takes_an_empty_body(service: Service, body: bytes) -> None:
    assert post(service, MEASURE, body).status_code == 202


@pytest.mark.parametrize("body", [{"objective": "size"}, [], None, 0])
def test_a_measuring_refuses_options(service: Service, body: Any) -> None:
    problem = problem_of(post(service, MEASURE, body), 422, "invalid_body")

    assert problem["errors"][0]["message"] == "measuring takes no options: send no body, or {}"


def test_a_measurings_key_with_another_body_is_refused(service: Service) -> None:
    key = {"Idempotency-Key": uuid4().hex}

    assert post(service, MEASURE, b"", **key).status_code == 202
    problem_of(post(service, MEASURE, {"objective": "size"}, **key), 422, "idempotency_key_reused")


def test_a_number_that_json_has_not_is_named(service: Service) -> None:
    problem = problem_of(post(service, COMPRESS, b'{"max_accuracy_drop": NaN}'), 400, "malformed_request")

    assert "JSON has no NaN" in problem["detail"]


@pytest.mark.parametrize(("path", "body"), [(MEASURE, {}), (COMPRESS, {})])
def test_a_finished_job_on_a_version_is_done_again_where_it_was_asked_for(
    service: Service, path: str, body: dict[str, Any]
) -> None:
    job = post(service, path, body).json()["id"]
    with service.context.database.write() as connection:
        connection.execute(update(tables.job).where(tables.job.c.id == job).values(state="succeeded"))

    problem = problem_of(service.http.post(f"/jobs/{job}:retry"), 409, "job_finished")

    assert path in problem["detail"]


def test_what_is_told_of_a_version_names_the_new_default_after_a_measuring(service: Service, tmp_path: Path) -> None:
    service.publish("remeasured", write_colour_net(tmp_path / "net.onnx"), variants=("fp16", "fp32"))
    here = service.context
    action = submissions.Action("measure", {"model": "remeasured", "version": 1})
    job, _ = submissions.submit(
        here.database, owner=OWNER, spec=samples.a_train_spec(), settings=here.settings, action=action
    )
    with here.database.write() as connection:
        connection.execute(update(tables.job).where(tables.job.c.id == job.id).values(state="running"))

    measure.record(here.database, claims.Claim(job, job.fence), measure.Remeasurement({}, {"cpu": "fp32"}))

    version = service.http.get("/models/remeasured/versions/1").json()
    assert (version["default_variant"], version["defaults"]) == ("fp32", {"cpu": "fp32"})
    assert [each["name"] for each in version["variants"] if each["default"]] == ["fp32"]
    assert service.http.get("/models/remeasured").json()["versions"][0]["default_variant"] == "fp32"
