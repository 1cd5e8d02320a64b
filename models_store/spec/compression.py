"""Compression of the trained net: the variants to make, and the limits that they must keep."""

from typing import Literal

from pydantic import Field, model_validator

from models_store.spec.contradiction import contradiction
from models_store.spec.part import Part
from models_store.spec.pruning import Pruning, Recovery
from models_store.spec.quantization import VARIANTS, Quantization, StaticInt8

Objective = Literal["latency", "size", "accuracy"]


class Compression(Part):
    """The smaller variants to make, the accuracy that each may lose, and the choice of the default.

    The order is prune, recover, export, quantise, verify, measure, choose. A variant that fails its gate is kept with
    the reason, and no further variant is made from it.
    """

    prune: Pruning | None = Field(None, description="which channels or weights to remove from the net; null: none")
    recover: Recovery | None = Field(Recovery(), description="training after pruning; null: none")
    control: bool = Field(
        default=False,
        description="also train the unpruned net for as long as the pruned net recovers, and measure it as variant `control`: it shows the effect of the same training without pruning",
    )
    quantize: list[Quantization] = Field(
        [StaticInt8()],
        max_length=8,
        description="variants with fewer bits, at most one of each kind, made from fp32 and from the pruned net; empty: none",
    )
    max_accuracy_drop: float = Field(
        0.02,
        ge=0,
        le=1,
        description="largest loss of accuracy that a smaller variant may have on the validation split (accuracy: share of right answers; for labels, share of right labels; for numbers, R²). The upper end of the loss's 95 % interval must stay within this limit, which needs about 3.84 / `max_accuracy_drop` validation examples or more (193 for 0.02). A variant beyond the limit is published as not accepted, with the loss or `not enough examples to decide` as the reason",
    )
    objective: Objective = Field(
        "latency",
        description="which accepted variant is served by default: the fastest (latency), the smallest file (size), or the most accurate on the validation split (accuracy). Between variants that are nearly equal in this, the next criterion decides: latency (speedups within 3 %, or with overlapping 95 % intervals), then accuracy, then size; size (files within 1 %), then speed, then accuracy; accuracy (equal except for rounding), then speed, then size. With `latency` a variant must be faster than fp32 and than its parent by more than the noise of the measurement; otherwise it must not be slower. With `size` its file must be more than 1 % smaller than fp32's. A variant whose answers depend on the batch (`dynamic_int8`) is never accepted, and neither is the control",
    )

    @model_validator(mode="after")
    def _refuse_what_has_no_sense(self) -> "Compression":
        kinds: list[str] = [part.kind for part in self.quantize]
        for number, kind in enumerate(kinds):
            if kind in kinds[:number]:
                raise contradiction(
                    f"quantize/{number}/kind",
                    f"{kind} is already at quantize/{kinds.index(kind)}, and only one variant can have its name; give it once",
                    [each for each in VARIANTS if each not in kinds],
                )
        if self.control and (self.prune is None or self.recover is None):
            raise contradiction(
                "control",
                "a control repeats the recovery of a pruned net; give `prune` and `recover`",
                [False],
            )
        return self
