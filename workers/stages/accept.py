"""Stage of the gate: verdicts on measured variants, by provider, and what is served by default."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models_store.models.providers import Provider
from models_store.spec.compression import Compression
from workers.compression import gate
from workers.compression.gate import BASELINE
from workers.export.figures import Measurement, Unmeasurable
from workers.stages.context import Work
from workers.stages.variant import Variants


@dataclass(frozen=True)
class Verdicts:
    """The verdicts on all variants of a version."""

    measured: dict[str, dict[Provider, dict[str, Any]]]
    """variant → provider → what its card says under `measured`"""
    defaults: dict[Provider, str]
    """provider → variant that is served there when none is named"""

    @property
    def default(self) -> str:
        """Return the default of this host, which serves by the fastest provider that it has."""
        return self.defaults["cuda" if "cuda" in self.defaults else "cpu"]


def accept(work: Work, variants: Variants, figures: Mapping[Provider, Mapping[str, Measurement]]) -> Verdicts:
    """Return the verdicts on what was measured, and log them. The files are those that ship: stamped, if ever."""
    verdicts = judge(figures, variants, compression=work.spec.compression)
    _log(work, verdicts)
    return verdicts


def judge(
    figures: Mapping[Provider, Mapping[str, Measurement]], variants: Variants, *, compression: Compression | None
) -> Verdicts:
    """Return the verdicts on what `workers.export.benchmark` has measured, each provider by itself.

    `compression` is the spec's; None: no variant but fp32 is asked for.
    """
    limits = compression or Compression()
    sizes_bytes = {name: variant.path.stat().st_size for name, variant in variants.made.items()}
    sparse = _sparse(limits, variants)
    measured: dict[str, dict[Provider, dict[str, Any]]] = {name: {} for name in variants.made}
    defaults: dict[Provider, str] = {}
    for provider, by_name in figures.items():
        candidates = {
            name: gate.Candidate(
                measurement,
                sizes_bytes[name],
                parent=variants.made[name].parent,
                stopped=variants.made[name].stopped,
                batch_dependent=variants.made[name].batch_dependent,
                sparse=name in sparse,
            )
            for name, measurement in by_name.items()
        }
        choice = gate.choose(candidates, max_accuracy_drop=limits.max_accuracy_drop, objective=limits.objective)
        defaults[provider] = choice.default
        for name, measurement in by_name.items():
            verdict = choice.verdicts[name]
            judged = {"accepted": verdict.accepted, "reasons": list(verdict.reasons)}
            is_judged = not isinstance(measurement, Unmeasurable)
            measured[name][provider] = measurement.as_card() | (judged if is_judged else {})
    return Verdicts(measured, defaults)


def _sparse(compression: Compression, variants: Variants) -> set[str]:
    """Return the variants with single weights at zero: the pruned one and what was made of it, unless channels left."""
    if compression.prune is None or compression.prune.kind == "structured":
        return set()
    return {name for name, variant in variants.made.items() if "pruned" in {name, variant.parent}}


def _log(work: Work, verdicts: Verdicts) -> None:
    for name, measured in verdicts.measured.items():
        for provider, figures in measured.items():
            if name in {BASELINE, verdicts.defaults.get(provider)} or "accepted" not in figures:
                continue
            why = "; ".join(figures.get("reasons", []))
            verdict = "accepted" if figures["accepted"] else f"not accepted: {why}"
            work.reporter.log(f"{name} on {provider}: {verdict}")
    for provider, name in verdicts.defaults.items():
        speedup = verdicts.measured[name][provider].get("speedup")
        faster = "" if name == BASELINE or speedup is None else f", {speedup:.2f} times as fast as {BASELINE}"
        work.reporter.log(f"the default on {provider} is {name}{faster}")
