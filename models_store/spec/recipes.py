"""What is trained when the spec leaves it out: a recipe for each kind of data and backbone."""

from typing import Any

from pydantic import TypeAdapter

from models_store.spec.backbone import Backbone
from models_store.spec.facts import DatasetFacts

Document = dict[str, Any]

TASK_OF = {"class": "image_classification", "labels": "multilabel_classification", "number": "image_regression"}
LOSS_OF = {
    "image_classification": "cross_entropy",
    "multilabel_classification": "binary_cross_entropy",
    "image_regression": "mse",
}

AVERAGED = {"kind": "constant", "warmup_epochs": 0.5}
"""the schedule of an optimizer that averages weights in place of a falling learning rate"""


def fill(document: Document, facts: DatasetFacts) -> Document:
    """Return a TrainSpec's document with every default decided; what the user chose stays as it is."""
    task = document["task"] or TASK_OF[facts.target]
    backbone = document["backbone"] or {"kind": "small_cnn"}
    part = TypeAdapter(Backbone).validate_python(backbone)
    weights = backbone.get("weights", part.weights)
    transfer = document["transfer"]
    fine_tunes = transfer["probe_epochs"] or transfer["unfreeze_every_epochs"] or transfer["layer_decay"] < 1
    freeze = backbone.get("freeze") or ("none" if weights is None or fine_tunes else "backbone")
    training = document["training"]
    monitor = "val_accuracy" if task == "image_classification" else "val_loss"
    chosen: Document = {
        "task": task,
        "backbone": part.model_dump() | {"freeze": freeze},
        "input": document["input"] | {"size": document["input"]["size"] or part.input_size},
        "training": training
        | {
            "epochs": training["epochs"] or 20,
            "batch_size": training["batch_size"] or 32,
            "monitor": training["monitor"] or monitor,
        },
    }
    defaults: Document = {
        "augmentation": [],
        "regularizers": [],
        "loss": {"kind": LOSS_OF[task]},
        "optimizer": {"kind": "adamw"},
        "schedule": AVERAGED
        if (document["optimizer"] or {}).get("kind") == "schedule_free_adamw"
        else {"kind": "cosine"},
    }
    left_out = {name: value for name, value in defaults.items() if document[name] is None}
    return document | chosen | left_out
