"""Previews beside a training: a worker does both at once, and what happens to one does not touch the other."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.cli.stack import Stack
from tests import samples
from tests.live_stack import LiveService
from tests.processes import children_of, is_alive, kill, name_of, starter_of
from tests.samples import PLAIN

pytestmark = pytest.mark.slow

PATIENCE_S = 120
SMALL = {"augmentation": [{"kind": "random_rotation"}], "images": 2, "views": 1, "input": {"size": 32}}
LARGE = SMALL | {"augmentation": [{"kind": "rand_augment"}], "images": 32, "views": 15, "input": {"size": 128}}
"""it is drawn for so long that a test can find its trainer"""
ENDLESS = PLAIN | {"training": {"epochs": 10_000, "batch_size": 16, "precision": "fp32"}, "compression": None}


def wait_for(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s"
        time.sleep(0.02)
    return found


def below(pid: int) -> Iterator[int]:
    """Yield all processes that come from this one."""
    with suppress(OSError):  # it has ended meanwhile
        for child in children_of(pid):
            yield child
            yield from below(child)


def is_trainer(pid: int) -> bool:
    with suppress(OSError):
        return name_of(pid) == "trainer" or b"workers.process.trainer" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


class Worker:
    """The stack's worker, by its processes."""

    def __init__(self, service: LiveService) -> None:
        self._service = service

    @property
    def pid(self) -> int:
        process = next(each for each in self._service.stack.running if each.recipe.name == "worker")
        return int(wait_for(lambda: children_of(process.keeper.pid))[0])

    def trainers(self) -> set[int]:
        """Return the trainers that have not ended: forked by the starter, or, while it is not warm yet, begun cold."""
        return {pid for pid in below(self.pid) if is_alive(pid) and is_trainer(pid)}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """A stack whose worker is warm."""
    settings = samples.quick_settings(tmp_path_factory.mktemp("stack") / "home", stop_grace_s=3, lease_s=60)
    stack = Stack(settings, port=0, tell=print)
    try:
        stack.start()
        live = LiveService(stack, settings)
        wait_for(lambda: starter_of(Worker(live).pid))
        yield live
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def dataset(service: LiveService, archive: Path) -> str:
    return str(service.upload(archive)["id"])


@pytest.fixture
def worker(service: LiveService) -> Worker:
    return Worker(service)


@pytest.fixture
def training(service: LiveService, dataset: str) -> Iterator[str]:
    """A training that ends only when the test has ended."""
    job_id = service.train(name="endless", dataset=dataset, **ENDLESS)["id"]
    service.wait_for_epoch(job_id, 1)
    yield job_id
    service.http.post(f"/jobs/{job_id}:cancel").raise_for_status()
    assert service.wait(job_id)["state"] == "canceled"


def preview(service: LiveService, dataset: str, body: dict[str, Any] = SMALL) -> httpx.Response:
    return service.http.post(f"/datasets/{dataset}:preview?wait_s=100", json=body, timeout=PATIENCE_S)


def begin(service: LiveService, dataset: str, worker: Worker) -> tuple[str, int]:
    """Begin a preview and stop its trainer while it draws; return the job and the trainer."""
    others = worker.trainers()
    while True:
        job = service.http.post(f"/datasets/{dataset}:preview?wait_s=0", json=LARGE).json()["id"]
        wait_for(lambda job=job: service.job(job)["phase"] == "drawing")
        with suppress(ValueError, ProcessLookupError):  # it has drawn everything meanwhile
            (trainer,) = worker.trainers() - others
            os.kill(trainer, signal.SIGSTOP)
            time.sleep(0.5)
            if service.job(job)["state"] == "running":
                return job, trainer


def goes_on(service: LiveService, training: str) -> bool:
    """Tell whether the training comes to another epoch in its first attempt."""
    now = service.job(training)
    later = service.wait_for_epoch(training, now["progress"]["epoch"] + 1)
    return (later["state"], later["attempts"], later["crashes"]) == ("running", 1, 0)


def test_a_preview_is_drawn_while_a_training_runs(service: LiveService, dataset: str, training: str) -> None:
    sheet = preview(service, dataset)

    assert (sheet.status_code, sheet.headers["content-type"]) == (200, "image/png"), sheet.text
    assert goes_on(service, training)


def test_previews_that_come_at_once_are_all_drawn(service: LiveService, dataset: str, training: str) -> None:
    with ThreadPoolExecutor(10) as threads:
        sheets = list(threads.map(lambda seed: preview(service, dataset, SMALL | {"seed": seed}), range(10)))

    assert {sheet.status_code for sheet in sheets} == {200}
    assert goes_on(service, training)


def test_the_trainer_of_a_preview_gives_way_to_that_of_a_training(
    service: LiveService, dataset: str, training: str, worker: Worker
) -> None:
    (other,) = worker.trainers()

    job, trainer = begin(service, dataset, worker)

    niceness = {pid: os.getpriority(os.PRIO_PROCESS, pid) for pid in (other, trainer)}
    service.http.post(f"/jobs/{job}:cancel").raise_for_status()
    assert service.wait(job)["state"] == "canceled"
    assert niceness[trainer] > niceness[other]
    assert "1 of " in service.http.get(f"/jobs/{job}/logs").text
    assert goes_on(service, training)


def test_a_preview_whose_trainer_is_killed_is_drawn_again_and_the_training_goes_on(
    service: LiveService, dataset: str, training: str, worker: Worker
) -> None:
    job, trainer = begin(service, dataset, worker)

    kill(trainer)

    ended = service.wait(job)
    assert (ended["state"], ended["crashes"], ended["attempts"]) == ("succeeded", 1, 2)
    assert service.http.get(f"/jobs/{job}/preview.png").is_success
    assert goes_on(service, training)


def test_a_training_whose_trainer_is_killed_goes_on_and_the_preview_stays(
    service: LiveService, dataset: str, training: str, worker: Worker
) -> None:
    (victim,) = worker.trainers()
    job, trainer = begin(service, dataset, worker)

    kill(victim)

    wait_for(lambda: service.job(training)["crashes"] == 1)
    os.kill(trainer, signal.SIGCONT)
    ended = service.wait(job)
    assert (ended["state"], ended["crashes"], ended["attempts"]) == ("succeeded", 0, 1)
    wait_for(lambda: service.job(training)["attempts"] == 2)


def test_a_worker_that_is_told_to_leave_gives_both_back_without_a_crash(
    service: LiveService, dataset: str, training: str, worker: Worker
) -> None:
    job, trainer = begin(service, dataset, worker)
    (other,) = worker.trainers() - {trainer}

    os.kill(worker.pid, signal.SIGTERM)

    ended = service.wait(job)
    assert (ended["state"], ended["crashes"], ended["attempts"]) == ("succeeded", 0, 2)
    again = wait_for(lambda: (found := service.job(training))["attempts"] == 2 and found)
    assert again["crashes"] == 0
    assert not is_alive(trainer)
    assert not is_alive(other)


def test_what_a_killed_worker_was_at_is_taken_up_by_the_next(
    service: LiveService, dataset: str, training: str, worker: Worker
) -> None:
    job, trainer = begin(service, dataset, worker)
    (other,) = worker.trainers() - {trainer}

    kill(worker.pid)

    ended = service.wait(job)
    assert (ended["state"], ended["crashes"], ended["attempts"]) == ("succeeded", 1, 2)
    wait_for(lambda: service.job(training)["attempts"] == 2)
    assert not is_alive(trainer)
    assert not is_alive(other)


@pytest.mark.usefixtures("training")
def test_a_preview_is_drawn_beside_a_training_while_the_broker_is_down(service: LiveService, dataset: str) -> None:
    valkey = next(process for process in service.stack.running if process.recipe.name == "valkey")
    kill(children_of(valkey.keeper.pid)[0])

    sheet = preview(service, dataset)

    service.stack.tend()
    assert sheet.status_code == 200, sheet.text
