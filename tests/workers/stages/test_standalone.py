"""The stage that makes the any-size file, on an exported net and a zip of image files."""

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models_store.datasets.store import ManifestEntry
from tests.samples import a_train_spec
from tests.workers.colour_nets import LABELS, leaves
from tests.workers.job_folders import A_DATASET, JobFolder
from workers.stages import standalone
from workers.stages.context import Variant
from workers.tasks.image import any_size
from workers.tasks.image.any_size import AnySizeAgreement
from workers.training.examples import Examples

Make = Callable[..., tuple[dict[str, Variant], dict[str, str]]]


@pytest.fixture
def make(tmp_path: Path, exported: Path) -> Make:
    """Return what runs the stage for a spec, on the coloured leaves."""

    def made(**spec: Any) -> tuple[dict[str, Variant], dict[str, str]]:
        data, job = leaves(), JobFolder(tmp_path, dataset=replace(A_DATASET, classes=LABELS))
        with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
            for number, image in enumerate(data.files):
                archive.writestr(f"{number}.png", image)
        work = job.work(a_train_spec(**spec))
        content = replace(work.dataset, content_blob=job.blobs.put(tmp_path / "images.zip").sha256)
        work = replace(work, assignment=replace(work.assignment, dataset=content))
        entries = [
            ManifestEntry(f"{number}.png", f"{number}.png", LABELS[label], "val", "")
            for number, label in enumerate(data.labels_N)
        ]
        splits_N = np.array(["val"] * len(entries))
        arrays = Examples({"images": data.images_NHWC}, data.labels_N, splits_N, LABELS)
        return standalone.make_standalone(work, entries, arrays, Variant(exported, parent=None))

    return made


def test_the_variant_stands_alone_and_says_how_it_agrees_with_serving(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(any_size, "MOST_COMPARED", 10)

    variants, not_made = make()

    variant = variants["any-size"]
    assert not_made == {}
    assert (variant.parent, variant.path.name) == ("fp32", "any-size.onnx")
    assert variant.facts == {"standalone": True, "compared_images": 10, "agreement_with_serving": 1.0}


def test_who_does_not_want_it_gets_none(make: Make) -> None:
    assert make(export={"any_size": False}) == ({}, {})


def test_a_file_that_answers_otherwise_is_not_offered(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(any_size, "compare", lambda *_, **__: AnySizeAgreement(images=36, differing=3))

    variants, not_made = make()

    assert variants == {}
    assert "3 of 36 validation images" in not_made["any-size"]
