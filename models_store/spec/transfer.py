"""Transfer of pretrained weights: the learning rate of each layer, and when it begins to train."""

from pydantic import Field

from models_store.spec.part import Part


class Transfer(Part):
    """Fine-tuning of pretrained weights. `backbone.freeze` sets which of them stay frozen."""

    head_lr_scale: float = Field(
        1.0, ge=0.01, le=1000, description="learning rate of the head, as a multiple of the backbone's last stage"
    )
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="each stage learns at this share of the rate of the stage after it (layer-wise learning-rate decay, Howard and Ruder 2018, arXiv:1801.06146)",
    )
    probe_epochs: int = Field(
        0,
        ge=0,
        le=10_000,
        description="epochs of training the head alone on a frozen backbone, before everything else trains (LP-FT, Kumar et al. 2022, arXiv:2202.10054); 0: none",
    )
    unfreeze_every_epochs: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="gradual unfreezing (arXiv:1801.06146): begin with the head alone, and after each time this many epochs let one more stage train, from the last to the first; null: all stages train from the start",
    )
