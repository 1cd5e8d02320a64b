"""How long, in what batches, at what precision, and when to stop."""

from typing import Annotated, Literal

from pydantic import Field

from models_store.spec.part import Part

LARGEST_PROBED_BATCH = 512
"""images a step that `batch_size: auto` takes at most"""

Monitor = Literal["val_accuracy", "val_balanced_accuracy", "val_balanced_loss", "val_loss"]
BALANCED: set[Monitor] = {"val_balanced_accuracy", "val_balanced_loss"}
"""those in which all classes count alike, however rare"""
FALLING: set[str] = {"val_balanced_loss", "val_loss"}
"""those of which less is better"""
BatchSize = Annotated[int, Field(ge=1, le=65_536)] | Literal["auto", "full"]

Fitted = Literal[
    "input.size",
    "backbone.freeze",
    "transfer",
    "augmentation",
    "regularizers",
    "loss",
    "optimizer",
    "schedule",
    "training.epochs",
]
"""paths into a spec of what a trainer may lower or replace to keep to its budget"""
BUDGET_MINUTES = 10.0


class EarlyStopping(Part):
    """Stop when a metric has not improved for a while (Prechelt 1998)."""

    metric: Monitor | None = Field(None, description="what must improve; null: `training.monitor`")
    patience: int = Field(5, ge=1, le=10_000, description="epochs without improvement before the run stops")
    min_delta: float = Field(0.0, ge=0, le=100, description="least change that counts as an improvement")


class Training(Part):
    """The run itself."""

    epochs: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="passes over the train split; null: chosen by the recipe: as many as two quick cores do in `budget_minutes`",
    )
    batch_size: BatchSize | None = Field(
        None,
        description=f"images per step; auto: the largest power of two that fits into memory (at most {LARGEST_PROBED_BATCH}), found by a probe of two steps; full: all images in one step (gradient descent); null: chosen by the recipe: 32, or 128 from scratch with 2,048 images or more",
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
        description="shuffle: each training image once an epoch; balanced: as many draws, with the images of rarer classes drawn more often, so that all classes come alike",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: the fastest of what the device does well, probed at start; fp16 needs CUDA"
    )
    monitor: Monitor | None = Field(
        None,
        description="validation metric that picks the best checkpoint and drives early stopping and searches; null: chosen by the recipe: for numbers, labels, frozen backbones and below 10,000 images val_loss, or val_balanced_loss (the mean of the classes' own means) where the loss or the sampling is balanced; else the accuracy (balanced, when classes are uneven)",
    )
    early_stopping: EarlyStopping | None = Field(None, description="null: train all epochs")
    budget_minutes: float | None = Field(
        BUDGET_MINUTES,
        ge=0.01,
        le=100_000,
        description="minutes that training should take at most on the host that does it. The trainer measures its own steps first, and lowers what `fit_to_budget` names until the estimate fits: fewer epochs, more of the backbone frozen, smaller images, at last a head alone. When not even that fits, the cheapest is trained; null: nothing is measured or changed",
    )
    fit_to_budget: list[Fitted] | None = Field(
        None,
        max_length=9,
        description="paths of what the trainer may change to keep to `budget_minutes`; empty: nothing, and an estimate above the budget is only reported; null: chosen by the recipe: what the spec leaves to it",
    )


class ResolvedTraining(Training):
    """The run itself, every default decided."""

    epochs: int
    batch_size: BatchSize
    monitor: Monitor
    fit_to_budget: list[Fitted] = Field(
        [], description="empty as well in specs older than budgets, and once a trainer has fitted the spec"
    )
