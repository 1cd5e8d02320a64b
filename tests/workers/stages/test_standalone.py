"""The stage that makes the any-size file, on an exported net and a zip of image files."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models_store.datasets.store import ManifestEntry
from tests.samples import a_train_spec
from tests.workers.colour_nets import LABELS, leaves
from tests.workers.job_folders import JobFolder, data_of
from workers.stages.standalone import add_standalone
from workers.stages.variant import Variant, Variants
from workers.tasks.image import any_size
from workers.tasks.image.any_size import AnySizeAgreement
from workers.training.examples import Examples

Make = Callable[..., Variants]


@pytest.fixture
def make(tmp_path: Path, exported: Path) -> Make:
    """Return what runs the stage for a spec, on the coloured leaves."""

    def made(**spec: Any) -> Variants:
        data, job = leaves(), JobFolder(tmp_path)
        with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
            for number, image in enumerate(data.files):
                archive.writestr(f"{number}.png", image)
        entries = [
            ManifestEntry(f"{number}.png", f"{number}.png", LABELS[label], "val", "")
            for number, label in enumerate(data.labels_N)
        ]
        splits_N = np.array(["val"] * len(entries))
        examples = Examples({"images": data.images_NHWC}, data.labels_N, splits_N, LABELS)
        return add_standalone(
            job.work(a_train_spec(**spec)),
            data_of(examples, entries=entries, content=tmp_path / "images.zip"),
            Variants({"fp32": Variant(exported, parent=None)}),
        )

    return made


def test_the_variant_stands_alone_and_says_how_it_agrees_with_serving(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(any_size, "MOST_COMPARED", 10)

    variants = make()

    variant = variants.standalone["any-size"]
    assert variants.not_made == {}
    assert list(variants.made) == ["fp32"]
    assert (variant.parent, variant.path.name) == ("fp32", "any-size.onnx")
    card = variant.card("any-size").as_document()
    assert {name: card[name] for name in ("standalone", "compared_images", "agreement_with_serving")} == {
        "standalone": True,
        "compared_images": 10,
        "agreement_with_serving": 1.0,
    }


def test_who_does_not_want_it_gets_none(make: Make) -> None:
    variants = make(export={"any_size": False})

    assert (variants.standalone, variants.not_made) == ({}, {})


def test_a_file_that_answers_otherwise_is_not_offered(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(any_size, "compare", lambda *_, **__: AnySizeAgreement(images=36, differing=3))

    variants = make()

    assert variants.standalone == {}
    assert "3 of 36 validation images" in variants.not_made["any-size"]
