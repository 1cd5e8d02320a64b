"""Optimizers."""

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field

from models_store.spec.part import Part

WeightDecay = Annotated[float, Field(ge=0, le=1, description="weight decay of matrices and kernels")]
DecayNorms = Annotated[bool, Field(description="whether weight decay also acts on norms, biases and other vectors")]
MeanDecay = Annotated[float, Field(ge=0, lt=1, description="decay of the mean of gradients")]
SquareDecay = Annotated[float, Field(ge=0, lt=1, description="decay of the mean of squared gradients")]


def _rate(usual: float) -> Any:  # noqa: ANN401  as pydantic's Field
    """Return the field of a learning rate; the recipe derives it from the usual rate for nets with random weights."""
    return Field(
        None,
        gt=0,
        le=10,
        description=f"learning rate at the schedule's peak; null: chosen by the recipe: {usual:g}, or {usual / 10:g} if pretrained weights are trained further",
    )


class Descent(Part):
    """The base of every optimizer."""

    usual_lr: ClassVar[float]

    kind: str
    lr: float | None

    @property
    def peak_lr(self) -> float:
        """Return the learning rate of a resolved spec, at the schedule's peak."""
        assert self.lr is not None, "the recipe has set it"
        return self.lr


class Sgd(Descent):
    """Stochastic gradient descent with momentum; with `training.batch_size: full`, plain gradient descent."""

    usual_lr: ClassVar[float] = 0.05

    kind: Literal["sgd"] = "sgd"
    lr: float | None = _rate(usual_lr)
    momentum: float = Field(0.9, ge=0, lt=1, description="share of the last step that is kept")
    nesterov: bool = Field(default=True, description="look ahead (needs momentum above 0)")
    weight_decay: WeightDecay = 5e-4
    decay_norms: DecayNorms = False


class Adam(Descent):
    """Adam (Kingma and Ba 2014, arXiv:1412.6980); its weight decay is added to the gradient."""

    usual_lr: ClassVar[float] = 1e-3

    kind: Literal["adam"] = "adam"
    lr: float | None = _rate(usual_lr)
    beta1: MeanDecay = 0.9
    beta2: SquareDecay = 0.999
    weight_decay: WeightDecay = 0.0
    decay_norms: DecayNorms = False


class AdamW(Descent):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2017, arXiv:1711.05101)."""

    usual_lr: ClassVar[float] = 1e-3

    kind: Literal["adamw"] = "adamw"
    lr: float | None = _rate(usual_lr)
    beta1: MeanDecay = 0.9
    beta2: SquareDecay = 0.999
    weight_decay: WeightDecay = 0.01
    decay_norms: DecayNorms = False


class NAdam(Descent):
    """Adam with Nesterov momentum (Dozat 2016); its weight decay is decoupled, as AdamW's."""

    usual_lr: ClassVar[float] = 1e-3

    kind: Literal["nadam"] = "nadam"
    lr: float | None = _rate(usual_lr)
    beta1: MeanDecay = 0.9
    beta2: SquareDecay = 0.999
    momentum_decay: float = Field(4e-3, ge=0, le=1, description="how fast the momentum rises to `beta1`; 0: at once")
    weight_decay: WeightDecay = 0.01
    decay_norms: DecayNorms = False


class RAdam(Descent):
    """Adam with smaller first steps until its estimate of the variance is reliable (Liu et al. 2019, arXiv:1908.03265); its weight decay is decoupled, as AdamW's."""

    usual_lr: ClassVar[float] = 3e-3

    kind: Literal["radam"] = "radam"
    lr: float | None = _rate(usual_lr)
    beta1: MeanDecay = 0.9
    beta2: SquareDecay = 0.999
    weight_decay: WeightDecay = 0.01
    decay_norms: DecayNorms = False


class RmsProp(Descent):
    """Gradients over the root of their mean square (Tieleman and Hinton 2012); its weight decay is added to the gradient."""

    usual_lr: ClassVar[float] = 1e-3

    kind: Literal["rmsprop"] = "rmsprop"
    lr: float | None = _rate(usual_lr)
    alpha: SquareDecay = 0.99
    momentum: float = Field(0.0, ge=0, lt=1, description="share of the last step that is kept")
    centered: bool = Field(
        default=False, description="divide by the standard deviation of gradients, not by the root of their mean square"
    )
    weight_decay: WeightDecay = 0.0
    decay_norms: DecayNorms = False


class Adagrad(Descent):
    """Gradients over the root of the sum of all their squares (Duchi et al. 2011); its weight decay is added to the gradient."""

    usual_lr: ClassVar[float] = 0.01

    kind: Literal["adagrad"] = "adagrad"
    lr: float | None = _rate(usual_lr)
    lr_decay: float = Field(0.0, ge=0, le=1, description="after n steps the learning rate is divided by 1 + n * this")
    weight_decay: WeightDecay = 0.0
    decay_norms: DecayNorms = False


class Lion(Descent):
    """The sign of a mean of gradients (Chen et al. 2023, arXiv:2302.06675), as in timm; use a third to a tenth of AdamW's learning rate, and three to ten times its weight decay."""

    usual_lr: ClassVar[float] = 3e-4

    kind: Literal["lion"] = "lion"
    lr: float | None = _rate(usual_lr)
    beta1: Annotated[float, Field(ge=0, lt=1, description="share of the stored mean in a step")] = 0.9
    beta2: MeanDecay = 0.99
    weight_decay: WeightDecay = 0.05
    decay_norms: DecayNorms = False


class Lamb(Descent):
    """Adam with steps in proportion to each matrix's norm, for large batches (You et al. 2019, arXiv:1904.00962), as in timm; norms and biases take Adam's steps. Only `training.clip_grad_norm` clips gradients."""

    usual_lr: ClassVar[float] = 5e-3

    kind: Literal["lamb"] = "lamb"
    lr: float | None = _rate(usual_lr)
    beta1: MeanDecay = 0.9
    beta2: SquareDecay = 0.999
    weight_decay: WeightDecay = 0.02
    decay_norms: DecayNorms = False


class Muon(Descent):
    """Orthogonalised momentum for hidden weights (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon), as in timm. It acts on dense layers and on ungrouped convolutions with flattened kernels, and is scaled so that AdamW's learning rates fit (Liu et al. 2025, arXiv:2502.16982). The first convolution, the last layer, embeddings, grouped convolutions, norms and biases take AdamW's steps."""

    usual_lr: ClassVar[float] = 2e-3

    kind: Literal["muon"] = "muon"
    lr: float | None = _rate(usual_lr)
    momentum: float = Field(0.95, ge=0, lt=1, description="decay of the mean of gradients that is orthogonalised")
    nesterov: bool = Field(default=True, description="look ahead in the matrix that is orthogonalised")
    ns_steps: int = Field(5, ge=1, le=10, description="Newton-Schulz iterations of the orthogonalisation")
    beta1: Annotated[float, Field(ge=0, lt=1, description="AdamW's decay of the mean of gradients")] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1, description="AdamW's decay of the mean of squared gradients")] = 0.95
    weight_decay: WeightDecay = 0.01
    decay_norms: DecayNorms = False


class ScheduleFreeAdamW(Descent):
    """AdamW that averages its weights instead of lowering its learning rate (Defazio et al. 2024, arXiv:2405.15682), as in schedulefree; use it with `schedule: constant` and some warm-up."""

    usual_lr: ClassVar[float] = 2.5e-3

    kind: Literal["schedule_free_adamw"] = "schedule_free_adamw"
    lr: float | None = _rate(usual_lr)
    beta1: Annotated[
        float,
        Field(gt=0, lt=1, description="how close to the average the gradients are computed; it replaces the momentum"),
    ] = 0.9
    beta2: SquareDecay = 0.999
    weight_decay: WeightDecay = 0.01
    decay_norms: DecayNorms = False


Optimizer = Annotated[
    Sgd | Adam | AdamW | NAdam | RAdam | RmsProp | Adagrad | Lion | Lamb | Muon | ScheduleFreeAdamW,
    Field(discriminator="kind"),
]

USUAL_RATES: dict[str, float] = {
    part.model_fields["kind"].default: part.usual_lr for part in get_args(get_args(Optimizer)[0])
}
"""kind → learning rate for nets that begin at random"""
