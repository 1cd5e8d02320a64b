"""Models that build on models, over real HTTP with a real worker: weights by alias, a teacher, a user's file, alpha."""

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file
from sqlalchemy import select

from models_store.storage import tables
from models_store.storage.blobs import Blobs
from tests.live_stack import LiveService

pytestmark = pytest.mark.slow

BACKBONE = {"kind": "small_cnn", "widths": [8, 16], "dense_size": 32}
QUICK = {"input": {"size": 32}, "training": {"epochs": 2, "batch_size": 16}, "compression": None}


@pytest.fixture(scope="module")
def dataset(service: LiveService, archive: Path) -> str:
    return str(service.upload(archive)["id"])


@pytest.fixture(scope="module")
def base(service: LiveService, dataset: str) -> str:
    """A model named `base`, whose alias `best` is its first version."""
    ended = finished(service, name="base", dataset=dataset, backbone=BACKBONE, **QUICK)
    assert ended["state"] == "succeeded", ended["problem"]
    service.http.put("/models/base/aliases/best", json={"version": 1}).raise_for_status()
    return "base@best"


def finished(service: LiveService, **spec: Any) -> dict[str, Any]:
    return service.wait(service.train(**spec)["id"])


def weights_of(service: LiveService, model: str) -> Path:
    version = tables.version
    with service.database.read() as connection:
        blob = connection.execute(select(version.c.weights_blob).where(version.c.model == model)).scalar_one()
    return Blobs(service.settings.blobs_url, scratch=service.settings.scratch).local(blob)


def backbone_of(path: Path) -> dict[str, Any]:
    return {name: value for name, value in load_file(path).items() if name.startswith("backbone.")}


def test_a_model_starts_from_another_and_learns_from_a_teacher(service: LiveService, dataset: str, base: str) -> None:
    ended = finished(
        service,
        name="student",
        dataset=dataset,
        backbone=BACKBONE | {"weights": base, "freeze": "backbone"},
        head={"hidden_sizes": [8]},
        distillation={"teacher": base, "weight": 0.5},
        **QUICK,
    )

    own, given = backbone_of(weights_of(service, "student")), backbone_of(weights_of(service, "base"))
    assert ended["state"] == "succeeded", ended["problem"]
    assert ended["spec"]["backbone"]["weights"] == ended["spec"]["distillation"]["teacher"] == "base:1"
    assert own.keys() == given.keys()
    assert all((own[name] == given[name]).all() for name in own)


def test_a_users_file_starts_a_net_that_sees_transparency(service: LiveService, dataset: str, base: str) -> None:
    uploaded = service.http.post(
        "/weights",
        content=weights_of(service, base.partition("@")[0]).read_bytes(),
        headers={"Content-Type": "application/octet-stream"},
    ).raise_for_status()
    quick = QUICK | {"input": {"size": 32, "channels": 4}}

    ended = finished(
        service,
        name="alpha",
        dataset=dataset,
        backbone=BACKBONE | {"weights": uploaded.json()["id"], "freeze": "until:stage1"},
        **quick,
    )

    assert ended["state"] == "succeeded", ended["problem"]
    first = next(value for value in backbone_of(weights_of(service, "alpha")).values() if value.ndim == 4)
    assert first.shape[1] == 4
    assert (first[:, 3] == 0).all()  # frozen: alpha does not count yet
    picture = io.BytesIO()
    Image.new("RGBA", (40, 40), (250, 10, 10, 128)).save(picture, "PNG")
    body = {"model": "alpha", "inputs": [base64.b64encode(picture.getvalue()).decode()]}
    answer = service.http.post("/predict", json=body).raise_for_status().json()
    assert answer["predictions"][0]["label"] in {"blue", "green", "red"}


def test_a_file_of_another_net_fails_the_job_with_the_first_differences(
    service: LiveService, dataset: str, base: str, tmp_path: Path
) -> None:
    tensors = load_file(weights_of(service, base.partition("@")[0]))
    name = next(name for name in tensors if name.startswith("backbone.") and name.endswith(".weight"))
    tensors.pop(name)
    save_file(tensors, tmp_path / "other.safetensors")
    uploaded = service.http.post(
        "/weights",
        content=(tmp_path / "other.safetensors").read_bytes(),
        headers={"Content-Type": "application/octet-stream"},
    ).raise_for_status()
    weights = uploaded.json()["id"]

    ended = finished(service, name="other", dataset=dataset, backbone=BACKBONE | {"weights": weights}, **QUICK)

    assert (ended["state"], ended["problem"]["code"]) == ("failed", "weights_unfit")
    assert f"lacks '{name.removeprefix('backbone.')}'" in ended["problem"]["detail"]
    assert weights in ended["problem"]["detail"]
