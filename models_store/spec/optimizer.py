"""What moves the weights."""

from typing import Annotated, Literal

from pydantic import Field

from models_store.spec.part import Part

LearningRate = Annotated[
    float,
    Field(
        gt=0,
        le=10,
        description="learning rate at the schedule's peak; left out, a tenth of the default where pretrained weights train on",
    ),
]
WeightDecay = Annotated[float, Field(ge=0, le=1, description="weight decay of matrices and kernels")]
DecayNorms = Annotated[
    bool, Field(description="whether weight decay acts on norms, biases and other vectors too, not on matrices alone")
]
MeanDecay = Annotated[float, Field(ge=0, lt=1, description="decay of the mean of gradients")]
SquareDecay = Annotated[float, Field(ge=0, lt=1, description="decay of the mean of squared gradients")]


class Sgd(Part):
    """Stochastic gradient descent with momentum; with `training.batch_size: full`, plain gradient descent."""

    kind: Literal["sgd"] = "sgd"
    lr: LearningRate = 0.05
    momentum: float = Field(0.9, ge=0, lt=1, description="share of the last step kept")
    nesterov: bool = Field(default=True, description="look ahead (needs momentum above 0)")
    weight_decay: WeightDecay = 5e-4
    decay_norms: DecayNorms = False


class Adam(Part):
    """Adam (Kingma and Ba 2014, arXiv:1412.6980); its weight decay is added to the gradient."""

    kind: Literal["adam"] = "adam"
    lr: LearningRate = 1e-3
    beta1: MeanDecay = 0.9
    beta2: SquareDecay = 0.999
    weight_decay: WeightDecay = 0.0
    decay_norms: DecayNorms = False


class AdamW(Part):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2017, arXiv:1711.05101)."""

    kind: Literal["adamw"] = "adamw"
    lr: LearningRate = 1e-3
    beta1: MeanDecay = 0.9
    beta2: SquareDecay = 0.999
    weight_decay: WeightDecay = 0.01
    decay_norms: DecayNorms = False


class NAdam(Part):
    """Adam with Nesterov momentum (Dozat 2016); its weight decay is decoupled, as AdamW's."""

    kind: Literal["nadam"] = "nadam"
    lr: LearningRate = 1e-3
    beta1: MeanDecay = 0.9
    beta2: SquareDecay = 0.999
    momentum_decay: float = Field(4e-3, ge=0, le=1, description="how fast the momentum rises to `beta1`; 0: at once")
    weight_decay: WeightDecay = 0.01
    decay_norms: DecayNorms = False


class RAdam(Part):
    """Adam whose first steps wait for a trustworthy variance (Liu et al. 2019, arXiv:1908.03265); its weight decay is decoupled, as AdamW's."""

    kind: Literal["radam"] = "radam"
    lr: LearningRate = 3e-3
    beta1: MeanDecay = 0.9
    beta2: SquareDecay = 0.999
    weight_decay: WeightDecay = 0.01
    decay_norms: DecayNorms = False


class RmsProp(Part):
    """Gradients over the root of their mean square (Tieleman and Hinton 2012); its weight decay is added to the gradient."""

    kind: Literal["rmsprop"] = "rmsprop"
    lr: LearningRate = 1e-3
    alpha: SquareDecay = 0.99
    momentum: float = Field(0.0, ge=0, lt=1, description="share of the last step kept")
    centered: bool = Field(
        default=False, description="divide by the standard deviation of gradients, not by the root of their mean square"
    )
    weight_decay: WeightDecay = 0.0
    decay_norms: DecayNorms = False


class Adagrad(Part):
    """Gradients over the root of the sum of all their squares (Duchi et al. 2011); its weight decay is added to the gradient."""

    kind: Literal["adagrad"] = "adagrad"
    lr: LearningRate = 0.01
    lr_decay: float = Field(0.0, ge=0, le=1, description="after n steps the learning rate is divided by 1 + n * this")
    weight_decay: WeightDecay = 0.0
    decay_norms: DecayNorms = False


class Lion(Part):
    """The sign of a mean of gradients (Chen et al. 2023, arXiv:2302.06675), as timm builds it; a third to a tenth of AdamW's learning rate suits it, with as much more weight decay."""

    kind: Literal["lion"] = "lion"
    lr: LearningRate = 3e-4
    beta1: Annotated[float, Field(ge=0, lt=1, description="share of the kept mean in a step")] = 0.9
    beta2: MeanDecay = 0.99
    weight_decay: WeightDecay = 0.05
    decay_norms: DecayNorms = False


class Lamb(Part):
    """Adam with steps in proportion to each matrix's norm, for large batches (You et al. 2019, arXiv:1904.00962), as timm builds it; norms and biases take Adam's steps. Gradients are clipped by `training.clip_grad_norm` alone."""

    kind: Literal["lamb"] = "lamb"
    lr: LearningRate = 5e-3
    beta1: MeanDecay = 0.9
    beta2: SquareDecay = 0.999
    weight_decay: WeightDecay = 0.02
    decay_norms: DecayNorms = False


class Muon(Part):
    """Orthogonalised momentum for hidden weights (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon), as timm builds it: dense layers and ungrouped convolutions, their kernels flattened, scaled so that AdamW's learning rates suit (Liu et al. 2025, arXiv:2502.16982). The first convolution, the last layer, embeddings, grouped convolutions, norms and biases take AdamW's steps."""

    kind: Literal["muon"] = "muon"
    lr: LearningRate = 2e-3
    momentum: float = Field(0.95, ge=0, lt=1, description="decay of the mean of gradients that is orthogonalised")
    nesterov: bool = Field(default=True, description="look ahead, in what is orthogonalised")
    ns_steps: int = Field(5, ge=1, le=10, description="Newton-Schulz iterations of the orthogonalisation")
    beta1: Annotated[float, Field(ge=0, lt=1, description="AdamW's decay of the mean of gradients")] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1, description="AdamW's decay of the mean of squared gradients")] = 0.95
    weight_decay: WeightDecay = 0.01
    decay_norms: DecayNorms = False


class ScheduleFreeAdamW(Part):
    """AdamW that averages its weights instead of lowering its learning rate (Defazio et al. 2024, arXiv:2405.15682), as schedulefree builds it; it wants `schedule: constant`, with some warm-up."""

    kind: Literal["schedule_free_adamw"] = "schedule_free_adamw"
    lr: LearningRate = 2.5e-3
    beta1: Annotated[
        float, Field(gt=0, lt=1, description="how near gradients are taken to the average; it takes momentum's place")
    ] = 0.9
    beta2: SquareDecay = 0.999
    weight_decay: WeightDecay = 0.01
    decay_norms: DecayNorms = False


Optimizer = Annotated[
    Sgd | Adam | AdamW | NAdam | RAdam | RmsProp | Adagrad | Lion | Lamb | Muon | ScheduleFreeAdamW,
    Field(discriminator="kind"),
]
