"""The last stage: the version's card, the verdicts on its variants, and the result for the supervisor."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from models_store.models import registry
from models_store.models.providers import Provider
from workers.evaluation.split_report import SplitReport, for_card
from workers.export import metadata
from workers.export.figures import Measurement
from workers.export.sizes import compressed_bytes
from workers.export.verify import Agreement
from workers.stages import evaluate
from workers.stages.accept import Judged, judge
from workers.stages.context import Variant, Work, identity
from workers.training.examples import Examples
from workers.training.learner import save
from workers.training.loop import Trained


def version_card(
    work: Work,
    trained: Trained,
    arrays: Examples,
    *,
    agreements: dict[str, Agreement],
    examined: dict[str, SplitReport],
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
            "plan": None if work.plan is None else work.plan.card,
        },
    }


def publish(
    work: Work,
    trained: Trained,
    arrays: Examples,
    variants: dict[str, Variant],
    *,
    standalone: dict[str, Variant],
    figures: dict[Provider, dict[str, Measurement]],
    examined: dict[str, SplitReport],
    card: dict[str, Any],
) -> None:
    """Judge the variants, put their files and the report among the blobs, and tell the supervisor what to publish.

    A variant that fails its gate is published with the reasons; fp32 is published whatever happens to the others.
    Variants that stand alone are files to take elsewhere: nothing judges them.
    """
    work.reporter.phase("publishing")
    judged = judge(
        figures,
        sizes_bytes={name: variant.path.stat().st_size for name, variant in variants.items()},
        parents={name: variant.parent for name, variant in variants.items()},
        compression=work.spec.compression,
        stopped={name: variant.stopped for name, variant in variants.items() if variant.stopped is not None},
        batch_dependent=[name for name, variant in variants.items() if variant.batch_dependent],
    )
    _tell_verdicts(work, judged)
    weights = work.blobs.put(save(trained.learner, work.staging / "weights.safetensors"))
    stored = []
    for done, (name, variant) in enumerate(variants.items(), 1):
        metadata.stamp(variant.path, variant=name, metrics=_metrics(judged.measured[name]))
        card_of_variant = variant_card(name, variant) | {"measured": judged.measured[name]}
        stored.append(_stored(work, name, variant, card=card_of_variant, accepted=judged.is_accepted(name)))
        work.reporter.progress(0.9 * done / len(variants))
    report = evaluate.write_report(
        work,
        trained,
        arrays,
        examined,
        temperature=variants["fp32"].temperature,
        variants={each.name: each.card for each in stored},
        defaults={str(provider): variant for provider, variant in judged.defaults.items()},
        not_made=card["not_made"],
        warnings=card["warnings"],
    )
    for name, variant in standalone.items():
        metadata.stamp(variant.path, variant=name, metrics=_comparison(variant.facts))
        stored.append(_stored(work, name, variant, card=variant_card(name, variant), accepted=False))
    work.reporter.say(
        "result",
        {
            "card": card,
            "default_variant": judged.default,
            "defaults": judged.defaults,
            "variants": [asdict(each) for each in stored],
            "weights_blob": weights.sha256,
            "files": {"report": report},
        },
    )


def _tell_verdicts(work: Work, judged: Judged) -> None:
    for name, measured in judged.measured.items():
        for provider, figures in measured.items():
            if name in {"fp32", judged.defaults.get(provider)} or "accepted" not in figures:
                continue
            why = "; ".join(figures.get("reasons", []))
            verdict = "accepted" if figures["accepted"] else f"not accepted: {why}"
            work.reporter.log(f"{name} on {provider}: {verdict}")
    for provider, name in judged.defaults.items():
        speedup = judged.measured[name][provider].get("speedup")
        faster = "" if name == "fp32" or speedup is None else f", {speedup:.2f} times as fast as fp32"
        work.reporter.log(f"the default on {provider} is {name}{faster}")


def variant_card(name: str, variant: Variant) -> dict[str, Any]:
    """Return what a variant's card says of the file, beside what was measured on it."""
    return {
        "kind": name,
        "parent": variant.parent,
        "made_by": variant.made_by,
        "size_bytes": variant.path.stat().st_size,
        "compressed_bytes": compressed_bytes(variant.path),
        "size_only": False,  # what makes such a variant says so in its facts
        "batch_dependent": variant.batch_dependent,
        **({} if variant.stopped is None else {"stopped": variant.stopped}),
        **variant.facts,
    }


def _stored(work: Work, name: str, variant: Variant, *, card: dict[str, Any], accepted: bool) -> registry.Variant:
    blob = work.blobs.put(variant.path)  # which takes the file away
    return registry.Variant(name, blob.sha256, blob.size_bytes, card, accepted=accepted)


def _metrics(measured: Mapping[Provider, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the file itself says of how good it is: nothing that depends on the machine."""
    kept = ("accuracy", "agreement")
    return {
        provider: {name: figures[name] for name in kept}
        for provider, figures in measured.items()
        if "accuracy" in figures
    }


def _comparison(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file that stands alone says of how good it is: that it answers as serving does."""
    kept = ("compared_images", "agreement_with_serving")
    return {name: facts[name] for name in kept if name in facts}
