"""A job whose every smaller variant fails, each in its own way: fp32 is published, and each failure is told."""

import copy
import shutil
from typing import Any

import numpy as np
import pytest
import torch

from models_store.storage.blobs import Blobs
from tests import samples
from tests.service.onnx_files import write_colour_net
from tests.workers.stories.finished_jobs import FinishedJob, a_picture, finish_a_job
from workers.stages.context import Work
from workers.stages.data import Data
from workers.stages.variant import Variant, Variants
from workers.stories import supervised
from workers.tasks.image.net import Classifier
from workers.training.loop import Trained

pytestmark = pytest.mark.slow  # the exporter, twice

SIZE = 32
COLOURS = {"red": (180, 60, 60), "green": (60, 180, 60), "blue": (60, 60, 180)}


class TwoFaced(Classifier):
    """Answers otherwise when it is exported."""

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        logits_NK: torch.Tensor = super().forward(images_NCHW)
        return -logits_NK if torch.compiler.is_exporting() else logits_NK


class Unexportable(Classifier):
    """Can't be exported."""

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_exporting():
            raise NotImplementedError("this net can't be followed")
        return super().forward(images_NCHW)


def prune(work: Work, _data: Data, trained: Trained) -> Variants:
    work.reporter.phase("pruning")
    made = {"fp32": Variant(work.staging / "fp32.onnx", parent=None, net=trained.learner)}
    for name, kind in (("pruned", TwoFaced), ("control", Unexportable)):
        net = copy.deepcopy(trained.learner)
        net.__class__ = kind
        made[name] = Variant(work.staging / f"{name}.onnx", parent="fp32", net=net)
    return Variants(made)


def quantize(work: Work, _data: Data, variants: Variants) -> Variants:
    work.reporter.phase("quantizing")
    assert list(variants.not_made) == ["control"]
    paths = {name: work.staging / f"{name}.onnx" for name in ("int8", "bf16", "pruned-int8")}
    write_colour_net(paths["int8"], size=SIZE)  # its classes are in another order
    write_colour_net(paths["bf16"], size=SIZE // 2)  # which no image fits
    shutil.copy(variants.made["pruned"].path, paths["pruned-int8"])
    static = {"kind": "static_int8"}
    return variants.with_made(
        {
            "int8": Variant(paths["int8"], parent="fp32", made_by=static),
            "bf16": Variant(paths["bf16"], parent="fp32", made_by={"kind": "bf16"}),
            "pruned-int8": Variant(paths["pruned-int8"], parent="pruned", made_by=static),
        }
    ).without({"weights-int4": "there is no linear layer"})


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("job")
    settings = samples.quick_settings(folder / "home")
    files = {
        f"{name}/{number}.png": a_picture(1000 * place + number, mean=mean)
        for place, (name, mean) in enumerate(COLOURS.items())
        for number in range(30)
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervised, "prune", prune)
        patch.setattr(supervised, "quantize", quantize)
        yield finish_a_job(
            files,
            folder=folder,
            blobs=Blobs(settings.blobs_url, scratch=settings.scratch),
            settings=settings,
            export={"any_size": False},
        )


def test_fp32_is_published_and_served_on_every_provider(job: FinishedJob) -> None:
    assert job.result["default_variant"] == "fp32"
    assert set(job.result["defaults"].values()) == {"fp32"}
    assert job.variant("fp32")["accepted"]
    (said,) = job.predict([a_picture(5, mean=COLOURS["red"])])
    assert said["label"] == "red"


def test_variants_that_are_worse_are_kept_with_the_reasons(job: FinishedJob) -> None:
    variants = {variant["name"]: variant for variant in job.result["variants"]}

    assert set(variants) == {"fp32", "int8"}
    assert not variants["int8"]["accepted"]
    assert "loses 0." in variants["int8"]["card"]["measured"]["cpu"]["reasons"][0]


def test_a_variant_that_no_provider_here_can_run_is_not_made_with_the_reason(job: FinishedJob) -> None:
    assert "dimensions" in job.result["card"]["not_made"]["bf16"]


def test_nets_that_can_not_be_exported_or_answer_otherwise_are_left_out_with_what_was_made_of_them(
    job: FinishedJob,
) -> None:
    not_made = job.result["card"]["not_made"]

    assert set(not_made) == {"weights-int4", "control", "pruned", "pruned-int8", "bf16"}
    assert "this net can't be followed" in not_made["control"]
    assert "get the same answer from the exported file" in not_made["pruned"]
    assert not_made["pruned-int8"] == "pruned, which it was made of, does not answer as its net does"


def test_how_far_a_file_is_from_its_net_is_told(job: FinishedJob) -> None:
    fp32, int8 = (job.variant(name)["card"]["parity"] for name in ("fp32", "int8"))

    assert (fp32["share"], fp32["images"]) == (1.0, 9)
    assert fp32["max_difference"] < 1e-4
    assert int8["share"] < 1
    assert np.isfinite(int8["max_difference"])
