"""Protocol of a recipe, which decides what a spec leaves out, and what all recipes have in common.

Three ways lead from examples to a model:

- **head**: a pretrained network stays as it is, and a head trains on its features, computed once.
- **fine_tune**: the network's pretrained weights train on, with the head.
- **scratch**: a network trains from random weights.

What a spec says stays as it is; a recipe decides the rest beside it.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from models_store.spec.facts import DatasetFacts, Target
from models_store.spec.fitted import left_to_the_trainer
from models_store.spec.optimizer import USUAL_RATES
from models_store.spec.training import LARGEST_PROBED_BATCH
from models_store.spec.transfer import Transfer

if TYPE_CHECKING:
    from models_store.spec.reasons import Case
    from models_store.spec.train import ResolvedSpec, TrainSpec

Document = dict[str, Any]
Way = Literal["head", "fine_tune", "scratch"]
Warnings = list[tuple[bool, str]]
"""warnings, each with whether it is so"""
Facts_contra = TypeVar("Facts_contra", bound=DatasetFacts, contravariant=True)
Spec_contra = TypeVar("Spec_contra", bound="ResolvedSpec", contravariant=True)

RARE = 2.0
"""ratio of the most common to the rarest class from which the loss weighs classes"""
MANY = 10_000
"""training examples from which on a tenth of them tells accuracies apart"""
EPOCHS: dict[Way, tuple[int, int]] = {"head": (50, 50), "fine_tune": (2, 12), "scratch": (10, 25)}
LEAST_STEPS: dict[Way, int] = {"head": 400, "fine_tune": 300, "scratch": 1_000}
"""smallest useful number of steps: small datasets get more epochs, up to MOST_EPOCHS"""
MOST_EPOCHS = 200
LEAST_HEAD_EPOCHS = 10
"""steps of a head that must be ready sooner than after its 50 epochs"""
AVERAGED: Document = {"kind": "constant", "warmup_epochs": 0.5}
"""schedule of an optimizer that averages weights instead of lowering the learning rate"""


@dataclass(frozen=True)
class NetCosts:
    """What the time of a resolved spec's net depends on; `giga_macs` are the multiplications for one example."""

    kind: str
    way: Way = "scratch"
    freeze: str = "none"
    size: int = 1
    giga_macs: float = 0.001


@dataclass(frozen=True)
class Misfit:
    """A value of a spec that does not go with a model that it builds on."""

    pointer: str
    detail: str
    allowed: list[Any] | None = None


class Recipe(Protocol[Facts_contra, Spec_contra]):
    """What the specs of a task leave out. Methods with a body suit a net of one size that trains from random weights."""

    example: str = "example"
    """the word for one example, such as `image`"""
    planned: tuple[str, ...] = ("transfer.probe_epochs", "training.epochs")
    """parts of a spec that its version's card shows as they were planned and as they were fitted to the budget"""

    def fill(self, document: Document, facts: Facts_contra, *, target: Target) -> Document:
        """Return a spec's document, whose task learns `target`, with every default decided; what was chosen stays.

        Only null values are filled in: a document with all its declared defaults gives the same result.
        """
        training = document["training"]
        batch_size = training["batch_size"] or usual_batch_size("scratch", facts, parts=training["accumulate_steps"])
        epoch_steps = steps_per_epoch(batch_size, facts)
        epochs = training["epochs"] or max(EPOCHS["scratch"][0], epochs_for_steps("scratch", epoch_steps))
        loss = document["loss"] or usual_loss(target, "scratch", facts)
        monitor = usual_monitor(target, "scratch", facts, is_balanced=is_balanced(loss, training))
        decided = {"epochs": epochs, "batch_size": batch_size, "monitor": training["monitor"] or monitor}
        left_out: Document = {
            "transfer": Transfer().model_dump(),
            "regularizers": usual_regularizers("scratch", document, epochs * epoch_steps),
            "loss": loss,
            "optimizer": {"kind": "adamw", "lr": 3e-3, "weight_decay": 0.05},
            "schedule": usual_schedule("scratch", document),
        }
        decided |= {"fit_to_budget": left_to_the_trainer(document)}
        return completed(document | {"training": training | decided}, left_out, way="scratch")

    def plans(self, document: Document, facts: Facts_contra) -> Iterator[Document]:  # noqa: ARG002  of other recipes
        """Yield resolved specs that are cheaper than one with a budget, the best first."""
        yield from ()

    def least_epochs(self, document: Document, facts: Facts_contra) -> int:
        """Return the smallest useful number of epochs of a resolved spec whose number the recipe chose."""
        way, training = self.costs(document).way, document["training"]
        least = LEAST_HEAD_EPOCHS if way == "head" else EPOCHS[way][0]
        epoch_steps = steps_per_epoch(training["batch_size"], facts)
        return min(int(training["epochs"]), max(least, epochs_for_steps(way, epoch_steps)))

    def costs(self, document: Document) -> NetCosts:
        """Return what the time of a resolved spec's net depends on."""
        return NetCosts(kind=document["task"])

    def warnings_about(self, spec: Spec_contra, facts: Facts_contra) -> Warnings:  # noqa: ARG002  of other recipes
        """Return warnings about what the task alone knows of: allowed, and unlikely to be meant."""
        return []

    def reason(self, steps: list[str], value: Any, case: "Case[Facts_contra, Spec_contra]") -> str | None:  # noqa: ANN401, ARG002  any JSON
        """Return why a value was chosen, in one sentence; None: for the reason that all tasks have."""
        return None

    def misfit(self, spec: Spec_contra, source: Document, *, reference: str) -> Misfit | None:  # noqa: ARG002  of other recipes
        """Return what does not fit the weights of a model that was trained by `source`; `reference` names it."""
        return None

    def teacher_misfit(self, spec: Spec_contra, source: Document, *, reference: str) -> Misfit | None:  # noqa: ARG002  of other recipes
        """Return what does not fit a teacher that was trained by `source`."""
        return None


class FromScratch(Recipe[DatasetFacts, "ResolvedSpec"]):
    """The recipe of tasks that have none of their own."""


FROM_SCRATCH = FromScratch()


def filled(asked: "type[TrainSpec]", document: Document, facts: DatasetFacts) -> Document:
    """Return a spec's document with every default decided; what is asked for stays as it is."""
    task = document["task"] or _learning(asked.targets, facts.target)
    return asked.recipe.fill(document | {"task": task}, facts, target=asked.targets[task])


def _learning(targets: Mapping[str, Target], target: Target) -> str:
    """Return the task that learns a target; the first, which is refused later, where none does."""
    return next((task for task, learned in targets.items() if learned == target), next(iter(targets)))


def completed(document: Document, left_out: Document, *, way: Way) -> Document:
    """Return a spec with the parts that it leaves out, and with a learning rate."""
    whole = document | {name: value for name, value in left_out.items() if document[name] is None}
    if whole["optimizer"].get("lr") is None:
        whole["optimizer"] = whole["optimizer"] | {"lr": usual_rate(whole["optimizer"], way)}
    return whole


def with_epochs(recipe: Recipe[Any, Any], document: Document, epochs: int, facts: DatasetFacts) -> Document:
    """Return a resolved spec with another number of epochs; an average of weights that the recipe chose is adapted."""
    training = document["training"]
    changed = document | {"training": training | {"epochs": epochs}}
    if "regularizers" not in training["fit_to_budget"] or recipe.costs(document).way == "head":
        return changed
    decay = _ema_decay(epochs * steps_per_epoch(training["batch_size"], facts))
    parts = [part | {"decay": decay} if part["kind"] == "ema" else part for part in document["regularizers"]]
    return changed | {"regularizers": parts}


def is_uneven(facts: DatasetFacts) -> bool:
    """Return whether the rarest class is so much rarer than the most common one that the loss weighs them."""
    counts = [count for count in facts.counts.values() if count]
    return facts.target == "class" and len(counts) > 1 and max(counts) >= RARE * min(counts)


def is_balanced(loss: Document, training: Document) -> bool:
    """Return whether all classes count equally in training."""
    return loss.get("class_weights") == "balanced" or training["sampling"] == "balanced"


def usual_batch_size(way: Way, facts: DatasetFacts, *, parts: int) -> int:
    """Return the examples per step: the usual count, rounded up so that each step falls into so many equal parts."""
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


def epochs_for_steps(way: Way, epoch_steps: int) -> int:
    """Return the smallest number of epochs that give a way of training its least steps; for very small datasets, the largest allowed number."""
    return min(MOST_EPOCHS, math.ceil(LEAST_STEPS[way] / epoch_steps))


def usual_monitor(target: Target, way: Way, facts: DatasetFacts, *, is_balanced: bool) -> str:
    """Return what picks the best epoch: few examples tell losses apart better than accuracies.

    A net that learns all classes alike answers the rare ones more often than they come, and a loss that counts examples
    equally would pick an early epoch, before the net has learned that.
    """
    if target != "class" or way == "head" or facts.train_count < MANY:
        return "val_balanced_loss" if is_balanced and target != "number" else "val_loss"
    return "val_balanced_accuracy" if is_uneven(facts) else "val_accuracy"


def usual_regularizers(way: Way, document: Document, steps: int) -> list[Document]:
    """Return a penalty for a head, else dropout and an average of the weights, unless the optimizer averages them."""
    if way == "head":
        return [{"kind": "l2", "strength": 0.02}]
    averages = (document["optimizer"] or {}).get("kind") == "schedule_free_adamw"
    average: list[Document] = [] if averages else [{"kind": "ema", "decay": _ema_decay(steps)}]
    return [{"kind": "dropout", "probability": 0.2}, *average]


def _ema_decay(steps: int) -> float:
    return round(min(0.999, max(0.9, 1 - 10 / steps)), 4)  # the last tenth of the run


def usual_loss(target: Target, way: Way, facts: DatasetFacts) -> Document:
    """Return the loss of a target; rare classes weigh as much as others."""
    if target == "number":
        return {"kind": "mse"}
    if target == "labels":
        return {"kind": "binary_cross_entropy"}
    return {
        "kind": "cross_entropy",
        "label_smoothing": 0.0 if way == "head" else 0.1,
        "class_weights": "balanced" if is_uneven(facts) else None,
    }


def usual_rate(optimizer: Document, way: Way) -> float:
    """Return the learning rate of an optimizer that was given without one: the usual rate, or less for pretrained weights."""
    usual = USUAL_RATES[optimizer["kind"]]
    return usual / 10 if way == "fine_tune" else usual


def usual_schedule(way: Way, document: Document) -> Document:
    """Return how the learning rate changes in a way of training, with the optimizer that the spec names."""
    if (document["optimizer"] or {}).get("kind") == "schedule_free_adamw":
        return AVERAGED
    if way == "scratch":
        return {"kind": "one_cycle", "rise_share": 0.25}
    return {"kind": "cosine", "warmup_epochs": 0.5 if way == "fine_tune" else 0.0}
