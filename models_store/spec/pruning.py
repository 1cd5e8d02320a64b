"""Pruning of the trained net, and its recovery."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from models_store.spec.contradiction import contradiction
from models_store.spec.part import Part

RATIO = 0.3
"""ratio of `structured` if neither a ratio nor a speedup is given"""
KEPT = 0.25
"""share of a vocabulary that stays if neither a share nor a size is given"""


class StructuredPruning(Part):
    """Remove whole channels (DepGraph, Fang et al. 2023, arXiv:2301.12900); in nets with attention, hidden units and (timm) whole heads. The remaining net is smaller, dense, and faster everywhere."""

    kind: Literal["structured"] = "structured"
    ratio: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share of channels to remove, as near as `round_to` allows; 0.3 of the channels is about half of the work. null: 0.3, or what `target_speedup` needs",
    )
    target_speedup: float | None = Field(
        None,
        gt=1,
        le=100,
        description="instead of `ratio`: how many times faster than its parent the pruned net should answer one example on one thread in onnxruntime; the ratio is found by measuring, to within 10 %. null: use `ratio`",
    )
    importance: Literal["l2", "l1", "taylor", "bn_scale", "random"] = Field(
        "l2",
        description="which channels are removed first: those with the smallest norm of the weights (l2, l1; Li et al. 2016, arXiv:1608.08710), the least effect on the loss to first order (taylor; Molchanov et al. 2019, arXiv:1906.10771), the smallest batch-norm scale (bn_scale; Liu et al. 2017, arXiv:1708.06519), or any (random, as a control)",
    )
    scope: Literal["uniform", "global"] = Field(
        "uniform",
        description="uniform: each layer loses the same share; global: all layers are ranked together, so some lose more, at most nine tenths",
    )
    round_to: int = Field(
        16,
        ge=1,
        le=64,
        description="the remaining channels of a pruned layer are a multiple of this number; 1: any number, but unaligned channels may run slower than the unpruned net",
    )
    steps: int = Field(
        1,
        ge=1,
        le=20,
        description="number of equal steps in which channels are removed; they are ranked again at each step, and the recovery's epochs are divided among the steps",
    )

    @model_validator(mode="before")
    @classmethod
    def _decide_the_ratio(cls, given: Any) -> Any:  # noqa: ANN401  anything may be given
        """Fill in the ratio, so that the resolved spec shows it."""
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
    """Set single weights of the smallest size to zero, over all layers together (Han et al. 2015, arXiv:1506.02626). This saves size only: the compressed file becomes smaller, the file itself does not, and no kernel here skips zeros."""

    kind: Literal["unstructured_l1"] = "unstructured_l1"
    ratio: float = Field(
        0.8, gt=0, lt=1, description="share of the convolutions' and linear layers' weights set to zero"
    )


class NM(Part):
    """Set all but the `n` largest of every `m` successive weights of an output to zero (2:4: Mishra et al. 2021, arXiv:2104.08378). This saves size only: only NVIDIA's sparse tensor cores run it faster, with libraries that onnxruntime does not use."""

    kind: Literal["n_m"] = "n_m"
    n: int = Field(2, ge=1, le=31, description="weights kept of every `m`; fewer than `m`")
    m: int = Field(4, ge=2, le=32, description="successive weights along the input channels that are one group")

    @model_validator(mode="after")
    def _refuse_all(self) -> "NM":
        if self.n >= self.m:
            raise contradiction(
                "n",
                f"keeping {self.n} of every {self.m} weights prunes nothing; give fewer than {self.m}",
                {"minimum": 1, "maximum": self.m - 1},
            )
        return self


class VocabularyPruning(Part):
    """Keep the n-grams or tokens of a net of texts that matter most, and forget the others: they count as unknown. The file is smaller; the work for a text is hardly less."""

    kind: Literal["vocabulary"] = "vocabulary"
    keep: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share of each vocabulary that stays: the entries with the largest squared weights (or embeddings) times the number of training texts that have them; null: 0.25, or what `target_size_bytes` allows",
    )
    target_size_bytes: int | None = Field(
        None,
        ge=10_000,
        le=1 << 31,
        description="instead of `keep`: largest size of the file, in bytes; the share is found by exporting candidates (as fastText's autotune to a model size). null: use `keep`",
    )

    @model_validator(mode="before")
    @classmethod
    def _decide_the_share(cls, given: Any) -> Any:  # noqa: ANN401  anything may be given
        """Fill in the share, so that the resolved spec shows it."""
        if isinstance(given, dict) and given.get("keep") is None and given.get("target_size_bytes") is None:
            return {**given, "keep": KEPT}
        return given

    @model_validator(mode="after")
    def _refuse_two_measures(self) -> "VocabularyPruning":
        if self.keep is not None and self.target_size_bytes is not None:
            raise contradiction(
                "keep",
                "`target_size_bytes` finds the share by exporting; give `keep` or `target_size_bytes`, not both",
                [None],
            )
        return self


Pruning = Annotated[StructuredPruning | UnstructuredL1 | NM | VocabularyPruning, Field(discriminator="kind")]


class ParentDistillation(Part):
    """Recover by learning from the answers of the net before pruning (Hinton et al. 2015, arXiv:1503.02531), and from its features (Romero et al. 2014, arXiv:1412.6550)."""

    temperature: float = Field(
        4.0, ge=1, le=100, description="number by which both nets' logits are divided before they are compared"
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
        description="factor of the mean squared distance of the (linearly projected) features to the parent's; 0: none",
    )


class Recovery(Part):
    """Training after pruning, with the spec's own recipe: everything trains, and what was removed stays removed."""

    epochs: int = Field(3, ge=1, le=10_000, description="epochs after pruning; with `steps`, divided among them")
    lr_scale: float = Field(
        0.1,
        gt=0,
        le=10,
        description="factor for `optimizer.lr`; the schedule runs again from this rate, without a warm-up",
    )
    distillation: ParentDistillation | None = Field(
        None, description="learn from the unpruned parent as well as from the labels; null: from the labels only"
    )
