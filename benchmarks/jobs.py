"""Whole jobs in trainer processes of their own, as a worker starts them, and what each would have published."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.home import Opened
from models_store.jobs import reports
from models_store.jobs.job import digest_of
from models_store.spec.train import ResolvedSpec
from models_store.storage.blobs import Blobs
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.spec import ImageSpec
from models_store.tasks.rooms import read_resolved
from workers.process.assignment import AssignedDataset, Assignment, TrainedNet
from workers.process.trainer_process import TrainerProcess

Document = Mapping[str, Any]


class JobFailed(Exception):
    """The job ended without a result; the message is the problem's detail, or the end of the trainer's log."""


class NotMade(JobFailed):
    """The job ended without a variant that was asked for; the message is the reason."""


@dataclass(frozen=True)
class Made:
    """What a job handed over to be published."""

    spec: ResolvedSpec
    result: dict[str, Any]
    blobs: Blobs

    @property
    def cards(self) -> dict[str, dict[str, Any]]:
        """Return variant → its card."""
        return {variant["name"]: variant["card"] for variant in self.result["variants"]}

    @property
    def default(self) -> str:
        """Return the variant that the CPU serves."""
        return str(self.result["defaults"]["cpu"])

    @property
    def not_made(self) -> dict[str, str]:
        """Return variant that was asked for → why it could not be made."""
        return dict(self.result["card"]["not_made"])

    def on_cpu(self, variant: str) -> dict[str, Any]:
        """Return what was measured of a variant on the CPU.

        Raises:
            NotMade: if the job has not made it.
        """
        if variant in self.not_made:
            raise NotMade(f"{variant} was not made: {self.not_made[variant]}")
        figures: dict[str, Any] = self.cards[variant]["measured"]["cpu"]
        return figures

    def path(self, variant: str) -> Path:
        """Return a variant's file."""
        made = next(each for each in self.result["variants"] if each["name"] == variant)
        return self.blobs.local(made["blob"])

    def taken_up(self, *, weights: str | None = None) -> TrainedNet:
        """Return this job's net, so that it is not trained again; `weights` names others (a blob) of the same net."""
        training = self.result["card"]["training"]
        report = json.loads(reports.read(self.blobs, self.result["files"]["report"], reports.JSON))
        known = {name: training[name] for name in ("best_epoch", "precision", "batch_size")}
        return TrainedNet(weights or self.result["weights_blob"], report["history"], **known)


def train(opened: Opened, document: Document) -> Made:
    """Train by a spec, or take what an earlier run with the same store has trained."""
    spec = spec_of(opened, document)
    sha256 = digest_of(spec.model_dump(mode="json"))
    kept = opened.home.settings.scratch / "trained" / f"{opened.dataset.digest[:16]}-{sha256[:16]}.json"
    if kept.exists():
        known = json.loads(kept.read_text(encoding="utf-8"))
        return Made(read_resolved(known["spec"]), known["result"], opened.home.blobs)
    made = run(opened, spec)
    kept.parent.mkdir(exist_ok=True)
    known = {"spec": made.spec.model_dump(mode="json"), "result": made.result}
    kept.write_text(json.dumps(known), encoding="utf-8")
    return made


def compress(opened: Opened, trained: Made, compression: Document, *, weights: str | None = None) -> Made:
    """Make smaller variants of a trained net; `weights` names others (a blob) of the same net."""
    document = trained.spec.model_dump(mode="json") | {"compression": dict(compression)}
    return run(opened, read_resolved(document), promoted=trained.taken_up(weights=weights))


def spec_of(opened: Opened, document: Document) -> ResolvedSpec:
    """Return the spec with every default decided for the dataset.

    Raises:
        pydantic.ValidationError: if the document is no spec, or doesn't fit the dataset.
    """
    asked = {"name": "benchmark", "dataset": opened.dataset.id, **document}
    return IMAGE.resolve(ImageSpec.model_validate(asked), opened.facts)[0]


def run(opened: Opened, spec: ResolvedSpec, *, promoted: TrainedNet | None = None) -> Made:
    """Do the job in a trainer process; `promoted` is a trained net to take up in place of training.

    Raises:
        JobFailed: if it ends without a result.
    """
    settings, dataset = opened.home.settings, opened.dataset
    staging = Path(tempfile.mkdtemp(prefix="job-", dir=settings.scratch))
    document = spec.model_dump(mode="json")
    assignment = Assignment(
        job_id="job_benchmark",
        spec=document,
        spec_sha256=digest_of(document),
        dataset=AssignedDataset(
            dataset.id, dataset.digest, dataset.card["classes"], dataset.content_blob, dataset.manifest_blob
        ),
        checkpoints=[],
        staging=str(staging),
        facts=asdict(opened.facts),
        kind="train" if promoted is None else "compress",
        promoted=promoted,
        compressed_from=None if promoted is None else "benchmark:1",
    )
    try:
        fitted, result = _result_of(TrainerProcess(assignment, settings=settings))
        return Made(spec if fitted is None else fitted, result, opened.home.blobs)
    finally:
        shutil.rmtree(staging)


def _result_of(trainer: TrainerProcess) -> tuple[ResolvedSpec | None, dict[str, Any]]:
    """Return the spec that the trainer has fitted to its budget, if it has, and the job's result."""
    fitted: ResolvedSpec | None = None
    result: dict[str, Any] | None = None
    problem = ""
    try:
        while not trainer.is_silent:
            for kind, data in trainer.read(timeout_s=5):
                if kind == "result":
                    result = data
                elif kind == "plan":
                    fitted = read_resolved(data["spec"])
                elif kind in {"problem", "trouble"}:
                    problem = data["detail"]
                elif kind == "metrics":
                    print("   ", "  ".join(f"{name} {value:.4g}" for name, value in data.items()), flush=True)
                elif kind in {"phase", "log"}:
                    print("  ", next(iter(data.values())), flush=True)
        if result is None:
            raise JobFailed(problem or trainer.log_tail())
    finally:
        trainer.close()
    return fitted, result


def show(made: Made, title: str) -> None:
    """Print every variant with its figures and its verdict on the CPU."""
    table = Table(title=title, title_justify="left")
    for column in ("variant", "times fp32", "p50 ms", "validation", "test", "MB", "verdict"):
        table.add_column(column)
    for name, card in made.cards.items():
        if card.get("standalone"):  # for use elsewhere: neither measured nor served
            continue
        figures = card["measured"]["cpu"]
        if "unmeasurable" in figures:
            table.add_row(name, "", "", "", "", f"{card['size_bytes'] / 1e6:.2f}", figures["unmeasurable"])
            continue
        low, high = figures["speedup_interval"]
        accuracy = figures["accuracy"]
        verdict = "default" if name == made.default else "accepted" if figures["accepted"] else "refused: "
        table.add_row(
            name,
            f"{figures['speedup']:.2f} [{low:.2f}, {high:.2f}]",
            f"{figures['latency_ms']['p50']:.3f}",
            *(f"{accuracy[split]:.4f}" if split in accuracy else "" for split in ("val", "test")),
            f"{card['size_bytes'] / 1e6:.2f}",
            verdict + "; ".join(figures["reasons"]),
        )
    for name, why in made.not_made.items():
        table.add_row(name, *[""] * 5, f"not made: {why}")
    Console(width=150).print(table)
