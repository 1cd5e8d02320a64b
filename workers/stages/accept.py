"""Verdicts on measured variants, by provider: what is accepted, and what is served by default."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from models_store.models.providers import Provider
from models_store.spec.compression import Compression
from workers.compression import gate
from workers.export.figures import Measurement, Unmeasurable


@dataclass(frozen=True)
class Judged:
    """The verdicts on all variants of a version."""

    measured: dict[str, dict[Provider, dict[str, Any]]]
    """form → provider → what its card says under `measured`"""
    defaults: dict[Provider, str]
    """provider → variant that is served there when none is named"""

    @property
    def default(self) -> str:
        """Return the default of this host, which serves by the fastest provider that it has."""
        return self.defaults["cuda" if "cuda" in self.defaults else "cpu"]

    def is_accepted(self, variant: str) -> bool:
        """Return whether some provider's gate lets the variant pass."""
        return any(told.get("accepted", False) for told in self.measured[variant].values())


def judge(
    figures: Mapping[Provider, Mapping[str, Measurement]],
    *,
    sizes_bytes: Mapping[str, int],
    parents: Mapping[str, str | None],
    compression: Compression | None,
    stopped: Mapping[str, str] | None = None,
    batch_dependent: Collection[str] = (),
) -> Judged:
    """Return the verdicts on what `workers.export.benchmark` has measured, each provider by itself.

    `sizes_bytes` and `parents` are by variant; `compression` is the spec's (None: no variant but fp32 is asked for);
    `stopped` says why of variants that failed their gate on the way; `batch_dependent` are those that answer an image
    by what else is asked with it.
    """
    limits = compression or Compression()
    sparse = _sparse(limits, parents)
    measured: dict[str, dict[Provider, dict[str, Any]]] = {variant: {} for variant in sizes_bytes}
    defaults: dict[Provider, str] = {}
    for provider, variants in figures.items():
        candidates = {
            name: gate.Candidate(
                each,
                sizes_bytes[name],
                parent=parents[name],
                stopped=stopped.get(name) if stopped else None,
                batch_dependent=name in batch_dependent,
                sparse=name in sparse,
            )
            for name, each in variants.items()
        }
        choice = gate.choose(candidates, max_accuracy_drop=limits.max_accuracy_drop, objective=limits.objective)
        defaults[provider] = choice.default
        for name, each in variants.items():
            verdict = choice.verdicts[name]
            judged = {"accepted": verdict.accepted, "reasons": list(verdict.reasons)}
            measured[name][provider] = each.as_card() | ({} if isinstance(each, Unmeasurable) else judged)
    return Judged(measured, defaults)


def _sparse(compression: Compression, parents: Mapping[str, str | None]) -> set[str]:
    """Return the variants with single weights at zero: the pruned one and what was made of it, unless channels left."""
    if compression.prune is None or compression.prune.kind == "structured":
        return set()
    return {name for name, parent in parents.items() if "pruned" in {name, parent}}
