"""Publication as the last stage: files become blobs, cards describe them, and the supervisor gets the result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from models_store.jobs.results import Finished, Tried
from models_store.models import registry
from models_store.models.publish import Publication
from models_store.models.variant_card import VariantCard
from workers.evaluation import report
from workers.evaluation.features import Feature
from workers.evaluation.split_report import SplitReport, for_card
from workers.stages.accept import Verdicts
from workers.stages.context import Work
from workers.stages.data import Data
from workers.stages.evaluate import Answered
from workers.stages.golden import store_golden
from workers.stages.variant import Variant, Variants
from workers.training.examples import Examples
from workers.training.learner import save
from workers.training.loop import Trained


@dataclass(frozen=True)
class Findings:
    """What was found of a version's model."""

    examined: Mapping[str, SplitReport]
    """of the fp32 file's answers, by split"""
    verdicts: Verdicts
    warnings: Sequence[str]
    """what is likely to be wrong with it"""


def publish(work: Work, data: Data, trained: Trained, variants: Variants, findings: Findings) -> Publication:
    """Put the variants' files and the report among the blobs; return what the supervisor publishes.

    A variant that failed its gate is published with the reasons; fp32 is published whatever happens to the others.
    Standalone variants are files to take elsewhere: nothing judges them.
    """
    verdicts = findings.verdicts
    golden = store_golden(work, data, variants)  # before the files are taken away
    weights = work.blobs.put(save(trained.learner, work.staging / "weights.safetensors"))
    stored = []
    for done, (name, variant) in enumerate(variants.made.items(), 1):
        stored.append(_stored(work, name, variant, card=variant.card(name, measured=verdicts.measured[name])))
        work.reporter.progress(0.9 * done / len(variants.made))
    card = version_card(work, data, trained, variants, findings)
    written = _write_report(work, data, trained, variants, findings, cards={each.name: each.card for each in stored})
    for name, variant in variants.standalone.items():
        stored.append(_stored(work, name, variant, card=variant.card(name)))
    return Publication(
        card,
        verdicts.default,
        stored,
        weights_blob=weights.sha256,
        auxiliary_blobs=stored_auxiliary_files(work, data.examples),
        golden_blob=golden,
        files={"report": written},
        defaults=verdicts.defaults,
    )


def stored_auxiliary_files(work: Work, examples: Examples) -> dict[str, str]:
    """Put the files that the version's codec needs among the blobs; return name → blob."""
    files = work.task.auxiliary_files(examples, work.staging)
    return {name: work.blobs.put(path).sha256 for name, path in files.items()}


def version_card(work: Work, data: Data, trained: Trained, variants: Variants, findings: Findings) -> dict[str, Any]:
    """Return what is known of the version as a whole."""
    return (
        work.identity
        | work.task.learned(data.examples)
        | {
            "labels": data.examples.classes,
            "metrics": {split: for_card(each.section) for split, each in findings.examined.items()},
            "agreement": {
                name: each.parity.as_card() for name, each in variants.made.items() if each.parity is not None
            },
            "not_made": dict(variants.not_made),
            "compressed_from": work.assignment.compressed_from,
            "training": {
                "best_epoch": trained.best_epoch,
                "epochs": len(trained.history),
                "precision": trained.precision,
                "batch_size": trained.batch_size,
                "device": work.device.type,
                "threads": torch.get_num_threads(),
                "plan": None if work.plan is None else work.plan.card,
            },
            "warnings": list(findings.warnings),
        }
    )


def hand_over(work: Work, trained: Trained, answered: Answered) -> Finished:
    """Put a trial's answers, and weights that may be promoted, among the blobs; return its result."""
    path = work.staging / "answers.npz"
    np.savez_compressed(path, **answered.arrays)  # type: ignore[arg-type]  # the stub takes the names for its own flags
    files = {"answers": work.blobs.put(path).sha256}
    if work.assignment.keeps_weights:
        weights = save(trained.learner, work.staging / "weights.safetensors")
        files["weights"] = work.blobs.put(weights).sha256
    result = Tried(
        value=trained.history[trained.best_epoch - 1][work.spec.training.monitor],
        metrics=answered.metrics,
        best_epoch=trained.best_epoch,
        epochs=len(trained.history),
        precision=trained.precision,
        batch_size=trained.batch_size,
    )
    return Finished(result.as_document(), files)


def _write_report(
    work: Work,
    data: Data,
    trained: Trained,
    variants: Variants,
    findings: Findings,
    *,
    cards: dict[str, dict[str, Any]],
) -> str:
    """Put the report among the blobs and return its digest; `cards` are the variants'."""
    spec, assignment, temperature = work.spec, work.assignment, variants.baseline.temperature
    identity = {
        "job": assignment.job_id,
        "model": spec.name,
        "task": spec.task,
        "backbone": work.identity.get("backbone"),
        "dataset": None if assignment.dataset is None else assignment.dataset.id,
        "classes": data.examples.classes,
        "monitor": spec.training.monitor,
    }
    document, pictures = report.assemble(
        identity,
        dict(findings.examined),
        history=trained.history,
        best_epoch=trained.best_epoch,
        temperature=temperature.as_card() if temperature else None,
        made=cards,
        defaults={str(provider): variant for provider, variant in findings.verdicts.defaults.items()},
        not_made=dict(variants.not_made),
        warnings=findings.warnings,
        features=_features(work, data, variants.baseline),
    )
    path = work.staging / "report.zip"
    report.write(path, document, pictures)
    return work.blobs.put(path).sha256


def _features(work: Work, data: Data, variant: Variant) -> Sequence[Feature]:
    return () if variant.net is None else work.task.features(variant.net, data.examples)


def _stored(work: Work, name: str, variant: Variant, *, card: VariantCard) -> registry.Variant:
    blob = work.blobs.put(variant.path)  # which takes the file away
    return registry.Variant(name, blob.sha256, blob.size_bytes, card.as_document(), accepted=card.is_accepted)
