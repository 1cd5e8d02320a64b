"""Reasons of the recipe: one sentence for each value that a spec leaves to it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from models_store.spec import ladder, recipe
from models_store.spec.facts import DatasetFacts
from models_store.spec.part import Part
from models_store.spec.train import ResolvedSpec
from models_store.spec.training import ResolvedTraining, Training
from models_store.wording import inflected

Document = dict[str, Any]

HAS = {"class": "one class", "labels": "any number of labels", "number": "a number"}
FactsT_co = TypeVar("FactsT_co", bound=DatasetFacts, covariant=True)
SpecT_co = TypeVar("SpecT_co", bound=ResolvedSpec, covariant=True)


@dataclass(frozen=True)
class Decision:
    """A value of a resolved spec that its author left to the recipe; `pointer` (RFC 6901) points into the resolved spec."""

    pointer: str
    value: Any
    why: str


@dataclass(frozen=True)
class Case(Generic[FactsT_co, SpecT_co]):
    """What the recipe has looked at, and the spec as its author sent it."""

    facts: FactsT_co
    spec: SpecT_co
    way: recipe.Way
    given: Document

    @property
    def steps(self) -> int:
        """Return the steps of the whole training."""
        return self.spec.training.epochs * recipe.steps_per_epoch(self.spec.training.batch_size, self.facts)

    def left_out(self, name: str) -> bool:
        """Tell whether the spec leaves a whole part to the recipe."""
        return self.given.get(name) is None

    @property
    def example(self) -> str:
        """Return the word for one example."""
        return self.spec.recipe.example


AnyCase = Case[DatasetFacts, ResolvedSpec]


def decisions(given: Document, spec: ResolvedSpec, facts: DatasetFacts) -> list[Decision]:
    """Return each value that `given` (a spec as its author sent it) leaves out and that differs from its declared default."""
    case = Case(facts, spec, spec.costs.way, given)
    return [Decision(pointer, value, _why(pointer, value, case)) for pointer, value in _decided(spec, given, "")]


def _decided(part: Part, given: Any, pointer: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  any JSON
    """Yield the pointer and the value of each leaf that was not given and is not a declared default."""
    declared = _declaring(part).model_fields
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


def _declaring(part: Part) -> type[Part]:
    """Return the class that declares the defaults of a resolved part."""
    if isinstance(part, ResolvedSpec):
        return part.asked
    return Training if isinstance(part, ResolvedTraining) else type(part)


def _why(pointer: str, value: Any, case: AnyCase) -> str:  # noqa: ANN401  any JSON
    steps = pointer.strip("/").split("/")
    if steps[-1] in {"weights", "teacher"}:
        return f"{_sent(case.given, steps)!r} means this version now; later jobs may get another one"
    own = case.spec.recipe.reason(steps, value, case)
    return own if own is not None else _OF_SECTION[steps[0]](steps, value, case)


def _sent(given: Any, steps: list[str]) -> Any:  # noqa: ANN401  any JSON
    for step in steps:
        given = given.get(step) if isinstance(given, dict) else None
    return given


def _task(_steps: list[str], _value: Any, case: AnyCase) -> str:  # noqa: ANN401  any JSON
    return f"each {case.example} of the dataset has {HAS[case.facts.target]}"


def _transfer(steps: list[str], value: Any, _case: AnyCase) -> str:  # noqa: ANN401  any JSON
    if steps[-1] == "head_lr_scale":
        return f"the head begins at random and may learn {value:g} times as fast as the pretrained weights"
    return "the head learns alone first, so that its random start does not spoil the pretrained weights (LP-FT)"


def _regularizers(steps: list[str], _value: Any, case: AnyCase) -> str:  # noqa: ANN401  any JSON
    kind = case.spec.regularizers[int(steps[1])].kind if len(steps) > 1 else ""
    if kind == "l2":
        return f"a penalty on the head's weights keeps it from overfitting a few {case.example}s"
    if kind == "ema":
        return f"the average over about the last tenth of {case.steps:,} {inflected(case.steps, 'step')} is steadier than the last weights"
    return "some features are left out at random, so that the net does not rely on single ones"


def _loss(steps: list[str], value: Any, case: AnyCase) -> str:  # noqa: ANN401  any JSON
    if steps[-1] == "class_weights":
        counts = [count for count in case.facts.counts.values() if count]
        return f"the rarest class has {min(counts):,} training {inflected(min(counts), case.example)} and the most common {max(counts):,}: all classes should count equally"
    if steps[-1] == "label_smoothing":
        return "targets a little below 1 keep a fully trained net from being overconfident"
    of_kind = {"mse": "numbers", "binary_cross_entropy": f"{case.example}s with any number of labels"}
    return f"it is the usual loss for {of_kind.get(value, f'{case.example}s of one class')}"


def _optimizer(steps: list[str], value: Any, case: AnyCase) -> str:  # noqa: ANN401  any JSON
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
            "fine_tune": "pretrained weights train on with small steps",
            "scratch": "random initial weights need larger steps than pretrained ones",
        }[case.way]
    return (
        "the head has a penalty of its own (l2)"
        if value == 0
        else "small weights keep a fully trained net from overfitting"
    )


def _schedule(steps: list[str], _value: Any, case: AnyCase) -> str:  # noqa: ANN401  any JSON
    kind = case.spec.schedule.kind
    if steps[-1] == "warmup_epochs":
        return "a short warm-up keeps the first steps from spoiling weights that were averaged or trained before"
    if kind == "constant":
        return "schedule_free_adamw averages its weights in place of a falling rate"
    if kind == "one_cycle":
        return "a rise and a fall train a net from scratch in few epochs"
    return "a rate that falls to zero lets the weights settle at the end of the run"


def _training(steps: list[str], value: Any, case: AnyCase) -> str:  # noqa: ANN401  any JSON
    return _OF_TRAINING[steps[1]](value, case)


def _epochs(value: int, case: AnyCase) -> str:
    epoch_steps = recipe.steps_per_epoch(case.spec.training.batch_size, case.facts)
    least_steps, (least, most) = recipe.LEAST_STEPS[case.way], recipe.EPOCHS[case.way]
    if value > least and value == recipe.epochs_for_steps(case.way, epoch_steps):
        make = inflected(case.facts.train_count, f"{case.example} makes", f"{case.example}s make")
        steps = inflected(epoch_steps, "step")
        few = f"{case.facts.train_count:,} training {make} {epoch_steps:,} {steps} an epoch"
        if case.steps < least_steps:
            return f"{few}: {least_steps:,} steps would be usual, but the recipe never takes more than {value} epochs"
        return f"{few}, so {value} epochs are needed for the smallest useful number of steps ({least_steps:,})"
    if case.way == "head":
        return f"features are computed once, so that {most} epochs of a head take seconds"
    return f"{least} epochs at least, and more for small datasets"


def _batch_size(value: Any, case: AnyCase) -> str:  # noqa: ANN401  any JSON
    parts, count = case.spec.training.accumulate_steps, case.facts.train_count
    if isinstance(value, int) and value >= count:
        return inflected(
            count,
            f"the only training {case.example} makes one batch",
            f"all {count:,} training {case.example}s make one batch",
        )
    usual = "larger batches are faster from scratch" if value > 64 else "a usual size that fits into any memory"  # noqa: PLR2004  between 32 and 128
    return usual if parts == 1 else f"{usual}, in {parts} equal parts (`accumulate_steps`)"


def _monitor(value: str, case: AnyCase) -> str:
    if value.endswith("loss"):
        count = case.facts.train_count
        few = f"{count:,} training {inflected(count, case.example)}" if case.facts.target == "class" else "such targets"
        reported = f"for {few} the loss separates epochs better than the accuracy does"
        return f"{reported}; all classes count equally in it, as in training" if "balanced" in value else reported
    return f"there are enough validation {case.example}s to measure accuracy well" + (
        "; rare classes count as much as common ones" if "balanced" in value else ""
    )


def _fit_to_budget(value: list[str], case: AnyCase) -> str:
    budget = case.spec.training.budget_minutes
    if not value:
        return "there is no budget" if budget is None else "the spec leaves nothing that could be reduced"
    plans = ladder.rungs(case.spec, case.facts)
    if len(plans) == 1 and plans[0].least_epochs == case.spec.training.epochs:
        return "the spec leaves these to the recipe, but they are already at their minimum: nothing can be reduced"
    assert budget is not None, "nothing is reduced without a budget"
    minutes = f"{budget:g} {inflected(budget, 'minute')}"
    return f"the spec leaves these to the recipe, so the trainer may reduce them to keep to {minutes}"


def _compression(steps: list[str], _value: Any, _case: AnyCase) -> str:  # noqa: ANN401  any JSON
    return (
        "the spec gives neither a ratio nor a speedup: 0.3 of the channels is about half of the work"
        if steps[-1] == "ratio"
        else "it is the first of the kinds, and the spec gives none"
    )


_OF_TRAINING: Mapping[str, Callable[[Any, AnyCase], str]] = {
    "epochs": _epochs,
    "batch_size": _batch_size,
    "monitor": _monitor,
    "fit_to_budget": _fit_to_budget,
}
_OF_SECTION: Mapping[str, Callable[[list[str], Any, AnyCase], str]] = {
    "task": _task,
    "transfer": _transfer,
    "regularizers": _regularizers,
    "loss": _loss,
    "optimizer": _optimizer,
    "schedule": _schedule,
    "training": _training,
    "compression": _compression,
}
