"""Reasons for what the recipe has decided for images: one sentence for each value that a spec leaves to it."""

from typing import TYPE_CHECKING, Any

from models_store.spec.recipe import EPOCHS, MANY, epochs_for_steps, steps_per_epoch
from models_store.spec.training import BUDGET_MINUTES
from models_store.tasks.image import defaults
from models_store.wording import counted, inflected

if TYPE_CHECKING:
    from models_store.spec.reasons import Case
    from models_store.tasks.image.facts import ImageFacts
    from models_store.tasks.image.spec import ResolvedImageSpec

    ImageCase = Case[ImageFacts, ResolvedImageSpec]

AUGMENTING = {
    "random_resized_crop": "objects are nearer or farther away in other images; crops stay inside the image, because black borders would mislead the net",
    "random_flip": "most objects stay the same when left and right are exchanged",
    "color_jitter": "light and cameras differ between the training images and later ones",
    "random_erasing": "small patches are hidden, so that the net learns to look at more than one detail",
}


def reason(steps: list[str], value: Any, case: "ImageCase") -> str | None:  # noqa: ANN401  any JSON
    """Return why a value was chosen; None: for the reason that all tasks have."""
    if steps[0] in _OF_SECTION:
        return _OF_SECTION[steps[0]](steps, value, case)
    if steps == ["optimizer", "lr"] and case.left_out("optimizer") and case.way == "fine_tune":
        return "pretrained weights are trained further with small steps, or with larger ones if images are enlarged"
    return _epochs(value, case) if steps == ["training", "epochs"] else None


def _backbone(steps: list[str], value: Any, case: "ImageCase") -> str:  # noqa: ANN401  any JSON
    facts, side = case.facts, case.facts.median_side
    if steps[-1] == "freeze":
        return _freeze(value, case)
    if case.spec.backbone.kind == "small_cnn":
        why = f"the images are small and grey ({counted(side, 'pixel')}), and weights learned on photographs do not help with them"
        wider = (
            f"; it is wide, because there are many training images ({facts.train_count:,})"
            if steps[-1] == "widths"
            else ""
        )
        return f"{why}: a small net learns from the start" + (wider if facts.train_count >= MANY else "")
    if side >= defaults.PHOTOGRAPH_SIDE:
        return f"the images are photographs ({side} pixels, {defaults.PHOTOGRAPH_SIDE} or more): this backbone is pretrained on photographs, and accurate for its speed"
    return f"the images are small ({counted(side, 'pixel')}) and are enlarged: this backbone is pretrained, and fast on many pixels"


def _freeze(value: str, case: "ImageCase") -> str:
    count = case.facts.train_count
    if value == "backbone":
        return f"{count:,} photographs are fewer than {defaults.FEW}: a head on fixed features is as accurate there, does not overfit, and trains in seconds"
    if value.startswith("until:"):
        return "edges and textures look alike in all photographs: freezing the first stages saves half of the time"
    if case.way == "scratch":
        return "the weights begin at random, so all of them have to learn"
    return "all stages learn: the images differ from those of the pretrained weights, or there are enough of them"


def _input(_steps: list[str], _value: Any, case: "ImageCase") -> str:  # noqa: ANN401  any JSON
    side, backbone = case.facts.median_side, case.spec.backbone
    if backbone.kind in defaults.OWN:
        return f"the images' own size ({side} pixels), within the range of {backbone.kind} ({backbone.smallest_size} to {backbone.input_size})"
    if case.left_out("backbone") and side < defaults.PHOTOGRAPH_SIDE:
        return (
            f"images of {counted(side, 'pixel')} are enlarged at least twice, to a size that suits pretrained filters"
        )
    return f"the size that {backbone.kind} is made for"


def _augmentation(steps: list[str], value: Any, case: "ImageCase") -> str:  # noqa: ANN401  any JSON
    if len(steps) == 1:
        return "the head learns on features that are computed once; with changed images the whole net would run in each epoch"
    part = case.spec.augmentation[int(steps[1])]
    if steps[-1] == "saturation" and value == 0:
        return "the images are grey and have no colours to change"
    return AUGMENTING.get(part.kind, "this is part of the recipe's augmentation")


def _epochs(value: int, case: "ImageCase") -> str | None:
    training, (least, most) = case.spec.training, EPOCHS[case.way]
    is_for_steps = value > least and value == epochs_for_steps(
        case.way, steps_per_epoch(training.batch_size, case.facts)
    )
    if is_for_steps or case.way == "head":
        return None
    minutes = max(training.budget_minutes or BUDGET_MINUTES, BUDGET_MINUTES)
    return f"as many as two fast cores can do in {minutes:g} {inflected(minutes, 'minute')} at {case.spec.input.size} pixels, from {least} to {most}"


_OF_SECTION = {"backbone": _backbone, "input": _input, "augmentation": _augmentation}
