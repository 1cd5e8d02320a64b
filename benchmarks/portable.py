"""The any-size file elsewhere: agreement with the service on 200 photographs, from Python and from a browser.

    python -m benchmarks.portable [--quick] [--hymenoptera ZIP]

An EfficientNet-Lite0 is trained on the photographs, its backbone frozen, by a job as a worker does it. Three ways then
name the likeliest class of each file: `docs/examples/predict.py`, `docs/examples/predict.js` in a real browser, and
POST /predict with fp32. The ants and bees of PyTorch's transfer-learning tutorial don't ship, for want of a licence:
`--hymenoptera` names a zip of their class folders, and without one a part of Fashion-MNIST takes their place.
"""

import argparse
import importlib.util
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import onnxruntime
from PIL import Image
from sqlalchemy import update

from benchmarks import browser, jobs
from benchmarks.home import Opened, home
from benchmarks.verdict import Goal, conclude
from models_store.jobs import claims, submissions
from models_store.models import publish
from models_store.storage import tables
from service.app import create_app
from service.server import listen, server_of

SAMPLE = Path(__file__).parent.parent / "samples" / "demo.zip"
PHOTOGRAPHS, QUICK_PHOTOGRAPHS = 200, 20
AT_ONCE = 20
OWNER, KEY = "benchmark", "key-of-this-benchmark"
SPEC: dict[str, Any] = {
    "input": {"size": 224},
    "backbone": {"kind": "efficientnet_lite0", "weights": "imagenet", "freeze": "backbone"},
    "training": {"epochs": 20, "batch_size": 32},
    "compression": None,
}
Labels = Sequence[str]
"""the likeliest class of each photograph"""


def main() -> None:
    """Train, ask the three ways, and judge."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one epoch at 32 px and a few images, without a verdict")
    parser.add_argument("--hymenoptera", type=Path, help="zip of the ants and bees")
    options = parser.parse_args()
    archive = options.hymenoptera or SAMPLE
    quickly = {"input": {"size": 32}, "training": {"epochs": 1, "batch_size": 32}} if options.quick else {}
    with tempfile.TemporaryDirectory() as folder, home(Path(folder)) as store:
        opened = store.open(archive)
        made = jobs.train(opened, SPEC | quickly)
        images = photographs(archive, count=QUICK_PHOTOGRAPHS if options.quick else PHOTOGRAPHS)
        figures = agreements(opened, made, images)
    goals = [Goal(figure, "at least", 1.0) for figure in figures if figure.startswith("same top-1")]
    conclude("portable", figures, goals=goals, binding=not options.quick)


def photographs(archive: Path, *, count: int) -> list[bytes]:
    """Return the bytes of `count` image files, spread over the archive."""
    with zipfile.ZipFile(archive) as opened:
        names = [name for name in opened.namelist() if name.lower().endswith((".jpg", ".jpeg", ".png"))]
        return [opened.read(names[index]) for index in np.linspace(0, len(names) - 1, num=count).astype(int)]


def agreements(opened: Opened, made: jobs.Made, images: Sequence[bytes]) -> dict[str, float]:
    """Return the share of photographs with the same likeliest class, of each pair of ways; without a browser, of one.

    The job was one of the store's, and made the any-size variant.
    """
    sizes = {Image.open(BytesIO(data)).size for data in images}
    path = made.path("any-size")
    ways: dict[str, Labels] = {"POST /predict": _served(opened, made, images), "Python": _in_python(path, images)}
    if browser.missing():
        print(browser.missing())
    else:
        ways["a browser"] = [ranked[0][0] for ranked in browser.predict(path, images)]
    figures = {"photographs": float(len(images)), "sizes among them": float(len(sizes))}
    names = list(ways)
    for index, one in enumerate(names):
        for other in names[:index]:
            figures[f"same top-1: {one} and {other}"] = _same(ways[one], ways[other])
    return figures


def _same(one: Labels, other: Labels) -> float:
    return float(np.mean([left == right for left, right in zip(one, other, strict=True)]))


def _in_python(path: Path, images: Sequence[bytes]) -> Labels:
    example = _example()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [example.predict(session, BytesIO(data))[0][0] for data in images]


def _example() -> ModuleType:
    specification = importlib.util.spec_from_file_location("predict", browser.EXAMPLES / "predict.py")
    assert specification is not None, "the example is there"
    assert specification.loader is not None, "and is Python"
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _served(opened: Opened, made: jobs.Made, images: Sequence[bytes]) -> Labels:
    labels: list[str] = []
    with _serving(opened, made) as client:
        for start in range(0, len(images), AT_ONCE):
            files = [("files", ("photograph", data)) for data in images[start : start + AT_ONCE]]
            answer = client.post("/predict", data={"model": f"{made.spec.name}/fp32"}, files=files).raise_for_status()
            labels += [each["label"] for each in answer.json()["predictions"]]
    return labels


@contextmanager
def _serving(opened: Opened, made: jobs.Made) -> Iterator[httpx.Client]:
    """Publish what the job made, and serve it on the loopback interface; yield a client."""
    _publish(opened, made)
    settings = opened.home.settings.model_copy(update={"api_keys": f"{OWNER}:{KEY}"})
    server, listening = server_of(create_app(settings), settings), listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the service did not start"
        time.sleep(0.01)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": KEY}, timeout=120) as client:
        yield client
    server.should_exit = True
    thread.join()


def _publish(opened: Opened, made: jobs.Made) -> None:
    store = opened.home
    job, _ = submissions.submit(store.database, owner=OWNER, spec=made.spec, settings=store.settings)
    with store.database.write() as connection:
        connection.execute(update(tables.job).where(tables.job.c.id == job.id).values(state="running"))
    publish.publish(store.database, claims.Claim(job, job.fence), publish.Publication.of_document(made.result))


if __name__ == "__main__":
    main()
