"""A service with a store of its own, over real HTTP: real SQLite, real ONNX files, the server in a thread."""

import io
import socket
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from sqlalchemy import update

from models_store.jobs import claims, submissions
from models_store.models import publish as publications
from models_store.models import registry
from models_store.settings import Settings
from models_store.storage import tables
from service.app import create_app
from service.context import Context
from service.server import listen, server_of
from tests import databases, openapi_contract, samples
from tests.service import onnx_files

OWNER = "local"


class Service:
    """A running service, a client of it, and its insides."""

    def __init__(self, url: str, context: Context) -> None:
        self.url = url
        self.context = context
        self.http = httpx.Client(base_url=url, timeout=30, event_hooks={"response": [openapi_contract.check]})
        self._has_dataset = False

    def publish(
        self,
        name: str,
        path: Path,
        *,
        variants: tuple[str, ...] = ("fp32",),
        variant_cards: Mapping[str, dict[str, Any]] | None = None,
        auxiliary: Mapping[str, Path] | None = None,
        golden: Path | None = None,
        **card: Any,
    ) -> int:
        """Publish a file as a model's next version, as a finished job does.

        Its variants were measured on the CPU, and the first is the default there; those of `variant_cards` have the
        cards given. `auxiliary` are more files of the version, by name; `golden` has its golden inputs.
        """
        here = self.context
        blob = here.blobs.put(path)
        spec = samples.a_train_spec(name=name, dataset=self.upload()["id"])
        if not self._has_dataset:
            samples.insert_dataset(here.database, owner=OWNER)
            self._has_dataset = True
        job, _ = submissions.submit(here.database, owner=OWNER, spec=spec, settings=here.settings)
        with here.database.write() as connection:
            connection.execute(update(tables.job).where(tables.job.c.id == job.id).values(state="running"))
        made = [
            registry.Variant(each, blob.sha256, blob.size_bytes, variant_card, accepted=True)
            for each, variant_card in (
                {each: a_variant_card(each) for each in variants} | dict(variant_cards or {})
            ).items()
        ]
        known = {
            "task": "image_classification",
            "labels": list(onnx_files.LABELS),
            "input": {"size": 16, "channels": 3, "fit": "crop"},
            "metrics": {"test": {"accuracy": 0.9}},
        }
        claim = claims.Claim(job, job.fence)
        publication = publications.Publication(
            known | card,
            variants[0],
            made,
            defaults={"cpu": variants[0]},
            golden_blob=here.blobs.put(golden).sha256 if golden is not None else None,
            auxiliary_blobs={name: here.blobs.put(file).sha256 for name, file in (auxiliary or {}).items()},
        )
        return publications.publish(here.database, claim, publication)

    def upload(self, name: str = "images", **query: Any) -> dict[str, Any]:
        """Upload an archive of three classes and return the dataset."""
        answer = self.http.post(
            "/datasets",
            params={"name": name, **query},
            content=an_archive(),
            headers={"Content-Type": "application/zip"},
        )
        assert answer.status_code in {200, 201}, answer.text
        return dict(answer.json())


def a_variant_card(kind: str) -> dict[str, Any]:
    """Return the card of a variant that was measured on the CPU and accepted."""
    figures = {"accuracy": {"val": 0.9, "test": 0.9}, "speedup": 1.0, "accepted": True, "reasons": []}
    return {"kind": kind, "parent": None if kind == "fp32" else "fp32", "measured": {"cpu": figures}}


def an_archive(*, per_class: int = 12, seed: int = 0) -> bytes:
    """Return a zip of class folders of small, easily told images."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for hue, label in enumerate(onnx_files.LABELS):
            for index in range(per_class):
                image = samples.a_png(hue=hue, seed=seed + 1000 * hue + index)
                file.writestr(f"{label}/{index:03d}.png", image)
    return buffer.getvalue()


def a_plain_image(colour: tuple[int, int, int], *, size: tuple[int, int] = (20, 20)) -> bytes:
    """Return a PNG of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


@contextmanager
def running(settings: Settings) -> Iterator[Service]:
    """Serve an app on a free port of the loopback interface, in a thread."""
    databases.place(settings.database_url)
    app = create_app(settings)
    server = server_of(app, settings)
    listening = listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the service did not start"
        time.sleep(0.005)
    service = Service(f"http://127.0.0.1:{port}", app.state.context)
    try:
        yield service
    finally:
        service.http.close()
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive(), "the service did not stop"


def a_free_port() -> int:
    """Return a port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def problem_of(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is a whole problem document of this kind, and return it."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    document = dict(answer.json())
    assert (document["status"], document["code"]) == (status, code), document
    assert {"type", "title", "detail", "instance", "errors"} <= document.keys()
    assert "Traceback" not in answer.text
    assert "/home/" not in answer.text
    return document
