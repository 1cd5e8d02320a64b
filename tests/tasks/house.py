"""Copy of this project's packages with one more task in them, and the stack that runs from there."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.service.cli.stacks import clean_environment

ROOT = Path(__file__).parents[2]
PACKAGES = ("service", "workers", "models_store")
TOY = tuple(Path(__file__).parent / "toy" / name for name in ("contract.py", "task.py"))
PATIENCE_S = 240
QUICK = {"BEAT_S": "0.2", "POLL_S": "0.1", "MEASURE_S": "0.1", "BACKOFF_S": "0.1"}


def build(folder: Path) -> Path:
    """Copy the packages to `folder`, and move the toy in: its two rooms, and its name in the two tuples."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for package, source in zip(("models_store", "workers"), TOY, strict=True):
        room = folder / package / "tasks" / "rows"
        room.mkdir()
        (room / "__init__.py").touch()
        shutil.copyfile(source, room / source.name)
        rooms = folder / package / "tasks" / "rooms.py"
        text, imported = rooms.read_text(), f"from {package}.tasks.rows.{source.stem} import ROWS\n"
        longer = re.sub(r"^(TASKS: .* = )\((.*?),?\)$", r"\1(\2, ROWS)", text, flags=re.MULTILINE)
        assert longer != text
        rooms.write_text(re.sub(r"^from ", imported + "from ", longer, count=1, flags=re.MULTILINE))
    return folder


class House:
    """A running stack, asked by HTTP and by the command line."""

    def __init__(self, folder: Path, url: str, environment: dict[str, str]) -> None:
        self.folder, self.url, self._environment = folder, url, environment
        self.http = httpx.Client(base_url=url, timeout=60)

    def command(self, *words: str | Path) -> dict[str, Any]:
        """Return what the command line prints as JSON."""
        command = [sys.executable, "-m", "service.cli.main", "--url", self.url, "--json", *words]
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads(done.stdout.strip().splitlines()[-1]))

    def upload(self, archive: bytes, *, name: str) -> dict[str, Any]:
        """Return the dataset that the archive has become."""
        answer = self.http.post(
            "/datasets", params={"name": name}, content=archive, headers={"Content-Type": "application/zip"}
        )
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def ended(self, answer: httpx.Response) -> dict[str, Any]:
        """Return the job that an answer has announced, when it has succeeded."""
        assert answer.status_code in {200, 202}, answer.text
        job = dict(answer.json())
        deadline = time.monotonic() + PATIENCE_S
        while job["state"] not in {"succeeded", "failed", "canceled"}:
            assert time.monotonic() < deadline, f"{job['id']} is still {job['state']}, {job['phase']}"
            time.sleep(0.1)
            job = self.http.get(f"/jobs/{job['id']}").raise_for_status().json()
        assert job["state"] == "succeeded", job["problem"]
        return job

    def version(self, model: str, number: int) -> dict[str, Any]:
        """Return a version of a model."""
        return dict(self.http.get(f"/models/{model}/versions/{number}").raise_for_status().json())


@contextmanager
def running(folder: Path, *, home: Path) -> Iterator[House]:
    """Start a stack of the packages in `folder`, and stop it at the end."""
    environment = clean_environment() | QUICK | {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "service.cli.main", "--json", "up", "--home", str(home)]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield House(folder, json.loads(process.stdout.readline())["url"], environment)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(90)
