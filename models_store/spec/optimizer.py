"""What moves the weights."""

from typing import Annotated, Literal

from pydantic import Field

from models_store.spec.part import Part

LearningRate = Annotated[float, Field(gt=0, le=10, description="learning rate at the schedule's peak")]
WeightDecay = Annotated[float, Field(ge=0, le=1, description="weight decay; norms and biases are left out")]


class Sgd(Part):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"] = "sgd"
    lr: LearningRate = 0.05
    momentum: float = Field(0.9, ge=0, lt=1, description="share of the last step kept")
    nesterov: bool = Field(default=True, description="look ahead (needs momentum above 0)")
    weight_decay: WeightDecay = 5e-4


class Adam(Part):
    """Adam (Kingma and Ba 2014, arXiv:1412.6980); its weight decay is added to the gradient."""

    kind: Literal["adam"] = "adam"
    lr: LearningRate = 1e-3
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the mean of gradients")
    beta2: float = Field(0.999, ge=0, lt=1, description="decay of the mean of squared gradients")
    weight_decay: WeightDecay = 0.0


class AdamW(Part):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2017, arXiv:1711.05101)."""

    kind: Literal["adamw"] = "adamw"
    lr: LearningRate = 1e-3
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the mean of gradients")
    beta2: float = Field(0.999, ge=0, lt=1, description="decay of the mean of squared gradients")
    weight_decay: WeightDecay = 0.01


Optimizer = Annotated[Sgd | Adam | AdamW, Field(discriminator="kind")]
