"""Rules of images: sizes that the backbone can't take, images that can't be mixed, and what is unlikely to be meant."""

from typing import TYPE_CHECKING

from models_store.spec.contradiction import contradiction
from models_store.spec.quantization import DynamicInt8
from models_store.spec.recipe import Warnings
from models_store.tasks.image.defaults import OWN
from models_store.tasks.image.facts import ImageFacts, fitting_white
from models_store.wording import counted

if TYPE_CHECKING:
    from models_store.tasks.image.spec import ImageSpec, ResolvedImageSpec

MIXING = {"mixup", "cutmix"}
ONLY_ON_COLORS = {"random_grayscale", "channel_shuffle"}
TRANSFORMERS = ("vit_", "deit_", "swin_")


def refuse_what_contradicts_itself(spec: "ImageSpec") -> None:
    """Check what a spec alone says of its images; fields that are left out are no contradiction yet.

    Raises:
        PydanticCustomError: of type `contradiction`, with a pointer and what is allowed.
    """
    _refuse_mixing_while_testing(spec)
    backbone, size = spec.backbone, spec.input.size
    if backbone is None or size is None:
        return
    step = backbone.size_step
    if size < backbone.smallest_size:
        least = backbone.smallest_size
        raise contradiction("input/size", f"{backbone.kind} needs at least {least} pixels", {"minimum": least})
    if size % step:
        message = f"{backbone.kind} takes multiples of {step} pixels"
        raise contradiction("input/size", message, {"multipleOf": step, "minimum": step})


def _refuse_mixing_while_testing(spec: "ImageSpec") -> None:
    testing = spec.evaluation.test_time_augmentation
    for number, part in enumerate(testing.augmentation if testing else []):
        if part.kind in MIXING:
            raise contradiction(
                f"evaluation/test_time_augmentation/augmentation/{number}",
                f"{part.kind} blends several images, so a copy has no answer of its own; use it for training only",
                None,
            )


def warnings_about(spec: "ResolvedImageSpec", facts: ImageFacts) -> Warnings:
    """Return warnings about values that are allowed but probably not meant, each with whether it applies."""
    return [
        *_warnings_of_input(spec, facts),
        *_warnings_of_augmentation(spec),
        *_warnings_of_the_backbone(spec, facts),
    ]


def _warnings_of_input(spec: "ResolvedImageSpec", facts: ImageFacts) -> Warnings:
    white, largest = spec.input.white_level, facts.largest_16_bit
    fitting = fitting_white(largest) if largest else None
    return [
        (
            white is None and fitting is not None,
            f"images with 16 bits use only the values 0 to {largest} of 65535 and are nearly black: set `input.white_level` to {fitting}",
        ),
        (
            white is not None and largest == 0,
            "the dataset has no images with 16 bits, so `input.white_level` does nothing",
        ),
        (
            white is not None and (largest or 0) > white,
            f"images with 16 bits have values up to {largest}, and all values above `input.white_level` {white} become white",
        ),
    ]


def _warnings_of_augmentation(spec: "ResolvedImageSpec") -> Warnings:
    kinds = {part.kind for part in spec.augmentation}
    idle = sorted(kinds & ONLY_ON_COLORS)
    mixing = sorted(kinds & MIXING)
    return [
        (
            spec.input.channels == 1 and bool(idle),
            f"{' and '.join(idle)}: has no effect, because grey images have no colours to change",
        ),
        (
            spec.training.batch_size == 1 and bool(mixing),
            f"{' and '.join(mixing)}: has no effect, because a batch of one image has no other image to mix with",
        ),
    ]


def _warnings_of_the_backbone(spec: "ResolvedImageSpec", facts: ImageFacts) -> Warnings:
    backbone, quantize = spec.backbone, spec.compression.quantize if spec.compression else []
    convolves = not any(name in backbone.kind for name in TRANSFORMERS)
    return [
        (
            backbone.freeze == "backbone" and bool(spec.augmentation),
            "augmentation with a frozen backbone: features can't be computed once, so the whole net runs in every epoch",
        ),
        (
            backbone.weights is None and backbone.kind not in OWN and facts.train_count < 100 * facts.class_count,
            f"{backbone.kind} from scratch on {counted(facts.train_count, 'image')} will probably overfit; consider `weights: imagenet`",
        ),
        (
            convolves and any(isinstance(part, DynamicInt8) and part.layers == "all" for part in quantize),
            f"dynamic_int8 with `layers: all`: the convolutions of {backbone.kind} become many times slower",
        ),
    ]
