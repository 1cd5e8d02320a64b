"""Limit without HTTP: processes that run a net in a bare loop, one thread each, as many as there are cores.

    python -m benchmarks.serving.limit MODEL SIZE JPEG BATCH SECONDS

Batch 0 decodes the JPEG for every image; the figure is images per second of this process.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

BATCHES = (1, 4, 16)


def images_per_second(model: Path, *, size: int, jpeg: Path, batch: int, seconds: float) -> float:
    """Return what all cores together run; with batch 0, decode and run one after another."""
    command = [sys.executable, "-m", "benchmarks.serving.limit", str(model), str(size), str(jpeg), str(batch)]
    running = [
        subprocess.Popen([*command, str(seconds)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        for _ in os.sched_getaffinity(0)
    ]
    try:
        for each in running:
            assert each.stdout is not None, "it is a pipe"
            each.stdout.readline()  # all are ready before one begins
        for each in running:
            assert each.stdin is not None, "it is a pipe"
            each.stdin.write("\n")
            each.stdin.flush()
        return sum(float(each.communicate()[0]) for each in running)
    finally:
        for each in running:
            each.kill()
            each.wait()


def best(model: Path, *, size: int, jpeg: Path, seconds: float) -> float:
    """Return images per second at the best batch, without decoding."""
    rates = (images_per_second(model, size=size, jpeg=jpeg, batch=batch, seconds=seconds) for batch in BATCHES)
    return max(rates)


def _loop(model: str, size: int, jpeg: str, batch: int, seconds: float) -> None:
    from models_store.tasks.image.codec import decode  # noqa: PLC0415  the process that asks needs none of it
    from workers.export.sessions import open_session  # noqa: PLC0415  as above

    session = open_session(Path(model), device="cpu", threads=1)
    data, name = Path(jpeg).read_bytes(), session.get_inputs()[0].name
    images_NHWC = np.stack([decode(data, size=size, channels=3, fit="crop")] * max(1, batch))
    for _ in range(3):
        session.run(None, {name: images_NHWC})
    print("ready", flush=True)
    sys.stdin.readline()
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        if batch == 0:
            images_NHWC = decode(data, size=size, channels=3, fit="crop")[None]
        session.run(None, {name: images_NHWC})
        count += max(1, batch)
    print(count / (time.perf_counter() - began), flush=True)


if __name__ == "__main__":
    _loop(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
