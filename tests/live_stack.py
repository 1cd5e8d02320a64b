"""The whole service as a user runs it: Valkey, the API and a worker as processes, spoken to over HTTP."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from models_store.settings import Settings
from models_store.storage.database import Database
from service.cli.stack import Stack
from tests import openapi_contract

PATIENCE_S = 240


class LiveService:
    """A running stack and a client of its API."""

    def __init__(self, stack: Stack, settings: Settings) -> None:
        self.stack = stack
        self.settings = settings
        self.http = httpx.Client(base_url=stack.url, timeout=60, event_hooks={"response": [openapi_contract.check]})
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


@contextmanager
def running(settings: Settings) -> Iterator[LiveService]:
    """Start a stack of its own, and stop it at the end."""
    stack = Stack(settings, port=0, tell=print)
    try:
        stack.start()
        yield LiveService(stack, settings)
    finally:
        stack.stop()
