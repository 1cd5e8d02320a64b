"""Defaults of a spec of images: the values that a spec leaves out, for each kind of data and backbone.

There are three ways from images to a model; the dataset and the backbone decide which one is used:

- **head**: a pretrained backbone stays frozen, and a linear head trains on its features, which are computed once. For
  few photographs: it does not overfit, and takes seconds.
- **fine_tune**: first the head alone, then the backbone with it, slowly (LP-FT, Kumar et al. 2022, arXiv:2202.10054).
  For more photographs, and for small colour images, which are enlarged to a size that suits pretrained filters.
- **scratch**: a small net from random weights. For small grey images, because weights learned on photographs don't help
  there.

Crops stay inside the image: no served image has a black border, and such a border misleads the net where brightness
matters. Colours are changed because the light and the devices of the training images differ from those of later images.
Rare classes count as much as others, because a class that is rare in the training images may be common where the model
is used.

The length of a training is the number of pixels that two fast CPU cores process in ten minutes, or in
`training.budget_minutes` if that is more. This is the plan for a fast host. The trainer measures its own steps and fits
budget (`plans`), so that a slow or busy host trains less, and at last a head alone.

Values in the spec never change; the recipe fills in the rest to fit them. `python -m benchmarks.defaults` measures the
recipes.
"""

import math
from functools import cache

from pydantic import TypeAdapter

from models_store.spec.facts import Target
from models_store.spec.fitted import is_left_out, left_to_the_trainer
from models_store.spec.recipe import (
    EPOCHS,
    MANY,
    Document,
    Way,
    completed,
    epochs_for_steps,
    is_balanced,
    steps_per_epoch,
    usual_batch_size,
    usual_loss,
    usual_monitor,
    usual_regularizers,
    usual_schedule,
)
from models_store.spec.training import BUDGET_MINUTES, Fitted
from models_store.spec.transfer import Transfer
from models_store.tasks.image.backbones.backbone import Backbone
from models_store.tasks.image.backbones.network import Network
from models_store.tasks.image.facts import ImageFacts

PHOTOGRAPH_SIDE = 112
"""side from which an image suits pretrained backbones; smaller images are enlarged"""
FEW = 500
"""number of training photographs below which the backbone stays frozen, whatever the budget: a head on its features is as good there, and does not overfit. From this number on, the backbone is fine-tuned if the budget allows it"""
PIXELS: dict[Way, float] = {"head": math.inf, "fine_tune": 1e9, "scratch": 4e8}
"""of all epochs together, in `BUDGET_MINUTES`"""
OWN = {"small_cnn", "cifar_resnet18"}

GREY_NET: Document = {"kind": "small_cnn", "widths": [32, 64, 128], "depth": 2, "dense_size": None}
GREY_NET_FOR_MANY: Document = GREY_NET | {"widths": [64, 128, 256]}
"""a wider net finds enough to learn in many images"""
LEFT_OUT: tuple[Fitted, ...] = ("transfer", "augmentation", "regularizers", "loss", "optimizer", "schedule")
"""parts that another way of training replaces, when the spec leaves them out"""
SMALLER = (0.75, 0.5)
"""sides of images that are made smaller to save time, as shares of the planned one"""
SMALLEST_SIDE = 64
"""smallest side to which images are reduced; smaller images stay as they are"""


def fill(document: Document, facts: ImageFacts, *, target: Target) -> Document:
    """Return a spec's document with every default decided; what the user chose stays as it is."""
    backbone = document["backbone"] or _backbone(document, facts)
    part = network_of(backbone)
    way = _way(part, document, facts)
    size = document["input"]["size"] or _size(part, document, facts)
    training = document["training"]
    batch_size = training["batch_size"] or usual_batch_size(way, facts, parts=training["accumulate_steps"])
    epoch_steps = steps_per_epoch(batch_size, facts)
    budget = training.get("budget_minutes") or BUDGET_MINUTES
    epochs = training["epochs"] or _epochs(way, size, epoch_steps, facts, budget_minutes=budget)
    loss = document["loss"] or usual_loss(target, way, facts)
    monitor = usual_monitor(target, way, facts, is_balanced=is_balanced(loss, training))
    decided: Document = {
        "backbone": part.model_dump() | {"freeze": part.freeze or _freeze(way, part, size)},
        "input": document["input"] | {"size": size},
        "training": training
        | {
            "epochs": epochs,
            "batch_size": batch_size,
            "monitor": training["monitor"] or monitor,
            "fit_to_budget": left_to_the_trainer(document, others=_fitted(document, size=size, way=way)),
        },
    }
    left_out: Document = {
        "transfer": Transfer().model_dump() | (_probing(part, document, facts) if way == "fine_tune" else {}),
        "augmentation": _augmentation(way, facts),
        "regularizers": usual_regularizers(way, document, epochs * epoch_steps),
        "loss": loss,
        "optimizer": usual_optimizer(way, part, facts),
        "schedule": usual_schedule(way, document),
    }
    return completed(document | decided, left_out, way=way)


def _fitted(document: Document, *, size: int, way: Way) -> list[Fitted]:
    """Return what else a trainer may change: smaller images, more of the backbone frozen, at last a head alone.

    Parts that follow from the way are named where all of them are left out, for only then can the way become another.
    """
    paths: list[Fitted] = []
    if is_left_out(document, "input.size") and size * SMALLER[0] >= SMALLEST_SIDE:
        paths.append("input.size")
    if way != "fine_tune" or not is_left_out(document, "backbone.freeze"):
        return paths
    may_be_a_head = all(is_left_out(document, path) for path in ("training.epochs", *LEFT_OUT))
    return [*paths, "backbone.freeze", *(LEFT_OUT if may_be_a_head else ())]


def network_of(document: Document) -> Network:
    """Return the backbone that a document describes."""
    network: Network = _backbones().validate_python(document)
    return network


@cache
def _backbones() -> TypeAdapter[Network]:
    return TypeAdapter(Backbone)  # it takes longer than all that it is asked for


def way_of(document: Document) -> Way:
    """Return the way of a resolved spec."""
    if document["backbone"]["weights"] is None:
        return "scratch"
    return "head" if document["backbone"]["freeze"] == "backbone" else "fine_tune"


def _backbone(document: Document, facts: ImageFacts) -> Document:
    if _side(document, facts) >= PHOTOGRAPH_SIDE:
        return {"kind": "efficientnet_lite2"}
    is_grey = facts.grey or document["input"]["channels"] == 1
    if is_grey and not _needs_weights_or_branches(document):
        return GREY_NET_FOR_MANY if facts.train_count >= MANY else GREY_NET
    return {"kind": "efficientnet_lite0"}


def _needs_weights_or_branches(document: Document) -> bool:
    """Return whether the spec needs pretrained weights or residual branches: a small net has neither."""
    transfer = Transfer.model_validate(document["transfer"] or {})
    kinds = {part["kind"] for part in document["regularizers"] or []}
    return bool(kinds & {"l2_sp", "drop_path"}) or _keeps_weights(transfer)


def _keeps_weights(transfer: Transfer) -> bool:
    return bool(transfer.probe_epochs or transfer.unfreeze_every_epochs or transfer.layer_decay < 1)


def _way(part: Network, document: Document, facts: ImageFacts) -> Way:
    if part.weights is None:
        return "scratch"
    if part.freeze == "backbone":
        return "head"
    is_small = _side(document, facts) < PHOTOGRAPH_SIDE
    fine_tunes = is_small or facts.train_count >= FEW or _moves_the_backbone(document)
    return "fine_tune" if part.freeze is not None or fine_tunes else "head"


def _moves_the_backbone(document: Document) -> bool:
    """Return whether the spec asks for something that has no effect, or costs much, with a frozen backbone."""
    transfer = Transfer.model_validate(document["transfer"] or {})
    kinds = {part["kind"] for part in document["regularizers"] or []}
    return (
        bool(document["augmentation"])
        or bool(kinds & {"l2_sp", "drop_path"})
        or bool((document["distillation"] or {}).get("features_weight"))
        or _keeps_weights(transfer)
    )


def _freeze(way: Way, part: Network, size: int) -> str:
    if way == "fine_tune" and size >= PHOTOGRAPH_SIDE and part.kind.startswith("efficientnet_lite"):
        return "until:stage3"  # half of the time, for edges and textures that are the same everywhere
    return "backbone" if way == "head" else "none"


def _side(document: Document, facts: ImageFacts) -> int:
    return min(facts.median_side, document["input"]["size"] or facts.median_side)


def _size(part: Network, document: Document, facts: ImageFacts) -> int:
    """Return the input's side, in pixels: small images keep their size or are enlarged, others get the backbone's own."""
    if part.kind in OWN:
        return max(part.smallest_size, min(facts.median_side, part.input_size))
    if document["backbone"] is None and facts.median_side < PHOTOGRAPH_SIDE:
        return min(part.input_size, max(96, 32 * math.ceil(2 * facts.median_side / 32)))
    return part.input_size


def _epochs(way: Way, size: int, epoch_steps: int, facts: ImageFacts, *, budget_minutes: float) -> int:
    least, most = EPOCHS[way]
    affordable = PIXELS[way] * max(1.0, budget_minutes / BUDGET_MINUTES) / size**2 / facts.train_count
    epochs = most if affordable > most else max(least, math.ceil(affordable))
    return max(epochs, epochs_for_steps(way, epoch_steps))


def _probing(part: Network, document: Document, facts: ImageFacts) -> Document:
    scale: Document = {"head_lr_scale": 3.0 if facts.median_side < PHOTOGRAPH_SIDE else 10.0}
    if document["optimizer"] is not None:
        scale = {}  # the multiple is made for the recipe's own rate
    if part.freeze is not None and part.freeze != "none":
        return scale
    return scale | {"probe_epochs": min(20, max(3, math.ceil(20_000 / facts.train_count)))}


def _augmentation(way: Way, facts: ImageFacts) -> list[Document]:
    if way == "head":
        return []
    colours = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.0 if facts.grey else 0.3}
    return [
        {"kind": "random_resized_crop", "scale": [0.6, 1.0], "ratio": [0.8, 1.25]},
        {"kind": "random_flip"},
        {"kind": "color_jitter"} | colours,
        {"kind": "random_erasing", "probability": 0.5, "scale": [0.02, 0.15], "value": 0.5},
    ]


def usual_optimizer(way: Way, part: Network, facts: ImageFacts) -> Document:
    """Return the optimizer of a way of training."""
    if way == "head":
        return {"kind": "adamw", "lr": 3e-3, "weight_decay": 0.0}
    if way == "fine_tune":  # enlarged images are further from what the weights have seen
        return {"kind": "adamw", "lr": 1e-3 if facts.median_side < PHOTOGRAPH_SIDE else 3e-4, "weight_decay": 0.05}
    return {"kind": "adamw", "lr": 3e-3 if part.kind in OWN else 5e-4, "weight_decay": 0.05}
