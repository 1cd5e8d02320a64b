"""Plans among which a trainer chooses to keep to its budget, from the recipe's own plan to the cheapest.

Each rung is a whole spec that the recipe could have chosen, with nothing changed but what `training.fit_to_budget`
names. On each of them the epochs may be lowered to what gets anywhere at all. Fine-tuning keeps the images as large
as it can: first more of the backbone is frozen, then images are three quarters as wide. Below that a head on features
of full-sized images, which are computed once, is better and cheaper than fine-tuning on small ones.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from models_store.spec.facts import DatasetFacts
from models_store.spec.fitted import LEFT_OUT, SMALLER, SMALLEST_SIDE
from models_store.spec.network import Network
from models_store.spec.train import ResolvedSpec
from models_store.tasks.image import recipe

Document = dict[str, Any]

SIDE_STEP = 32
DEEPER = 0.6
"""share of the backbone's parts that are frozen to save time"""


@dataclass(frozen=True)
class Rung:
    """A plan with its largest number of epochs, and the smallest that makes sense."""

    spec: ResolvedSpec
    least_epochs: int

    def with_epochs(self, epochs: int, facts: DatasetFacts) -> ResolvedSpec:
        """Return the plan with this number of epochs."""
        document = recipe.with_epochs(self.spec.model_dump(), epochs, facts)
        return ResolvedSpec.model_validate(document)


def rungs(spec: ResolvedSpec, facts: DatasetFacts) -> list[Rung]:
    """Return the plans that a trainer may choose from, the best first; the first is the spec's own."""
    may_be_shorter = "training.epochs" in spec.training.fit_to_budget
    plans = [spec]
    for document in _documents(spec.model_dump(), facts):
        with suppress(ValidationError):  # what the user asked for does not go with this one
            plans.append(ResolvedSpec.model_validate(document, context=facts))
    made: list[Rung] = []
    for plan in plans:
        if all(plan != rung.spec for rung in made):
            least = recipe.least_epochs(plan.model_dump(), facts) if may_be_shorter else plan.training.epochs
            made.append(Rung(plan, least))
    return made


def _documents(document: Document, facts: DatasetFacts) -> Iterator[Document]:
    fitted = set(document["training"]["fit_to_budget"])
    part = recipe.network_of(document["backbone"])
    sizes = list(_smaller_sizes(document, part)) if "input.size" in fitted else []
    way = recipe.way_of(document)
    if way == "fine_tune":
        deeper = _deeper(part, document["backbone"]["freeze"]) if "backbone.freeze" in fitted else None
        freezes = [document["backbone"]["freeze"], *([deeper] if deeper else [])]
        for size in [document["input"]["size"], *sizes[:1]]:
            for freeze in freezes:
                yield _at(document, size) | {"backbone": document["backbone"] | {"freeze": freeze}}
        if not {"backbone.freeze", "training.epochs", *LEFT_OUT} <= fitted:
            return
        document = recipe.as_head(document, facts)
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
