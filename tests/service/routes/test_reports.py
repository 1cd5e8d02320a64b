"""Reports over HTTP: the whole document, the page, the pictures, and why there may be none."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from models_store.jobs import claims, submissions
from models_store.jobs import store as jobs
from models_store.models import publish, registry
from models_store.storage import tables
from service.answers.reports import JobReport
from service.cli.main import app
from tests import samples
from tests.service.live_service import OWNER, Service, problem_of
from tests.workers.evaluation.sample_reports import a_report


@pytest.fixture(scope="module")
def finished(service: Service, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A job that has ended with a report: its id, and the report's document and digest."""
    path = tmp_path_factory.mktemp("report") / "report.zip"
    document, _ = a_report(path)
    sha256 = service.context.blobs.put(path).sha256
    job = running(service)
    variant = registry.Variant("fp32", "f" * 64, 1, {"kind": "fp32"}, accepted=True)
    publication = publish.Publication({"labels": ["x"]}, "fp32", [variant], files={"report": sha256})
    publish.publish(service.context.database, claims.Claim(job, job.fence), publication)
    return {"id": job.id, "document": document, "sha256": sha256}


def running(service: Service) -> jobs.Job:
    here = service.context
    spec = samples.a_train_spec(name="reported", dataset=service.upload()["id"])
    job, _ = submissions.submit(here.database, owner=OWNER, spec=spec, settings=here.settings)
    with here.database.write() as connection:
        connection.execute(update(tables.job).where(tables.job.c.id == job.id).values(state="running"))
    return job


def test_the_report_is_the_documented_document(service: Service, finished: dict[str, Any]) -> None:
    answer = service.http.get(f"/jobs/{finished['id']}/report")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == finished["document"]
    assert JobReport.model_validate(answer.json()).splits["test"].intervals["accuracy"].samples == 100


def test_the_page_may_run_and_fetch_nothing(service: Service, finished: dict[str, Any]) -> None:
    answer = service.http.get(f"/jobs/{finished['id']}/report.html")

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.text.startswith("<!doctype html>")


def test_every_picture_that_is_listed_is_there(service: Service, finished: dict[str, Any]) -> None:
    for picture in finished["document"]["pictures"]:
        answer = service.http.get(f"/jobs/{finished['id']}/report/pictures/{picture['name']}").raise_for_status()

        assert answer.headers["content-type"] == ("image/png" if picture["name"].endswith("png") else "image/svg+xml")
        assert answer.content.lstrip().startswith((b"\x89PNG", b"<?xml"))


@pytest.mark.parametrize("path", ["report", "report.html", "report/pictures/curves.svg"])
def test_what_a_reader_has_is_not_sent_again(service: Service, finished: dict[str, Any], path: str) -> None:
    url = f"/jobs/{finished['id']}/{path}"
    tag = service.http.get(url, headers={"Accept-Encoding": "identity"}).headers["etag"]
    weak_tag = service.http.get(url, headers={"Accept-Encoding": "gzip"}).headers["etag"]

    again = service.http.get(url, headers={"If-None-Match": tag})
    other = service.http.get(url, headers={"If-None-Match": '"other"'})

    assert tag == f'"{finished["sha256"]}"'
    assert weak_tag == f"W/{tag}"
    assert (again.status_code, again.content) == (304, b"")
    assert other.status_code == 200


def test_a_picture_that_is_not_there_is_told_with_those_that_are(service: Service, finished: dict[str, Any]) -> None:
    problem = problem_of(
        service.http.get(f"/jobs/{finished['id']}/report/pictures/nothing.svg"), 404, "picture_not_found"
    )

    assert "test-confusion.svg" in problem["detail"]


@pytest.mark.parametrize("name", ["..%2freport.json", "report.json", "a.svg%00.png", "A.svg", "curves.SVG", "x/y.svg"])
def test_a_name_that_can_not_be_a_picture_is_nowhere(service: Service, finished: dict[str, Any], name: str) -> None:
    problem_of(service.http.get(f"/jobs/{finished['id']}/report/pictures/{name}"), 404, "route_not_found")


@pytest.mark.parametrize(
    ("state", "word"),
    [("queued", "at its end"), ("running", "at its end"), ("failed", "succeeds"), ("succeeded", "before")],
)
def test_a_job_without_a_report_says_why(service: Service, state: str, word: str) -> None:
    job = running(service)
    with service.context.database.write() as connection:
        connection.execute(update(tables.job).where(tables.job.c.id == job.id).values(state=state))

    problem = problem_of(service.http.get(f"/jobs/{job.id}/report"), 404, "report_not_there")

    assert word in problem["detail"]


def test_the_command_line_prints_the_headline_and_saves_the_page(
    service: Service, finished: dict[str, Any], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"

    told = CliRunner().invoke(app, ["--url", service.url, "jobs", "report", finished["id"], "--html", str(page)])

    section = finished["document"]["splits"]["test"]
    interval = section["intervals"]["accuracy"]
    assert told.exit_code == 0, told.output
    assert f"{section['accuracy']:.4f} [{interval['low']:.4f}, {interval['high']:.4f}]" in told.output
    assert page.read_text() == service.http.get(f"/jobs/{finished['id']}/report.html").text


def test_the_command_line_saves_nothing_where_there_is_no_report(service: Service, tmp_path: Path) -> None:
    page = tmp_path / "page.html"

    told = CliRunner().invoke(app, ["--url", service.url, "jobs", "report", running(service).id, "--html", str(page)])

    assert told.exit_code == 1
    assert "at its end" in " ".join(told.output.split())
    assert not page.exists()


def test_an_unknown_jobs_report_is_not_found(service: Service) -> None:
    problem_of(service.http.get("/jobs/job_0123456789/report.html"), 404, "job_not_found")


def test_a_report_whose_file_is_lost_is_unavailable(service: Service, finished: dict[str, Any]) -> None:
    path = service.context.blobs.local(finished["sha256"])
    aside = path.with_suffix(".aside")
    path.rename(aside)

    try:
        problem_of(service.http.get(f"/jobs/{finished['id']}/report"), 503, "report_lost")
    finally:
        aside.rename(path)
