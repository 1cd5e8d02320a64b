"""The run: length, batches, precision, and end of the training."""

from typing import Annotated, Literal

from pydantic import Field

from models_store.spec.part import Part

LARGEST_PROBED_BATCH = 512
"""largest number of examples per step with `batch_size: auto`"""

Monitor = Literal["val_accuracy", "val_balanced_accuracy", "val_balanced_loss", "val_loss"]
BALANCED: set[Monitor] = {"val_balanced_accuracy", "val_balanced_loss"}
"""metrics in which all classes count equally, even rare ones"""
FALLING: set[str] = {"val_balanced_loss", "val_loss"}
"""metrics that should be small"""
BatchSize = Annotated[int, Field(ge=1, le=65_536)] | Literal["auto", "full"]

Fitted = Literal[
    "input.size",
    "input.max_tokens",
    "backbone.freeze",
    "transfer",
    "augmentation",
    "regularizers",
    "loss",
    "optimizer",
    "schedule",
    "training.epochs",
]
"""paths in a spec of the values that a trainer may reduce or replace to keep to its budget"""
BUDGET_MINUTES = 10.0


class EarlyStopping(Part):
    """Stop when a metric has not improved for a while (Prechelt 1998)."""

    metric: Monitor | None = Field(None, description="metric that must improve; null: `training.monitor`")
    patience: int = Field(5, ge=1, le=10_000, description="epochs without improvement before the run stops")
    min_delta: float = Field(0.0, ge=0, le=100, description="least change that counts as an improvement")


class Training(Part):
    """The run itself."""

    epochs: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="passes over the train split; null: chosen by the recipe: as many as two fast cores can do in `budget_minutes`",
    )
    batch_size: BatchSize | None = Field(
        None,
        description=f"examples per step; auto: the largest power of two that fits into memory (at most {LARGEST_PROBED_BATCH}), found by a probe of two steps; full: all examples in one step (gradient descent); null: chosen by the recipe: 32, or 128 from scratch with 2,048 examples or more",
    )
    accumulate_steps: int = Field(
        1,
        ge=1,
        le=1024,
        description="each step's gradient is summed over this many equal parts of its batch, to save memory",
    )
    clip_grad_norm: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="largest L2 norm of all gradients together (Pascanu et al. 2012, arXiv:1211.5063); null: no limit",
    )
    clip_grad_value: float | None = Field(
        None, gt=0, le=1e6, description="largest absolute value of a gradient's element; null: no limit"
    )
    sampling: Literal["shuffle", "balanced"] = Field(
        "shuffle",
        description="shuffle: each training example once per epoch; balanced: the same number of examples per epoch, but examples of rare classes are drawn more often, so that all classes appear equally often",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="auto: the fastest precision that works well on the device, measured at the start; fp16 needs CUDA",
    )
    monitor: Monitor | None = Field(
        None,
        description="validation metric that picks the best checkpoint and drives early stopping and searches; null: chosen by the recipe: for numbers, labels, frozen backbones and fewer than 10,000 examples val_loss, or val_balanced_loss (the mean over the classes' mean losses) if the loss or the sampling is balanced; otherwise the accuracy (balanced, if the classes are uneven)",
    )
    early_stopping: EarlyStopping | None = Field(None, description="null: train all epochs")
    budget_minutes: float | None = Field(
        BUDGET_MINUTES,
        ge=0.01,
        le=100_000,
        description="longest time for the training on its host, in minutes. The trainer first measures its own steps, and reduces the values in `fit_to_budget` until the estimate fits: fewer epochs, more of the backbone frozen, smaller inputs, and finally a head alone. If even that does not fit, the cheapest plan is trained; null: nothing is measured or changed",
    )
    fit_to_budget: list[Fitted] | None = Field(
        None,
        max_length=10,
        description="paths of the values that the trainer may change to keep to `budget_minutes`; empty: none, and an estimate above the budget is only reported; null: chosen by the recipe: all values that the spec leaves to it",
    )


class ResolvedTraining(Training):
    """The run, with every default filled in."""

    epochs: int
    batch_size: BatchSize
    monitor: Monitor
    fit_to_budget: list[Fitted] = Field(
        [], description="also empty in specs from before budgets existed, and after a trainer has fitted the spec"
    )
