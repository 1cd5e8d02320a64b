"""How long, in what batches, at what precision, and when to stop."""

from typing import Literal

from pydantic import Field

from models_store.spec.part import Part


class EarlyStopping(Part):
    """Stop when the monitored metric has not improved for a while."""

    patience: int = Field(5, ge=1, le=10_000, description="epochs without improvement before the run stops")
    min_delta: float = Field(0.0, ge=0, le=100, description="least change that counts as an improvement")


class Training(Part):
    """The run itself."""

    epochs: int = Field(20, ge=1, le=10_000, description="passes over the train split")
    batch_size: int = Field(32, ge=1, le=65_536, description="images per step")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: the fastest of what the device does well, probed at start; fp16 needs CUDA"
    )
    monitor: Literal["val_accuracy", "val_loss"] = Field(
        "val_accuracy", description="validation metric that picks the best checkpoint and drives early stopping"
    )
    early_stopping: EarlyStopping | None = Field(None, description="null: train all epochs")
