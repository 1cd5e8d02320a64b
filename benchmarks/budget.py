"""Photographs on a slow and busy host: the default spec ends with a model, within three times its budget.

    python -m benchmarks.budget [--quick] [--data ZIP] [--images 3000] [--busy 8] [--isa AVX2] [--minutes 10]

The whole job runs as a worker runs it: a database, a supervisor, a trainer process. Beside it `--busy` loops compute,
and oneDNN is held to the instructions of an older CPU (`--isa`, as ONEDNN_MAX_CPU_ISA has it). ZIP is any archive of
class folders; photographs of 200 pixels are cut out of its images at random places. Without it they are cut out of the
Fashion-MNIST images that ship with the project, which is as much work. `--minutes` is `training.budget_minutes`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.home import Home, home
from benchmarks.verdict import Goal, conclude
from models_store.jobs import events, submissions
from models_store.jobs import store as jobs
from models_store.jobs.store import Job
from models_store.settings import Settings
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.spec import ImageSpec
from workers.process.claim_loop import work
from workers.process.persistence import StopFlag

SAMPLE = Path(__file__).parent.parent / "samples" / "fashion-mnist" / "fashion_mnist_5k.zip"
SIDE = 200
LEAST_SHARE, MOST_SHARE = 0.6, 1.0
"""of an image's shorter side that a photograph shows"""
TIMES_BUDGET = 3.0
QUICK_IMAGES, QUICK_MINUTES = 600, 0.5
BUSY_LOOP = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"


def main() -> None:
    """Train on photographs beside busy loops, and judge."""
    options = _options()
    os.environ["ONEDNN_MAX_CPU_ISA"] = options.isa  # trainers inherit it
    with tempfile.TemporaryDirectory() as folder, home(Path(folder)) as store:
        archive = photographs(options.data, Path(folder) / "photographs.zip", count=options.images)
        job = _submitted(store, archive, minutes=options.minutes)
        with busy(options.busy):
            began = time.monotonic()
            _work(store.settings, store, job.id)
            total_s = time.monotonic() - began
        ended = jobs.find(store.database, job.id, owner=job.owner)
        figures = {
            "total_s": total_s,
            "succeeded": float(ended.state == "succeeded"),
            "crashes": float(ended.crashes),
            "epochs": float(ended.spec["training"]["epochs"]),
            "input_size": float(ended.spec["input"]["size"]),
            **_phases_s(store, job.id, total_s=total_s),
        }
    print(f"trained with freeze {ended.spec['backbone']['freeze']}", ended.problem or "")
    goals = [
        Goal("total_s", "at most", TIMES_BUDGET * 60 * options.minutes),
        Goal("succeeded", "at least", 1),
        Goal("crashes", "at most", 0),
    ]
    conclude("budget", figures, goals=goals, binding=not options.quick)


def photographs(source: Path, target: Path, *, count: int) -> Path:
    """Write `count` photographs, cut out of the images of an archive at random places, and return their archive."""
    random = np.random.default_rng(0)
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as written:
        names = [name for name in archive.namelist() if name.lower().endswith((".jpg", ".jpeg", ".png"))]
        for number in range(count):
            name = names[number % len(names)]
            with Image.open(archive.open(name)) as image:
                cut = _cut(image.convert("RGB"), random)
            buffer = BytesIO()
            cut.save(buffer, "JPEG", quality=90)
            written.writestr(f"photographs/{Path(name).parent.name}/{number:05}.jpg", buffer.getvalue())
    return target


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep so many processes computing while inside."""
    loops = [subprocess.Popen([sys.executable, "-c", BUSY_LOOP]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _cut(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Return a square part of an image in slightly other colours, so that no two are alike and none is grey."""
    side = round(min(image.size) * random.uniform(LEAST_SHARE, MOST_SHARE))
    left, top = (int(random.integers(0, length - side + 1)) for length in image.size)
    part = image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    tinted = np.asarray(part, dtype=np.float32) * random.uniform(0.8, 1.0, 3) + random.normal(0, 4, (SIDE, SIDE, 3))
    return Image.fromarray(tinted.clip(0, 255).astype(np.uint8))


def _submitted(store: Home, archive: Path, *, minutes: float) -> Job:
    opened = store.open(archive)
    asked = {"name": "photographs", "dataset": opened.dataset.id, "training": {"budget_minutes": minutes}}
    spec, warnings = IMAGE.resolve(ImageSpec.model_validate(asked), opened.facts)
    job, _ = submissions.submit(
        store.database, owner="benchmark", spec=spec, settings=store.settings, warnings=warnings
    )
    return job


def _work(settings: Settings, store: Home, job_id: str) -> None:
    """Work on the job as a worker does, and print its log and phases as they come."""
    worker = threading.Thread(target=work, args=(settings,), kwargs={"stop": StopFlag()}, daemon=True)
    began, seen = time.monotonic(), 0
    worker.start()
    while True:
        is_working = worker.is_alive()
        for event in events.after(store.database, job_id, seq=seen):
            seen = event.seq
            if event.kind in {"phase", "log", "state"}:
                said = next((event.data[key] for key in ("text", "phase", "reason", "state") if key in event.data), "")
                print(f"{time.monotonic() - began:7.1f} s  {said}", flush=True)
        if not is_working:
            return
        time.sleep(1.0)


def _phases_s(store: Home, job_id: str, *, total_s: float) -> dict[str, float]:
    """Return how long each phase took."""
    entered = events.after(store.database, job_id, seq=0, kinds=("phase",))
    first = events.after(store.database, job_id, seq=0, limit=1)[0].created_at
    moments = [event.created_at for event in entered] + [first + total_s]
    return {
        f"{event.data['phase']}_s": after - event.created_at for event, after in zip(entered, moments[1:], strict=True)
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer photographs and half a minute, without a verdict")
    parser.add_argument("--data", type=Path, default=SAMPLE, help="archive of class folders to cut photographs out of")
    parser.add_argument("--images", type=int, help="how many photographs (3,000)")
    parser.add_argument("--busy", type=int, default=8, help="processes that compute beside the job")
    parser.add_argument("--isa", default="AVX2", help="the newest instructions that oneDNN may use")
    parser.add_argument("--minutes", type=float, help="training.budget_minutes (10)")
    options = parser.parse_args()
    options.images = options.images or (QUICK_IMAGES if options.quick else 3000)
    options.minutes = options.minutes or (QUICK_MINUTES if options.quick else 10.0)
    return options


if __name__ == "__main__":
    main()
