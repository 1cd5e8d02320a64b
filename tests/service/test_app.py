"""The app as a whole: light to import, strict at its edges, honest about its state."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from models_store.datasets import store as datasets
from service.app import create_app
from service.inference import devices
from tests import samples
from tests.service.live_service import Service, an_archive, problem_of, running


@pytest.mark.parametrize("statement", ["import service.app", "from service.app import create_app; create_app()"])
def test_neither_importing_nor_making_the_app_brings_in_torch(tmp_path: Path, statement: str) -> None:
    code = f"import json, sys; {statement}; print(json.dumps([m in sys.modules for m in ('torch', 'onnxruntime')]))"

    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        text=True,
        env=os.environ | {"ESPALIER_HOME": str(tmp_path)},
    )

    assert json.loads(found.stdout) == [False, False]


def test_an_unknown_route_is_a_problem(service: Service) -> None:
    problem = problem_of(service.http.get("/nothing/here"), 404, "route_not_found")

    assert problem["instance"] == "/nothing/here"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/train", "OPTIONS, POST"),
        ("GET", "/predict", "OPTIONS, POST"),
        ("PATCH", "/models/colours/aliases/live", "DELETE, GET, HEAD, OPTIONS, PUT"),
        ("PUT", "/datasets", "GET, HEAD, OPTIONS, POST"),
        ("POST", "/health/live", "GET, HEAD, OPTIONS"),
        ("GET", "/jobs/job_0123456789:cancel", "OPTIONS, POST"),
        ("DELETE", "/jobs/job_0123456789:retry", "OPTIONS, POST"),
        ("GET", "/datasets/ds_0123456789:preview", "OPTIONS, POST"),
        ("DELETE", "/datasets/ds_0123456789:preview", "OPTIONS, POST"),
        ("GET", "/models/colours/versions/1:compress", "OPTIONS, POST"),
        ("PUT", "/models/colours/versions/1:measure", "OPTIONS, POST"),
    ],
)
def test_a_method_that_is_not_served_names_those_that_are(
    service: Service, method: str, path: str, allowed: str
) -> None:
    answer = service.http.request(method, path)

    problem_of(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


def test_an_unforeseen_error_is_a_500_without_its_trace(
    service: Service, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_given: object, **_named: object) -> None:
        password = "opensesame"  # noqa: S105  it must not reach the log
        raise ValueError(f"{len(password)} letters")

    monkeypatch.setattr(datasets, "listing", broken)
    answer = service.http.get("/datasets")

    problem = problem_of(answer, 500, "internal_error")
    logged = "".join(capfd.readouterr())
    assert "letters" not in answer.text
    assert problem["error_id"] in problem["detail"]
    assert problem["error_id"] in logged
    assert "10 letters" in logged
    assert "opensesame'" not in logged


def test_a_database_that_does_not_answer_is_a_503(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_given: object, **_named: object) -> None:
        raise OperationalError("SELECT secret", {}, Exception("unable to open /home/ada/espalier.db"))

    monkeypatch.setattr(datasets, "listing", broken)

    answer = service.http.get("/datasets")

    problem_of(answer, 503, "database_unavailable")
    assert "retry-after" in answer.headers
    assert "secret" not in answer.text


def test_ready_names_what_the_service_stands_on(service: Service) -> None:
    answer = service.http.get("/health/ready")

    assert (answer.status_code, answer.json()) == (
        200,
        {
            "status": "degraded",
            "database": "ok",
            "broker": "unavailable",
            "providers": ["CPUExecutionProvider"],
            "device": "cpu",
        },
    )


def test_the_counters_name_routes_and_no_ids(service: Service) -> None:
    service.http.get("/jobs/job_0123456789")
    service.http.get("/nobody/knows/this")

    text = service.http.get("/metrics").text

    assert 'espalier_requests_total{method="GET",route="/jobs/{job_id}",status="404"}' in text
    assert "job_0123456789" not in text
    assert "nobody" not in text


KEY_OF_ADA, KEY_OF_BOB = "key-of-ada-0123456789", "key-of-bob-0123456789"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    keys = f"ada:{KEY_OF_ADA}, bob:{KEY_OF_BOB}"
    with running(samples.quick_settings(tmp_path_factory.mktemp("locked") / "home", api_keys=keys)) as live:
        yield live


@pytest.mark.parametrize("path", ["/datasets", "/jobs", "/models", "/jobs/job_0123456789/events"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {KEY_OF_ADA}"},
        {"X-API-Key": f"{KEY_OF_ADA}a"},
    ],
)
def test_without_a_known_key_there_is_nothing(locked: Service, path: str, headers: dict[str, str]) -> None:
    answer = locked.http.get(path, headers=headers)

    problem_of(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/predict", "/train", "/datasets"])
def test_without_a_known_key_nothing_is_taken(locked: Service, path: str) -> None:
    problem_of(locked.http.post(path, json={}), 401, "unauthorized")


@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {KEY_OF_ADA}"}, {"X-API-Key": KEY_OF_ADA}])
def test_a_key_opens_its_owners_things(locked: Service, headers: dict[str, str]) -> None:
    assert locked.http.get("/datasets", headers=headers).status_code == 200


def test_another_owners_things_are_not_found(locked: Service) -> None:
    ada, bob = {"X-API-Key": KEY_OF_ADA}, {"X-API-Key": KEY_OF_BOB}
    made = locked.http.post(
        "/datasets", content=an_archive(), headers={"Content-Type": "application/zip"} | ada
    ).json()["id"]

    assert locked.http.get(f"/datasets/{made}", headers=ada).status_code == 200
    problem_of(locked.http.get(f"/datasets/{made}", headers=bob), 404, "dataset_not_found")
    spec = {"name": "theft", "dataset": made}
    problem_of(locked.http.post("/train", json=spec, headers=bob), 422, "dataset_not_found")


def test_the_docs_page_needs_nothing_from_elsewhere(service: Service) -> None:
    page = service.http.get("/docs").raise_for_status().text

    addresses = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert len(addresses) == 3
    assert all(service.http.get(address).raise_for_status().content for address in addresses)
    assert "//" not in "".join(addresses)


def test_the_docs_page_is_shown_in_no_other_page(service: Service) -> None:
    assert "frame-ancestors 'none'" in service.http.get("/docs").headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/schema/train", "/openapi.json"])
def test_probes_and_descriptions_need_no_key(locked: Service, path: str) -> None:
    assert locked.http.get(path).status_code == 200


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a CUDA device on this machine")
def test_asking_for_cuda_where_there_is_none_refuses_to_start(tmp_path: Path) -> None:
    app = create_app(samples.quick_settings(tmp_path / "home", device="cuda"))

    async def start() -> None:
        async with app.router.lifespan_context(app):
            pass

    with pytest.raises(devices.DeviceUnavailable, match="DEVICE=cuda"):
        asyncio.run(start())


def test_a_server_process_ends_on_sigterm_though_somebody_follows_a_job(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "service.server", "--port", str(port)],
        env=os.environ | {"ESPALIER_HOME": str(tmp_path), "DEVICE": "cpu"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", transport=httpx.HTTPTransport(retries=20), timeout=60
        )
        client.get("/health/live").raise_for_status()
        uploaded = client.post("/datasets", content=an_archive(), headers={"Content-Type": "application/zip"})
        job = client.post("/train", json={"name": "flowers", "dataset": uploaded.json()["id"]}).json()
        with client.stream("GET", f"/jobs/{job['id']}/events") as events:
            next(events.iter_lines())
            server.send_signal(signal.SIGTERM)
            status = server.wait(timeout=30)
    finally:
        server.kill()
        server.wait()

    assert status in {0, -signal.SIGTERM}
