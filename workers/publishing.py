"""The last stage: what is known of the version, which forms are good enough, and all that the supervisor is handed."""

from dataclasses import asdict
from typing import Any

import torch

from models_store import registry
from workers import examining
from workers.compression import gate
from workers.evaluation.examination import Examined, for_card
from workers.export.benchmark import Figures
from workers.export.verify import Agreement
from workers.image import task
from workers.image.data import ImageArrays
from workers.image.task import Classifier
from workers.training.loop import Trained
from workers.work import Form, Work, identity


def version_card(
    work: Work,
    trained: Trained[Classifier],
    arrays: ImageArrays,
    *,
    agreements: dict[str, Agreement],
    examined: dict[str, Examined],
    not_made: dict[str, str],
) -> dict[str, Any]:
    """Return what is known of the version as a whole."""
    return identity(work) | {
        "labels": arrays.classes,
        "metrics": {split: for_card(each.section) for split, each in examined.items()},
        "agreement": {name: agreement.as_card() for name, agreement in agreements.items()},
        "not_made": not_made,
        "compressed_from": work.assignment.compressed_from,
        "training": {
            "best_epoch": trained.best_epoch,
            "epochs": len(trained.history),
            "precision": trained.precision,
            "batch_size": trained.batch_size,
            "device": work.device.type,
            "threads": torch.get_num_threads(),
        },
    }


def publish(
    work: Work,
    trained: Trained[Classifier],
    arrays: ImageArrays,
    forms: dict[str, Form],
    *,
    figures: dict[str, Figures],
    examined: dict[str, Examined],
    card: dict[str, Any],
) -> None:
    """Judge the forms, put their files and the report among the blobs, and tell the supervisor what to publish."""
    work.reporter.phase("publishing")
    allowed = work.spec.compression.max_accuracy_drop if work.spec.compression else 0.0
    measured = {
        name: gate.Measured(figures[name].accuracy["val"], figures[name].speedup, parent=form.parent)
        for name, form in forms.items()
    }
    choice = gate.choose(measured, max_accuracy_drop=allowed)
    weights = work.blobs.put(task.save(trained.classifier, work.staging / "weights.safetensors"))
    variants = []
    for name, form in forms.items():
        verdict = choice.verdicts[name]
        judged = {
            "accuracy_drop": verdict.accuracy_drop,
            "accepted": verdict.accepted,
            "reasons": list(verdict.reasons),
        }
        variant_card = {"kind": name, "parent": form.parent} | figures[name].as_card() | judged | form.facts
        blob = work.blobs.put(form.path)
        variants.append(registry.Variant(name, blob.sha256, blob.size_bytes, variant_card, accepted=verdict.accepted))
    report = examining.write_report(
        work,
        trained,
        arrays,
        examined,
        temperature=forms["fp32"].temperature,
        forms={each.name: examining.form_told(each.card, size_bytes=each.size_bytes) for each in variants},
    )
    work.reporter.say(
        "result",
        {
            "card": card,
            "default_variant": choice.default,
            "variants": [asdict(variant) for variant in variants],
            "weights_blob": weights.sha256,
            "files": {"report": report},
        },
    )
