"""Reasons of the recipe: one sentence for each value that a spec leaves to it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from models_store.spec import ladder
from models_store.spec.facts import DatasetFacts
from models_store.spec.part import Part
from models_store.spec.train import ResolvedSpec, TrainSpec
from models_store.spec.training import BUDGET_MINUTES, ResolvedTraining, Training
from models_store.tasks.image import recipe

Document = dict[str, Any]

HAS = {"class": "one class", "labels": "any number of labels", "number": "a number"}
DECLARED: dict[type[Part], type[Part]] = {ResolvedSpec: TrainSpec, ResolvedTraining: Training}
"""resolved class → the class that declares the defaults"""


@dataclass(frozen=True)
class Decision:
    """A value of a resolved spec that its author left to the recipe; `pointer` (RFC 6901) points into the resolved spec."""

    pointer: str
    value: Any
    why: str


@dataclass(frozen=True)
class _Case:
    """The input of the recipe's decisions."""

    facts: DatasetFacts
    spec: ResolvedSpec
    way: recipe.Way
    given: Document

    @property
    def steps(self) -> int:
        return self.spec.training.epochs * recipe.steps_per_epoch(self.spec.training.batch_size, self.facts)

    def left_out(self, name: str) -> bool:
        return self.given.get(name) is None


def decisions(given: Document, spec: ResolvedSpec, facts: DatasetFacts) -> list[Decision]:
    """Return each value that `given` (a spec as its author sent it) leaves out and that differs from its declared default."""
    case = _Case(facts, spec, recipe.way_of(spec.model_dump()), given)
    return [Decision(pointer, value, _why(pointer, value, case)) for pointer, value in _decided(spec, given, "")]


def _decided(part: Part, given: Any, pointer: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  any JSON
    """Yield the pointer and the value of each leaf that was not given and is not a declared default."""
    declared = DECLARED.get(type(part), type(part)).model_fields
    for name in type(part).model_fields:
        value, sent = getattr(part, name), given.get(name) if isinstance(given, dict) else None
        below = f"{pointer}/{name}"
        is_default = declared[name].get_default(call_default_factory=True) == value and name != "kind"
        if sent is None and (value is None or is_default):
            continue
        if isinstance(value, Part):
            yield from _decided(value, sent, below)
        elif isinstance(value, list) and any(isinstance(each, Part) for each in value):
            for position, each in enumerate(value):
                own = sent[position] if isinstance(sent, list) and position < len(sent) else None
                yield from _decided(each, own, f"{below}/{position}")
        elif sent is None or (isinstance(value, str) and value != sent):
            yield below, value


def _why(pointer: str, value: Any, case: _Case) -> str:  # noqa: ANN401  any JSON
    steps = pointer.strip("/").split("/")
    if steps[-1] in {"weights", "teacher"}:
        return f"{_sent(case.given, steps)!r} means this version now; later jobs may get another one"
    return _OF_SECTION[steps[0]](steps, value, case)


def _sent(given: Any, steps: list[str]) -> Any:  # noqa: ANN401  any JSON
    for step in steps:
        given = given.get(step) if isinstance(given, dict) else None
    return given


def _task(_steps: list[str], _value: Any, case: _Case) -> str:  # noqa: ANN401  any JSON
    return f"each image of the dataset has {HAS[case.facts.target]}"


def _backbone(steps: list[str], value: Any, case: _Case) -> str:  # noqa: ANN401  any JSON
    facts, side = case.facts, case.facts.median_side
    if steps[-1] == "freeze":
        return _freeze(value, case)
    if case.spec.backbone.kind == "small_cnn":
        why = f"the images are small and grey ({side} pixels), and weights learned on photographs do not help with them"
        wider = (
            f"; it is wide, because there are many training images ({facts.train_count:,})"
            if steps[-1] == "widths"
            else ""
        )
        return f"{why}: a small net learns from the start" + (wider if facts.train_count >= recipe.MANY else "")
    if side >= recipe.PHOTOGRAPH_SIDE:
        return f"the images are photographs ({side} pixels, {recipe.PHOTOGRAPH_SIDE} or more): this backbone is pretrained on photographs, and accurate for its speed"
    return (
        f"the images are small ({side} pixels) and are enlarged: this backbone is pretrained, and fast on many pixels"
    )


def _freeze(value: str, case: _Case) -> str:
    count = case.facts.train_count
    if value == "backbone":
        return f"{count:,} photographs are fewer than {recipe.FEW}: a head on fixed features is as accurate there, does not overfit, and trains in seconds"
    if value.startswith("until:"):
        return "edges and textures look alike in all photographs: freezing the first stages saves half of the time"
    if case.way == "scratch":
        return "the weights begin at random, so all of them have to learn"
    return "all stages learn: the images differ from those of the pretrained weights, or there are enough of them"


def _input(_steps: list[str], _value: Any, case: _Case) -> str:  # noqa: ANN401  any JSON
    side, backbone = case.facts.median_side, case.spec.backbone
    if backbone.kind in recipe.OWN:
        return f"the images' own size ({side} pixels), within the range of {backbone.kind} ({backbone.smallest_size} to {backbone.input_size})"
    if case.left_out("backbone") and side < recipe.PHOTOGRAPH_SIDE:
        return f"images of {side} pixels are enlarged at least twice, to a size that suits pretrained filters"
    return f"the size that {backbone.kind} is made for"


def _transfer(steps: list[str], value: Any, _case: _Case) -> str:  # noqa: ANN401  any JSON
    if steps[-1] == "head_lr_scale":
        return f"the head begins at random and may learn {value:g} times as fast as the pretrained weights"
    return "the head learns alone first, so that its random start does not spoil the pretrained weights (LP-FT)"


AUGMENTING = {
    "random_resized_crop": "objects are nearer or farther away in other images; crops stay inside the image, because black borders would mislead the net",
    "random_flip": "most objects stay the same when left and right are exchanged",
    "color_jitter": "light and cameras differ between the training images and later ones",
    "random_erasing": "small patches are hidden, so that the net learns to look at more than one detail",
}


def _augmentation(steps: list[str], value: Any, case: _Case) -> str:  # noqa: ANN401  any JSON
    if len(steps) == 1:
        return "the head learns on features that are computed once; with changed images the whole net would run in each epoch"
    part = case.spec.augmentation[int(steps[1])]
    if steps[-1] == "saturation" and value == 0:
        return "the images are grey and have no colours to change"
    return AUGMENTING.get(part.kind, "this is part of the recipe's augmentation")


def _regularizers(steps: list[str], _value: Any, case: _Case) -> str:  # noqa: ANN401  any JSON
    kind = case.spec.regularizers[int(steps[1])].kind if len(steps) > 1 else ""
    if kind == "l2":
        return "a penalty on the head's weights keeps it from overfitting a few images"
    if kind == "ema":
        return f"the average over about the last tenth of {case.steps:,} steps is steadier than the last weights"
    return "some features are left out at random, so that the net does not rely on single ones"


def _loss(steps: list[str], value: Any, case: _Case) -> str:  # noqa: ANN401  any JSON
    if steps[-1] == "class_weights":
        counts = [count for count in case.facts.counts.values() if count]
        return f"the rarest class has {min(counts):,} training images and the most common {max(counts):,}: all classes should count equally"
    if steps[-1] == "label_smoothing":
        return "targets a little below 1 keep a fully trained net from being overconfident"
    of_kind = {"mse": "numbers", "binary_cross_entropy": "images with any number of labels"}
    return f"it is the usual loss for {of_kind.get(value, 'images of one class')}"


def _optimizer(steps: list[str], value: Any, case: _Case) -> str:  # noqa: ANN401  any JSON
    optimizer = case.spec.optimizer
    if steps[-1] == "kind":
        return "adamw learned well without tuning on all kinds of data on which the recipe was measured"
    if steps[-1] == "lr" and not case.left_out("optimizer"):
        usual = optimizer.usual_lr
        tenth = f"a tenth of {optimizer.kind}'s usual {usual:g}: pretrained weights are trained further, and large steps would spoil them"
        return tenth if case.way == "fine_tune" else f"the usual rate of {optimizer.kind} for random initial weights"
    if steps[-1] == "lr":
        return {
            "head": "a head with one layer can take large steps",
            "fine_tune": "pretrained weights are trained further with small steps, or with larger ones if images are enlarged",
            "scratch": "random initial weights need larger steps than pretrained ones",
        }[case.way]
    return (
        "the head has a penalty of its own (l2)"
        if value == 0
        else "small weights keep a fully trained net from overfitting"
    )


def _schedule(steps: list[str], _value: Any, case: _Case) -> str:  # noqa: ANN401  any JSON
    kind = case.spec.schedule.kind
    if steps[-1] == "warmup_epochs":
        return "a short warm-up keeps the first steps from spoiling weights that were averaged or trained before"
    if kind == "constant":
        return "schedule_free_adamw averages its weights in place of a falling rate"
    if kind == "one_cycle":
        return "a rise and a fall train a net from scratch in few epochs"
    return "a rate that falls to zero lets the weights settle at the end of the run"


def _training(steps: list[str], value: Any, case: _Case) -> str:  # noqa: ANN401  any JSON
    return _OF_TRAINING[steps[1]](value, case)


def _epochs(value: int, case: _Case) -> str:
    epoch_steps = recipe.steps_per_epoch(case.spec.training.batch_size, case.facts)
    least_steps, (least, most) = recipe.LEAST_STEPS[case.way], recipe.EPOCHS[case.way]
    budget = case.spec.training.budget_minutes or BUDGET_MINUTES
    if value > least and value == recipe.epochs_for_steps(case.way, epoch_steps):
        few = f"{case.facts.train_count:,} training images make {epoch_steps:,} step{'s' if epoch_steps > 1 else ''} an epoch"
        if case.steps < least_steps:
            return f"{few}: {least_steps:,} steps would be usual, but the recipe never takes more than {value} epochs"
        return f"{few}, so {value} epochs are needed for the smallest useful number of steps ({least_steps:,})"
    if case.way == "head":
        return f"features are computed once, so that {most} epochs of a head take seconds"
    return f"as many as two fast cores can do in {max(budget, BUDGET_MINUTES):g} minutes at {case.spec.input.size} pixels, from {least} to {most}"


def _batch_size(value: Any, case: _Case) -> str:  # noqa: ANN401  any JSON
    parts, count = case.spec.training.accumulate_steps, case.facts.train_count
    if isinstance(value, int) and value >= count:
        return f"all {count:,} training images make one batch"
    usual = "larger batches are faster from scratch" if value > 64 else "a usual size that fits into any memory"  # noqa: PLR2004  between 32 and 128
    return usual if parts == 1 else f"{usual}, in {parts} equal parts (`accumulate_steps`)"


def _monitor(value: str, case: _Case) -> str:
    if value.endswith("loss"):
        few = f"{case.facts.train_count:,} training images" if case.facts.target == "class" else "such targets"
        told = f"for {few} the loss separates epochs better than the accuracy does"
        return f"{told}; all classes count equally in it, as in training" if "balanced" in value else told
    return "there are enough validation images to measure accuracy well" + (
        "; rare classes count as much as common ones" if "balanced" in value else ""
    )


def _fit_to_budget(value: list[str], case: _Case) -> str:
    budget = case.spec.training.budget_minutes
    if not value:
        return "there is no budget" if budget is None else "the spec leaves nothing that could be reduced"
    plans = ladder.rungs(case.spec, case.facts)
    if len(plans) == 1 and plans[0].least_epochs == case.spec.training.epochs:
        return "the spec leaves these to the recipe, but they are already at their minimum: nothing can be reduced"
    return f"the spec leaves these to the recipe, so the trainer may reduce them to keep to {budget:g} minutes"


def _compression(steps: list[str], _value: Any, _case: _Case) -> str:  # noqa: ANN401  any JSON
    return (
        "the spec gives neither a ratio nor a speedup: 0.3 of the channels is about half of the work"
        if steps[-1] == "ratio"
        else "it is the first of the kinds, and the spec gives none"
    )


_OF_TRAINING: Mapping[str, Callable[[Any, _Case], str]] = {
    "epochs": _epochs,
    "batch_size": _batch_size,
    "monitor": _monitor,
    "fit_to_budget": _fit_to_budget,
}
_OF_SECTION: Mapping[str, Callable[[list[str], Any, _Case], str]] = {
    "task": _task,
    "backbone": _backbone,
    "input": _input,
    "transfer": _transfer,
    "augmentation": _augmentation,
    "regularizers": _regularizers,
    "loss": _loss,
    "optimizer": _optimizer,
    "schedule": _schedule,
    "training": _training,
    "compression": _compression,
}
