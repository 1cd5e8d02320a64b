"""Recipes: the values that a spec leaves out, for each kind of data and backbone.

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
the plan to the budget (`models_store.spec.ladder`), so that a slow or busy host trains less, down to a head alone.

Values in the spec never change; the recipe fills in the rest to fit them. `python -m benchmarks.defaults` measures the
recipes.
"""

import math
from functools import cache
from typing import Any, Literal

from pydantic import TypeAdapter

from models_store.spec.facts import DatasetFacts
from models_store.spec.fitted import LEFT_OUT, left_to_the_trainer
from models_store.spec.network import Network
from models_store.spec.optimizer import USUAL_RATES
from models_store.spec.training import BUDGET_MINUTES, LARGEST_PROBED_BATCH
from models_store.spec.transfer import Transfer
from models_store.tasks.image.backbones.backbone import Backbone

Document = dict[str, Any]
Way = Literal["head", "fine_tune", "scratch"]

TASK_OF = {"class": "image_classification", "labels": "multilabel_classification", "number": "image_regression"}

PHOTOGRAPH_SIDE = 112
"""side from which an image suits pretrained backbones; smaller images are enlarged"""
FEW = 500
"""number of training photographs below which the backbone stays frozen, whatever the budget: a head on its features is as good there, and does not overfit. From this number on, the backbone is fine-tuned if the budget allows it"""
RARE = 2.0
"""ratio of the most common to the rarest class from which the loss weighs classes"""
MANY = 10_000
"""number of training images from which a tenth of them can separate accuracies, and a wider net has enough to learn"""
PIXELS: dict[Way, float] = {"head": math.inf, "fine_tune": 1e9, "scratch": 4e8}
"""of all epochs together, in `BUDGET_MINUTES`"""
EPOCHS: dict[Way, tuple[int, int]] = {"head": (50, 50), "fine_tune": (2, 12), "scratch": (10, 25)}
LEAST_STEPS: dict[Way, int] = {"head": 400, "fine_tune": 300, "scratch": 1_000}
"""smallest useful number of steps: small datasets get more epochs, up to MOST_EPOCHS"""
MOST_EPOCHS = 200
LEAST_HEAD_EPOCHS = 10
"""steps of a head that must be ready sooner than after its 50 epochs"""
OWN = {"small_cnn", "cifar_resnet18"}

GREY_NET: Document = {"kind": "small_cnn", "widths": [32, 64, 128], "depth": 2, "dense_size": None}
GREY_NET_FOR_MANY: Document = GREY_NET | {"widths": [64, 128, 256]}
AVERAGED: Document = {"kind": "constant", "warmup_epochs": 0.5}
"""schedule of an optimizer that averages weights instead of lowering the learning rate"""


def fill(document: Document, facts: DatasetFacts) -> Document:
    """Return a TrainSpec's document with every default filled in; values of the user never change.

    Only null values are filled in: a document with all its declared defaults gives the same result.
    """
    task = document["task"] or TASK_OF[facts.target]
    backbone = document["backbone"] or _backbone(document, facts)
    part = network_of(backbone)
    way = _way(part, document, facts)
    size = document["input"]["size"] or _size(part, document, facts)
    training = document["training"]
    batch_size = training["batch_size"] or _batch_size(way, facts, parts=training["accumulate_steps"])
    epoch_steps = steps_per_epoch(batch_size, facts)
    budget = training.get("budget_minutes") or BUDGET_MINUTES
    epochs = training["epochs"] or _epochs(way, size, epoch_steps, facts, budget_minutes=budget)
    loss = document["loss"] or _loss(task, way, facts)
    decided: Document = {
        "task": task,
        "backbone": part.model_dump() | {"freeze": part.freeze or _freeze(way, part, size)},
        "input": document["input"] | {"size": size},
        "training": training
        | {
            "epochs": epochs,
            "batch_size": batch_size,
            "monitor": training["monitor"] or _monitor(task, way, facts, is_balanced=_is_balanced(loss, training)),
            "fit_to_budget": left_to_the_trainer(document, size=size, fine_tunes=way == "fine_tune"),
        },
    }
    left_out: Document = {
        "transfer": Transfer().model_dump() | (_probing(part, document, facts) if way == "fine_tune" else {}),
        "augmentation": _augmentation(way, facts),
        "regularizers": _regularizers(way, document, epochs * epoch_steps),
        "loss": loss,
        "optimizer": _optimizer(way, part, facts),
        "schedule": _schedule(way, document),
    }
    filled = document | decided | {name: value for name, value in left_out.items() if document[name] is None}
    if filled["optimizer"].get("lr") is None:
        filled["optimizer"] = filled["optimizer"] | {"lr": _rate(filled["optimizer"], way)}
    return filled


def network_of(document: Document) -> Network:
    """Return the backbone that a document describes."""
    network: Network = _backbones().validate_python(document)
    return network


@cache
def _backbones() -> TypeAdapter[Network]:
    return TypeAdapter(Backbone)  # it takes longer than all that it is asked for


def is_uneven(facts: DatasetFacts) -> bool:
    """Return whether the rarest class is so much rarer than the most common one that the loss weighs them."""
    counts = [count for count in facts.counts.values() if count]
    return facts.target == "class" and len(counts) > 1 and max(counts) >= RARE * min(counts)


def way_of(document: Document) -> Way:
    """Return the way of a resolved spec."""
    if document["backbone"]["weights"] is None:
        return "scratch"
    return "head" if document["backbone"]["freeze"] == "backbone" else "fine_tune"


def least_epochs(document: Document, facts: DatasetFacts) -> int:
    """Return the smallest useful number of epochs of a resolved spec whose number the recipe chose."""
    way, training = way_of(document), document["training"]
    least = LEAST_HEAD_EPOCHS if way == "head" else EPOCHS[way][0]
    epoch_steps = steps_per_epoch(training["batch_size"], facts)
    return min(int(training["epochs"]), max(least, epochs_for_steps(way, epoch_steps)))


def as_head(document: Document, facts: DatasetFacts) -> Document:
    """Return a resolved spec with a head on cached features instead of fine-tuning, by the recipe for heads."""
    left_out = document | dict.fromkeys(LEFT_OUT)
    epoch_steps = steps_per_epoch(document["training"]["batch_size"], facts)
    epochs = max(EPOCHS["head"][0], min(MOST_EPOCHS, math.ceil(LEAST_STEPS["head"] / epoch_steps)))
    part = network_of(document["backbone"])
    return document | {
        "backbone": document["backbone"] | {"freeze": "backbone"},
        "training": document["training"] | {"epochs": epochs},
        "transfer": Transfer().model_dump(),
        "augmentation": [],
        "regularizers": _regularizers("head", left_out, epochs * epoch_steps),
        "loss": _loss(document["task"], "head", facts),
        "optimizer": _optimizer("head", part, facts),
        "schedule": _schedule("head", left_out),
    }


def with_epochs(document: Document, epochs: int, facts: DatasetFacts) -> Document:
    """Return a resolved spec with another number of epochs; an average of weights that the recipe chose is adapted."""
    training = document["training"]
    changed = document | {"training": training | {"epochs": epochs}}
    if "regularizers" not in training["fit_to_budget"] or way_of(document) == "head":
        return changed
    decay = _ema_decay(epochs * steps_per_epoch(training["batch_size"], facts))
    parts = [part | {"decay": decay} if part["kind"] == "ema" else part for part in document["regularizers"]]
    return changed | {"regularizers": parts}


def _backbone(document: Document, facts: DatasetFacts) -> Document:
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


def _way(part: Network, document: Document, facts: DatasetFacts) -> Way:
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


def _side(document: Document, facts: DatasetFacts) -> int:
    return min(facts.median_side, document["input"]["size"] or facts.median_side)


def _size(part: Network, document: Document, facts: DatasetFacts) -> int:
    """Return the input's side, in pixels: small images keep their size or are enlarged, others get the backbone's own."""
    if part.kind in OWN:
        return max(part.smallest_size, min(facts.median_side, part.input_size))
    if document["backbone"] is None and facts.median_side < PHOTOGRAPH_SIDE:
        return min(part.input_size, max(96, 32 * math.ceil(2 * facts.median_side / 32)))
    return part.input_size


def _batch_size(way: Way, facts: DatasetFacts, *, parts: int) -> int:
    """Return the images per step: the usual number, rounded up so that a step can be divided into this number of equal parts."""
    usual = 128 if way == "scratch" and facts.train_count >= 16 * 128 else 32
    usual = max(1, min(usual, facts.train_count))
    return min(parts * math.ceil(usual / parts), facts.train_count // parts * parts) or usual


def steps_per_epoch(batch_size: int | str, facts: DatasetFacts) -> int:
    """Return the number of steps per epoch; for `auto` batches, the smallest possible number."""
    if batch_size == "full":
        return 1
    most = (
        batch_size if isinstance(batch_size, int) else LARGEST_PROBED_BATCH
    )  # what the probe finds is known when it runs
    return math.ceil(facts.train_count / most)


def _epochs(way: Way, size: int, epoch_steps: int, facts: DatasetFacts, *, budget_minutes: float) -> int:
    least, most = EPOCHS[way]
    affordable = PIXELS[way] * max(1.0, budget_minutes / BUDGET_MINUTES) / size**2 / facts.train_count
    epochs = most if affordable > most else max(least, math.ceil(affordable))
    return max(epochs, epochs_for_steps(way, epoch_steps))


def epochs_for_steps(way: Way, epoch_steps: int) -> int:
    """Return the smallest number of epochs that give a way of training its least steps; for very small datasets, the largest allowed number."""
    return min(MOST_EPOCHS, math.ceil(LEAST_STEPS[way] / epoch_steps))


def _is_balanced(loss: Document, training: Document) -> bool:
    """Return whether all classes count equally in training."""
    return loss.get("class_weights") == "balanced" or training["sampling"] == "balanced"


def _monitor(task: str, way: Way, facts: DatasetFacts, *, is_balanced: bool) -> str:
    """Return the metric that picks the best epoch: with few images, losses separate epochs better than accuracies.

    A net that learns all classes equally answers rare classes more often than they occur. A loss that counts all images
    equally would pick an early epoch, before the net has learned that.
    """
    if task != "image_classification" or way == "head" or facts.train_count < MANY:
        return "val_balanced_loss" if is_balanced and task != "image_regression" else "val_loss"
    return "val_balanced_accuracy" if is_uneven(facts) else "val_accuracy"


def _probing(part: Network, document: Document, facts: DatasetFacts) -> Document:
    scale: Document = {"head_lr_scale": 3.0 if facts.median_side < PHOTOGRAPH_SIDE else 10.0}
    if document["optimizer"] is not None:
        scale = {}  # the multiple is made for the recipe's own rate
    if part.freeze is not None and part.freeze != "none":
        return scale
    return scale | {"probe_epochs": min(20, max(3, math.ceil(20_000 / facts.train_count)))}


def _augmentation(way: Way, facts: DatasetFacts) -> list[Document]:
    if way == "head":
        return []
    colours = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.0 if facts.grey else 0.3}
    return [
        {"kind": "random_resized_crop", "scale": [0.6, 1.0], "ratio": [0.8, 1.25]},
        {"kind": "random_flip"},
        {"kind": "color_jitter"} | colours,
        {"kind": "random_erasing", "probability": 0.5, "scale": [0.02, 0.15], "value": 0.5},
    ]


def _regularizers(way: Way, document: Document, steps: int) -> list[Document]:
    if way == "head":
        return [{"kind": "l2", "strength": 0.02}]
    averages = (document["optimizer"] or {}).get("kind") == "schedule_free_adamw"
    average: list[Document] = [] if averages else [{"kind": "ema", "decay": _ema_decay(steps)}]
    return [{"kind": "dropout", "probability": 0.2}, *average]


def _ema_decay(steps: int) -> float:
    return round(min(0.999, max(0.9, 1 - 10 / steps)), 4)  # the last tenth of the run


def _loss(task: str, way: Way, facts: DatasetFacts) -> Document:
    if task == "image_regression":
        return {"kind": "mse"}
    if task == "multilabel_classification":
        return {"kind": "binary_cross_entropy"}
    return {
        "kind": "cross_entropy",
        "label_smoothing": 0.0 if way == "head" else 0.1,
        "class_weights": "balanced" if is_uneven(facts) else None,
    }


def _optimizer(way: Way, part: Network, facts: DatasetFacts) -> Document:
    if way == "head":
        return {"kind": "adamw", "lr": 3e-3, "weight_decay": 0.0}
    if way == "fine_tune":  # enlarged images are further from what the weights have seen
        return {"kind": "adamw", "lr": 1e-3 if facts.median_side < PHOTOGRAPH_SIDE else 3e-4, "weight_decay": 0.05}
    return {"kind": "adamw", "lr": 3e-3 if part.kind in OWN else 5e-4, "weight_decay": 0.05}


def _rate(optimizer: Document, way: Way) -> float:
    """Return the learning rate of an optimizer that was given without one: the usual rate, or less for pretrained weights."""
    usual = USUAL_RATES[optimizer["kind"]]
    return usual / 10 if way == "fine_tune" else usual


def _schedule(way: Way, document: Document) -> Document:
    if (document["optimizer"] or {}).get("kind") == "schedule_free_adamw":
        return AVERAGED
    if way == "scratch":
        return {"kind": "one_cycle", "rise_share": 0.25}
    return {"kind": "cosine", "warmup_epochs": 0.5 if way == "fine_tune" else 0.0}
