"""The whole service as a user runs it: Valkey, the API and a worker as processes, spoken to over HTTP."""

import os
import signal
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from models_store.settings import Settings
from models_store.storage.database import Database
from service.cli.stack import Stack
from tests import contract, samples

PATIENCE_S = 240


class LiveService:
    """A running stack and a client of its API."""

    def __init__(self, stack: Stack, settings: Settings) -> None:
        self.stack = stack
        self.settings = settings
        self.http = httpx.Client(base_url=stack.url, timeout=60, event_hooks={"response": [contract.check]})
        self.database = Database(settings.database_url)

    def upload(self, archive: Path) -> dict[str, Any]:
        with archive.open("rb") as file:
            answer = self.http.post("/datasets", content=file.read(), headers={"Content-Type": "application/zip"})
        answer.raise_for_status()
        return answer.json()

    def train(self, **spec: Any) -> dict[str, Any]:
        answer = self.http.post("/train", json=spec)
        answer.raise_for_status()
        assert answer.status_code == 202
        return answer.json()

    def job(self, job_id: str) -> dict[str, Any]:
        return self.http.get(f"/jobs/{job_id}").raise_for_status().json()

    def wait(self, job_id: str, *, until: str = "") -> dict[str, Any]:
        """Wait until the job has ended, or has reached a phase; tend the stack meanwhile, as `espalier up` does."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            self.stack.tend()
            job = self.job(job_id)
            if job["state"] in {"succeeded", "failed", "canceled"} or (until and job["phase"] == until):
                return job
            time.sleep(0.1)
        raise AssertionError(f"{job_id} is still {job['state']}, {job['phase']} after {PATIENCE_S} s")

    def wait_for_epoch(self, job_id: str, epoch: int) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            job = self.job(job_id)
            assert job["state"] in {"queued", "running"}, job["problem"]
            if job["phase"] == "training" and (job["progress"].get("epoch") or 0) >= epoch:
                return job
            time.sleep(0.05)
        raise AssertionError(f"{job_id} did not reach epoch {epoch} in {PATIENCE_S} s")

    def supervisor_pid(self, job_id: str) -> int:
        """Return the pid that the newest attempt wrote down."""
        with self.database.read() as connection:
            query = "SELECT pid FROM attempt WHERE job_id = ? ORDER BY fence DESC LIMIT 1"
            return int(connection.exec_driver_sql(query, (job_id,)).scalar_one())


def children_of(pid: int) -> list[int]:
    """Return the children of all threads of a process."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # a thread that has ended meanwhile
            children += map(int, (task / "children").read_text().split())
    return children


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def starter_of(worker: int) -> int | None:
    """Return the starter that a worker keeps, when it serves."""
    return next((child for child in children_of(worker) if name_of(child) == "starter"), None)


def trainer_of(supervisor: int) -> int:
    """Return the trainer that a supervisor follows: a child of its own, or of its worker's starter."""
    starter = starter_of(parent_of(supervisor))
    forked = [] if starter is None else children_of(starter)
    (trainer,) = [*children_of(supervisor), *forked]
    return trainer


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    settings = samples.quick_settings(tmp_path_factory.mktemp("stack") / "home")
    stack = Stack(settings, port=0, tell=print)
    try:
        stack.start()
        yield LiveService(stack, settings)
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip of class folders of small, easily told images."""
    folder = samples.class_folders(tmp_path_factory.mktemp("images"), per_class=60)
    path = folder.parent / "images.zip"
    with zipfile.ZipFile(path, "w") as file:
        for image in sorted(folder.rglob("*.png")):
            file.write(image, image.relative_to(folder).as_posix())
    return path
