"""How weights are taken out of the trained net, and how it recovers from that."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from models_store.spec.contradiction import contradiction
from models_store.spec.part import Part

RATIO = 0.3
"""what `structured` removes when neither a ratio nor a speedup is asked for"""


class StructuredPruning(Part):
    """Remove whole channels (DepGraph, Fang et al. 2023, arXiv:2301.12900), of nets with attention hidden units and (timm) whole heads: the net left is smaller, dense, and faster everywhere."""

    kind: Literal["structured"] = "structured"
    ratio: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share of channels removed, as near as `round_to` allows; 0.3 of the channels is about half of the work. null: 0.3, or what `target_speedup` needs",
    )
    target_speedup: float | None = Field(
        None,
        gt=1,
        le=100,
        description="in place of `ratio`: how many times faster than its parent the pruned net is to answer one image on one thread in onnxruntime; the ratio is found by measuring, to within 10 %. null: `ratio` says how much",
    )
    importance: Literal["l2", "l1", "taylor", "bn_scale", "random"] = Field(
        "l2",
        description="what is removed first: the smallest norm of the weights (l2, l1; Li et al. 2016, arXiv:1608.08710), the least effect on the loss to first order (taylor; Molchanov et al. 2019, arXiv:1906.10771), the smallest batch-norm scale (bn_scale; Liu et al. 2017, arXiv:1708.06519), or any (random, as a control)",
    )
    scope: Literal["uniform", "global"] = Field(
        "uniform",
        description="uniform: each layer loses the same share; global: all layers are ranked together, and some lose more, at most nine tenths",
    )
    round_to: int = Field(
        16,
        ge=1,
        le=64,
        description="channels left of what is cut are a multiple of this; 1: any number, and unaligned channels may run slower than none removed",
    )
    steps: int = Field(
        1,
        ge=1,
        le=20,
        description="in how many equal steps the channels leave, ranked anew at each; the recovery's epochs are shared out among the steps",
    )

    @model_validator(mode="before")
    @classmethod
    def _decide_the_ratio(cls, given: Any) -> Any:  # noqa: ANN401  anything may be given
        """Say in the document itself what is removed, so that the resolved spec shows it."""
        if isinstance(given, dict) and given.get("ratio") is None and given.get("target_speedup") is None:
            return {**given, "ratio": RATIO}
        return given

    @model_validator(mode="after")
    def _refuse_two_measures(self) -> "StructuredPruning":
        if self.ratio is not None and self.target_speedup is not None:
            raise contradiction(
                "ratio",
                "`target_speedup` finds the ratio by measuring; give `ratio` or `target_speedup`, not both",
                [None],
            )
        return self


class UnstructuredL1(Part):
    """Set single weights of the smallest size to zero, over all layers together (Han et al. 2015, arXiv:1506.02626). For size alone: the compressed file shrinks, the file itself does not, and no kernel here skips zeros."""

    kind: Literal["unstructured_l1"] = "unstructured_l1"
    ratio: float = Field(
        0.8, gt=0, lt=1, description="share of the convolutions' and linear layers' weights set to zero"
    )


class NM(Part):
    """Set all but the `n` largest of every `m` successive weights of an output to zero (2:4: Mishra et al. 2021, arXiv:2104.08378). Size only: just NVIDIA's sparse tensor cores run it faster, by libraries that onnxruntime does not use."""

    kind: Literal["n_m"] = "n_m"
    n: int = Field(2, ge=1, le=31, description="weights kept of every `m`; fewer than `m`")
    m: int = Field(4, ge=2, le=32, description="successive weights along the input channels that are one group")

    @model_validator(mode="after")
    def _refuse_all(self) -> "NM":
        if self.n >= self.m:
            raise contradiction(
                "n",
                f"{self.n} of every {self.m} weights kept is no pruning; give fewer than {self.m}",
                {"minimum": 1, "maximum": self.m - 1},
            )
        return self


Pruning = Annotated[StructuredPruning | UnstructuredL1 | NM, Field(discriminator="kind")]


class ParentDistillation(Part):
    """Recover by learning from the answers of the net as it was before the cut (Hinton et al. 2015, arXiv:1503.02531), and from its features (Romero et al. 2014, arXiv:1412.6550)."""

    temperature: float = Field(
        4.0, ge=1, le=100, description="what both nets' logits are divided by before they are compared"
    )
    weight: float = Field(
        0.7,
        ge=0,
        le=1,
        description="share of the parent's soft targets in the loss; the rest is the loss on the labels",
    )
    features_weight: float = Field(
        0.0,
        ge=0,
        le=1000,
        description="factor before the mean squared distance of the (linearly projected) features to the parent's; 0: none",
    )


class Recovery(Part):
    """Train on after a cut, with the spec's own recipe: everything trains, what was removed stays away."""

    epochs: int = Field(3, ge=1, le=10_000, description="epochs after the cut; with `steps`, shared out among them")
    lr_scale: float = Field(
        0.1,
        gt=0,
        le=10,
        description="factor before `optimizer.lr`; the schedule runs again from there, without a warm-up",
    )
    distillation: ParentDistillation | None = Field(
        None, description="learn from the unpruned parent beside the labels; null: from the labels alone"
    )
