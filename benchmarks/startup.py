"""The start-up bill: what passes between a request and its first training step, and between the trials of a search.

    python -m benchmarks.startup [--quick] [--rounds N] [--trials N] [--without-cold]

A real stack (Valkey, an API, a worker) does the same with a warm starter and without one, on images that are decoded
already: `POST /train` until the first step is reported, a contact sheet of 12 tiles, and a search of nets that train
for two seconds each, against the same trainings one after another in one process. Beside each time stands the CPU time
that the worker and all its processes took, which other work on the host changes little.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.home import home
from benchmarks.jobs import spec_of
from benchmarks.learning import Silent, learn
from benchmarks.verdict import Goal, conclude
from models_store.jobs import children, events
from models_store.jobs.job import TERMINAL
from models_store.settings import Settings
from models_store.storage.database import Database
from models_store.tasks.image.spec import of_images
from service.cli.stack import Stack
from workers.process.trainer_process import WAITING

FASHION = Path(__file__).parent.parent / "samples" / "fashion-mnist" / "fashion_mnist_5k.zip"
IMAGES = 1500
TRIAL_S = 2.0
GOALS = [
    Goal("warm_post_to_first_step_s", "at most", 1.5),
    Goal("warm_search_share_of_compute", "at least", 0.8),
]
PLAIN: dict[str, Any] = {
    "name": "startup",
    "input": {"size": 28},
    "backbone": {"kind": "small_cnn"},
    "transfer": {},
    "augmentation": [],
    "regularizers": [],
    "schedule": {"kind": "cosine"},
    "compression": None,
}
SHEET: dict[str, Any] = {"augmentation": [{"kind": "random_rotation"}], "images": 4, "views": 2}
PATIENCE_S = 900.0
LOOK_S = 0.05
SAMPLED = 5
"""trainings that stand for all of a search's: they differ in their learning rate alone"""
SETTLE_S = 3.0


@dataclass(frozen=True)
class Live:
    """A running stack with one data set, and what its worker has cost."""

    http: httpx.Client
    database: Database
    dataset_id: str
    worker_pid: int

    def spec(self, *, epochs: int, **parts: object) -> dict[str, Any]:
        """Return a spec that trains for so many epochs."""
        training = {"epochs": epochs, "batch_size": 64, "precision": "fp32"}
        return PLAIN | {"dataset": self.dataset_id, "training": training} | parts

    def post_to_first_step_s(self) -> float:
        """Return how long after its submission a job has answered of its first step; it is canceled then."""
        began = time.time()
        job_id = self._submit(self.spec(epochs=200))
        stepped = self._wait(lambda: self._first_step(job_id))
        self._cancel(job_id)
        return stepped - began

    def preview_s(self) -> float:
        """Return how long a contact sheet of 12 tiles takes."""
        began = time.monotonic()
        answer = self.http.post(f"/datasets/{self.dataset_id}:preview", params={"wait_s": 120}, json=SHEET)
        assert answer.status_code == httpx.codes.OK, answer.text
        return time.monotonic() - began

    def search_s(self, *, trials: int, epochs: int) -> float:
        """Return how long the trials of a search take, from its submission to the end of the last one."""
        search = {"kind": "random", "trials": trials, "space": {"optimizer.lr": {"log_uniform": [1e-4, 1e-2]}}}
        began = time.time()
        job_id = self._submit(self.spec(epochs=epochs, search=search))
        ended = self._wait(lambda: self._end_of(job_id, trials=trials))
        self._cancel(job_id)
        return ended - began

    def cpu_s(self) -> float:
        """Return the CPU time that the worker and all its processes have taken."""
        return sum(_cpu_s(pid) for pid in _tree(self.worker_pid))

    def _submit(self, spec: dict[str, Any]) -> str:
        answer = self.http.post("/train", json=spec)
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        return str(answer.json()["id"])

    def _first_step(self, job_id: str) -> float | None:
        answered = events.after(self.database, job_id, 0, kinds=("progress",))
        return next((each.created_at for each in answered if each.data.get("step") == "steps"), None)

    def _end_of(self, job_id: str, *, trials: int) -> float | None:
        tried = [child for child in children.of(self.database, job_id) if child.kind == "trial"]
        assert all(child.state != "failed" for child in tried), tried
        if sum(child.state in TERMINAL for child in tried) < trials:
            return None
        return max(child.finished_at or 0.0 for child in tried)

    def _cancel(self, job_id: str) -> None:
        self.http.post(f"/jobs/{job_id}:cancel").raise_for_status()
        self._wait(lambda: 1.0 if self.http.get(f"/jobs/{job_id}").json()["state"] == "canceled" else None)

    def _wait(self, look: Callable[[], float | None]) -> float:
        deadline = time.monotonic() + PATIENCE_S
        while (found := look()) is None:
            assert time.monotonic() < deadline, "the worker has come to nothing; see its log"
            time.sleep(LOOK_S)
        return found


def main() -> None:
    """Measure with and without the warm starter, and the trainings alone."""
    options = _options()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        archive = _archive(Path(folder))
        compute_s, compute_cpu_s, epochs = _alone(Path(folder), archive, trials=options.trials)
        figures |= {"pure_compute_s": compute_s, "pure_compute_cpu_s": compute_cpu_s}
        for way in ("warm",) if options.without_cold else ("warm", "cold"):
            with _live(Path(folder) / way, archive, is_warm=way == "warm") as live:
                measured = {
                    "post_to_first_step": [_costed(live, live.post_to_first_step_s) for _ in range(options.rounds)],
                    "preview": [_costed(live, live.preview_s) for _ in range(options.rounds)],
                    "search": [_costed(live, lambda: live.search_s(trials=options.trials, epochs=epochs))],
                }
            for name, runs in measured.items():
                figures[f"{way}_{name}_s"] = statistics.median(wall for wall, _ in runs)
                figures[f"{way}_{name}_cpu_s"] = statistics.median(cpu for _, cpu in runs)
            figures[f"{way}_search_share_of_compute"] = compute_s / figures[f"{way}_search_s"]
            figures[f"{way}_search_share_of_compute_cpu"] = compute_cpu_s / figures[f"{way}_search_cpu_s"]
    conclude("startup", figures, goals=GOALS, binding=not options.quick)


def _costed(live: Live, run: Callable[[], float]) -> tuple[float, float]:
    """Return how long a run takes, and how much CPU time; a worker's next child has come up before it begins."""
    time.sleep(SETTLE_S)
    before = live.cpu_s()
    wall_s = run()
    time.sleep(SETTLE_S)
    print("   ", f"{wall_s:.2f} s, {live.cpu_s() - before:.2f} s of CPU", flush=True)
    return wall_s, live.cpu_s() - before


def _alone(folder: Path, archive: Path, *, trials: int) -> tuple[float, float, int]:
    """Return what `_compute` does in a process whose threads wait as a trainer's do."""
    os.environ |= WAITING | os.environ
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_compute, folder, archive, trials=trials).result()


def _compute(folder: Path, archive: Path, *, trials: int) -> tuple[float, float, int]:
    """Return the time and CPU time that so many trainings of about `TRIAL_S` take in one process, and their epochs."""
    with home(folder / "compute") as store:
        opened = store.open(archive)
        weights = folder / "weights"

        def train(epochs: int) -> float:
            live = Live(httpx.Client(), store.database, opened.dataset.id, os.getpid())
            spec = spec_of(opened, live.spec(epochs=epochs))
            return learn(spec, opened.arrays(of_images(spec)), weights_dir=weights, reporter=Silent).train_s

        train(1)
        epochs = max(1, round(TRIAL_S / (train(4) / 4)))
        before = time.process_time()
        runs = [train(epochs) for _ in range(SAMPLED)]
        return statistics.median(runs) * trials, (time.process_time() - before) / SAMPLED * trials, epochs


@contextmanager
def _live(folder: Path, archive: Path, *, is_warm: bool) -> Iterator[Live]:
    """Run a stack until its worker has done a job and, where it has one, its starter is warm."""
    settings = Settings(espalier_home=folder, beat_s=1, warm_starter=is_warm, api_keys="")
    stack = Stack(settings, port=0, tell=print)
    database = Database(settings.database_url)
    try:
        stack.start()
        worker = next(each for each in stack.running if each.recipe.name == "worker")
        with httpx.Client(base_url=stack.url, timeout=600) as http:
            sent = http.post("/datasets", content=archive.read_bytes(), headers={"Content-Type": "application/zip"})
            live = Live(http, database, sent.raise_for_status().json()["id"], worker.keeper.pid)
            print("with" if is_warm else "without", "a warm starter; the first job:", flush=True)
            _costed(live, live.post_to_first_step_s)  # it decodes the images
            while is_warm and "starter: warm" not in worker.log_path.read_text(encoding="utf-8"):
                time.sleep(LOOK_S)
            yield live
    finally:
        stack.stop()
        database.close()


def _archive(folder: Path) -> Path:
    """Write an archive of the first images of each class."""
    path = folder / "images.zip"
    with zipfile.ZipFile(FASHION) as source, zipfile.ZipFile(path, "w") as target:
        names = sorted(name for name in source.namelist() if name.endswith(".png"))
        for name in names[:: max(1, len(names) // IMAGES)]:
            target.writestr(name, source.read(name))
    return path


def _tree(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    found = [pid]
    for each in found:
        try:
            for task in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (task / "children").read_text(encoding="ascii").split())
        except OSError:
            continue
    return found


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process and of its children that have ended (proc(5), stat, fields 14 to 17)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1 round and 3 trials; missed goals don't fail")
    parser.add_argument("--rounds", type=int, default=5, help="first steps and contact sheets")
    parser.add_argument("--trials", type=int, default=20, help="trials of the search")
    parser.add_argument("--without-cold", action="store_true", help="measure the warm starter alone")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.trials = 1, 3
    return options


if __name__ == "__main__":
    main()
