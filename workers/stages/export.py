"""Stage that exports each net to its file, at a temperature of its own; and the figures that a file carries."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from models_store.models.providers import Provider
from models_store.storage import disk
from workers.compression.gate import BASELINE
from workers.evaluation.temperature import temperature_of
from workers.export import graph, metadata
from workers.export.figures import Figures, Measurement
from workers.stages.context import Work
from workers.stages.data import Data
from workers.stages.variant import Variant, Variants

KEPT = ("accuracy", "agreement")
"""figures that a file carries: nothing that depends on the machine"""


def export(work: Work, data: Data, variants: Variants) -> Variants:
    """Return the variants with a file of each net; those that can't be exported are left out.

    Figures are not in it yet: they are measured on the file, and `stamp` writes them into it.
    """
    work.reporter.phase("exporting")
    exported = variants
    for done, (name, variant) in enumerate(variants.made.items(), 1):
        work.reporter.progress((done - 1) / len(variants.made), step=name)
        try:
            exported = exported.with_made({name: _exported(work, data, name, variant)})
        except Exception as error:
            if name == BASELINE or disk.is_full(error):
                raise
            # a net that was cut apart may be one that torch's exporter can't follow; its errors share no base
            reason = f"torch can't export the net: {(str(error).strip() or repr(error)).splitlines()[0][:500]}"
            work.reporter.warn(f"{name} is not made: {reason}")
            exported = exported.without({name: reason})
        work.reporter.progress(done / len(variants.made))
    return exported


def stamp(
    variants: Variants, figures: Mapping[Provider, Mapping[str, Measurement]], *, learned: Mapping[str, Any]
) -> None:
    """Write into each file what was measured on it, and what its task has `learned` beside the net.

    It changes their sizes: judge, and describe, the files after it.
    """
    for name, variant in variants.made.items():
        metadata.stamp(variant.path, variant=name, metrics=_metrics(name, figures), learned=learned)
    for name, variant in variants.standalone.items():
        metadata.stamp(variant.path, variant=name, metrics=variant.standalone or {}, learned=learned)


def _exported(work: Work, data: Data, name: str, variant: Variant) -> Variant:
    net = variant.net
    assert net is not None, "only nets are exported"
    variant = replace(variant, temperature=temperature_of(net, data.examples, spec=work.spec, device=work.device))
    graph.export(
        work.task.served(net, work.spec, temperature=variant.divisor),
        opset=work.spec.export.opset,
        labels=data.examples.classes,
        card=work.identity | {"form": name, "temperature": variant.divisor},
        path=variant.path,
    )
    return variant


def _metrics(name: str, figures: Mapping[Provider, Mapping[str, Measurement]]) -> dict[str, Any]:
    return {
        provider: {kept: getattr(each, kept) for kept in KEPT}
        for provider, measured in figures.items()
        if isinstance(each := measured[name], Figures)
    }
