"""Stage that measures each file: accuracy, latency, throughput and memory on each provider, in fresh processes."""

from collections.abc import Mapping

import torch

from models_store.models.providers import Provider
from models_store.models.variant_card import VariantCard
from models_store.tasks.rooms import target_of
from workers.compression.gate import BASELINE
from workers.export.benchmark import benchmark
from workers.export.figures import Measurement, Unmeasurable
from workers.stages.context import Work
from workers.stages.data import Data
from workers.stages.variant import Variant, Variants

Measured = Mapping[Provider, Mapping[str, Measurement]]
"""provider → variant → figures"""


def measure(work: Work, data: Data, variants: Variants) -> tuple[Variants, Measured]:
    """Return what was measured on each file, and the variants without those that no provider of this host can run."""
    figures = measure_files(work, data, variants)
    nowhere = _running_nowhere(variants, figures)
    for name, reason in nowhere.items():
        work.reporter.warn(f"{name} is left out: {reason}")
    kept = {
        provider: {name: each for name, each in measured.items() if name not in nowhere}
        for provider, measured in figures.items()
    }
    return variants.without(nowhere), kept


def measure_files(work: Work, data: Data, variants: Variants) -> Measured:
    """Return what was measured on each file."""
    work.reporter.phase("measuring")
    return benchmark(
        {name: variant.path for name, variant in variants.made.items()},
        baseline=BASELINE,
        parents={name: variant.parent for name, variant in variants.made.items()},
        inputs=data.examples.files,
        padded=data.examples.padded,
        truths=data.examples.targets,
        target=target_of(work.spec.task),
        splits={split: data.examples.split(split) for split in ("val", "test")},
        device=work.settings.training_device,
        budget_s=work.settings.measure_s,
        threads=torch.get_num_threads(),
        limit_s=work.settings.measure_limit_s,
        report=work.reporter.progress,
    )


def take_up(work: Work) -> Variants:
    """Return the files of the version that is measured again."""
    stored = work.assignment.variants
    return Variants(
        {each.name: Variant.of_card(work.blobs.local(each.blob), VariantCard.of_document(each.card)) for each in stored}
    )


def _running_nowhere(variants: Variants, figures: Measured) -> dict[str, str]:
    """Return the variants that no provider of this host can run, and why."""
    nowhere = {}
    for name in variants.made:
        reasons = [each.reason for measured in figures.values() if isinstance(each := measured[name], Unmeasurable)]
        if len(reasons) == len(figures):
            nowhere[name] = "; ".join(dict.fromkeys(reasons))
    return nowhere
