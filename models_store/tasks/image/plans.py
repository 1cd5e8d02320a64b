"""Plans that are cheaper than a training of images: what keeps the most accuracy for its time comes first.

Fine-tuning keeps the images as large as it can: first more of the backbone is frozen, then images are three quarters as
wide. Below that a head on features of full-sized images, which are computed once, is better and cheaper than
fine-tuning on small ones.
"""

import math
from collections.abc import Iterator

from models_store.spec.recipe import (
    EPOCHS,
    LEAST_STEPS,
    MOST_EPOCHS,
    Document,
    steps_per_epoch,
    usual_loss,
    usual_regularizers,
    usual_schedule,
)
from models_store.spec.transfer import Transfer
from models_store.tasks.image.backbones.network import Network
from models_store.tasks.image.defaults import LEFT_OUT, SMALLER, SMALLEST_SIDE, network_of, usual_optimizer, way_of
from models_store.tasks.image.facts import ImageFacts

SIDE_STEP = 32
DEEPER = 0.6
"""share of the backbone's parts that are frozen to save time"""


def plans(document: Document, facts: ImageFacts) -> Iterator[Document]:
    """Yield resolved specs that are cheaper than one, the best first."""
    fitted = set(document["training"]["fit_to_budget"])
    part = network_of(document["backbone"])
    sizes = list(_smaller_sizes(document, part)) if "input.size" in fitted else []
    if way_of(document) == "fine_tune":
        deeper = _deeper(part, document["backbone"]["freeze"]) if "backbone.freeze" in fitted else None
        freezes = [document["backbone"]["freeze"], *([deeper] if deeper else [])]
        for size in [document["input"]["size"], *sizes[:1]]:
            for freeze in freezes:
                yield _at(document, size) | {"backbone": document["backbone"] | {"freeze": freeze}}
        if not {"backbone.freeze", "training.epochs", *LEFT_OUT} <= fitted:
            return
        document = _as_head(document, facts)
        yield document
    for size in sizes:
        yield _at(document, size)


def _at(document: Document, size: int) -> Document:
    return document | {"input": document["input"] | {"size": size}}


def _smaller_sizes(document: Document, part: Network) -> Iterator[int]:
    """Yield smaller sides that the backbone takes; a dense layer of weights that are kept fits one size only."""
    planned = document["input"]["size"]
    if document["backbone"]["weights"] is not None and document["backbone"].get("dense_size") is not None:
        return
    for share in SMALLER:
        size = int(planned * share) // SIDE_STEP * SIDE_STEP
        if size >= max(SMALLEST_SIDE, part.smallest_size) and size % part.size_step == 0:
            yield size


def _deeper(part: Network, freeze: str) -> str | None:
    """Return a `freeze` that keeps more of a backbone fixed; None if as much is frozen already."""
    frozen = part.stages.index(freeze.removeprefix("until:")) if freeze.startswith("until:") else -1
    deeper = round(DEEPER * len(part.stages))
    is_part = freeze == "none" or freeze.startswith("until:")
    return f"until:{part.stages[deeper]}" if is_part and frozen < deeper < len(part.stages) - 1 else None


def _as_head(document: Document, facts: ImageFacts) -> Document:
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
        "regularizers": usual_regularizers("head", left_out, epochs * epoch_steps),
        "loss": usual_loss(facts.target, "head", facts),
        "optimizer": usual_optimizer("head", part, facts),
        "schedule": usual_schedule("head", left_out),
    }
