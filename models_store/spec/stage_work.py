"""Amount of work in each stage of a job, to compare jobs of the same kind.

Each stage has its own unit: only the ratio of two jobs has a meaning.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from models_store.spec.recipe import NetCosts

BACKWARD = 2.0
"""work of a gradient through a net, as a multiple of the work of an answer"""
DECODED = 0.05
"""work of reading an example and changing it, in units of a thousand million multiplications"""
HEAD_STEP = 0.002
"""work of a head's step on an example's features, in the same unit"""
BEFORE_DATA = 500.0
"""work before the first example is read, in examples"""


@dataclass(frozen=True)
class Features:
    """What a job's stages depend on. `recovering` are epochs after a cut or with simulated rounding.

    The names are those of stored measurements: `backbone` is the kind of the net, `images` are examples of any task.
    """

    backbone: str
    size: int
    way: str
    freeze: str
    epochs: int
    train: int
    val: int
    images: int
    probe_epochs: int = 0
    variants: int = 1
    recovering: int = 0
    giga_macs: float = 1.0
    device: str = "cpu"

    @classmethod
    def of(
        cls, document: Mapping[str, Any], net: NetCosts, *, train: int, val: int, images: int, device: str = "cpu"
    ) -> "Features":
        """Return those of a resolved spec (as a document) and its net, with so many examples."""
        compression = document.get("compression") or {}
        quantize = compression.get("quantize") or []
        cut = compression.get("prune") is not None
        recover = (compression.get("recover") or {}).get("epochs", 0) if cut else 0
        aware = sum(part.get("epochs", 0) for part in quantize if part["kind"] == "qat_int8")
        nets = 1 + cut + bool(compression.get("control"))
        return cls(
            backbone=net.kind,
            size=net.size,
            way=net.way,
            freeze=net.freeze,
            epochs=document["training"]["epochs"],
            train=train,
            val=val,
            images=images,
            probe_epochs=(document.get("transfer") or {}).get("probe_epochs", 0),
            variants=nets + (1 + cut) * len(quantize),
            recovering=recover * (1 + bool(compression.get("control"))) + aware * (1 + cut),
            giga_macs=net.giga_macs,
            device=device,
        )

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> "Features":
        """Return the features that `as_document` wrote, maybe in another release: unknown keys are ignored."""
        known = {"variants": document.get("forms", 1), **document}  # `forms` is what earlier releases wrote
        return cls(**{field.name: known[field.name] for field in fields(cls) if field.name in known})

    def as_document(self) -> dict[str, Any]:
        """Return the features as JSON."""
        return asdict(self)


def work_of(stage: str, features: Features) -> float:
    """Return the amount of work of a stage, always more than 0."""
    answer = features.giga_macs
    recovery = features.recovering * features.train * (DECODED + answer * (1 + BACKWARD))
    work = {
        "validating": BEFORE_DATA + features.images,
        "training": _training(features),
        "pruning": 1.0 + recovery,
        "exporting": features.variants * (1.0 + answer),
        "quantizing": features.variants * (1.0 + answer) + recovery,
        "verifying": features.variants * (1.0 + features.val * answer / 100),
        "evaluating": 10.0 + features.images * answer,
        "measuring": features.variants * (1.0 + answer),
    }
    return max(work.get(stage, 1.0), 1e-6)


def _training(features: Features) -> float:
    answer = features.giga_macs
    if features.way == "head":
        images = features.train + features.val
        return images * answer + features.epochs * features.train * HEAD_STEP
    backward = BACKWARD * (0.5 if features.freeze.startswith("until:") else 1.0)
    step = DECODED + answer * (1 + backward)
    probing = answer + features.probe_epochs * HEAD_STEP
    once = features.train * probing if features.probe_epochs else 0.0
    return once + features.epochs * (features.train * step + features.val * answer)
