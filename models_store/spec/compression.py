"""How the trained net may be made smaller and faster. Each variant is measured beside its parent, and refused when it is worse."""

from typing import Literal

from pydantic import Field, model_validator

from models_store.spec.contradiction import contradiction
from models_store.spec.part import Part
from models_store.spec.pruning import Pruning, Recovery
from models_store.spec.quantization import VARIANTS, Quantization, StaticInt8

Objective = Literal["latency", "size", "accuracy"]


class Compression(Part):
    """Which smaller variants to make, how much accuracy each may cost, and which of them is served by default.

    The order is prune, recover, export, quantise, verify, measure, choose. A variant that fails its gate is kept with the
    reason, and nothing more is made of it.
    """

    prune: Pruning | None = Field(None, description="what is taken out of the net; null: nothing")
    recover: Recovery | None = Field(Recovery(), description="training after the cut; null: none")
    control: bool = Field(
        default=False,
        description="also train the net that was not cut as the cut one recovers, and measure it as variant `control`: what the same training is worth without a cut",
    )
    quantize: list[Quantization] = Field(
        [StaticInt8()],
        max_length=8,
        description="variants with fewer bits, one of each kind at most, made of fp32 and of the pruned net; empty: none",
    )
    max_accuracy_drop: float = Field(
        0.02,
        ge=0,
        le=1,
        description="most accuracy (share of right answers on the validation split; of labels, of right labels; of numbers, R²) that a smaller variant may lose: the upper end of the loss's 95 % interval must stay within it, which takes about 3.84 / `max_accuracy_drop` validation images or more (193 for 0.02). A variant beyond it is published as not accepted, with the loss or `not enough images to tell` as the reason",
    )
    objective: Objective = Field(
        "latency",
        description="which accepted variant is served by default: the fastest (latency), the smallest file (size), or the most accurate on the validation split (accuracy). Of variants that are nearly as good in that, the next in line decides: latency (speedups within 3 %, or whose 95 % intervals overlap), then accuracy, then size; size (files within 1 %), then speed, then accuracy; accuracy (equal but for rounding), then speed, then size. With `latency` a variant must be faster than fp32 and than its parent beyond what measuring can be wrong, else not slower; with `size` its file must be more than 1 % smaller than fp32's. None is accepted whose answers depend on the batch (`dynamic_int8`), nor is the control",
    )

    @model_validator(mode="after")
    def _refuse_what_has_no_sense(self) -> "Compression":
        kinds: list[str] = [part.kind for part in self.quantize]
        for number, kind in enumerate(kinds):
            if kind in kinds[:number]:
                raise contradiction(
                    f"quantize/{number}/kind",
                    f"{kind} stands at quantize/{kinds.index(kind)} already, and its variant has one name; give it once",
                    [each for each in VARIANTS if each not in kinds],
                )
        if self.control and (self.prune is None or self.recover is None):
            raise contradiction(
                "control",
                "a control repeats the recovery of a pruned net; give `prune` and `recover`",
                [False],
            )
        return self
