"""Plans among which a trainer chooses to keep to its budget, from the recipe's own plan to the cheapest.

Each rung is a whole spec that the recipe could have chosen, with nothing changed but what `training.fit_to_budget`
names. On each of them the epochs may be lowered to what gets anywhere at all.
"""

from contextlib import suppress
from dataclasses import dataclass

from pydantic import ValidationError

from models_store.spec.facts import DatasetFacts
from models_store.spec.recipe import with_epochs
from models_store.spec.train import ResolvedSpec


@dataclass(frozen=True)
class Rung:
    """A plan with its largest number of epochs, and the smallest that makes sense."""

    spec: ResolvedSpec
    least_epochs: int

    def with_epochs(self, epochs: int, facts: DatasetFacts) -> ResolvedSpec:
        """Return the plan with this number of epochs."""
        document = with_epochs(self.spec.recipe, self.spec.model_dump(), epochs, facts)
        return type(self.spec).model_validate(document)


def rungs(spec: ResolvedSpec, facts: DatasetFacts) -> list[Rung]:
    """Return the plans that a trainer may choose from, the best first; the first is the spec's own."""
    may_be_shorter = "training.epochs" in spec.training.fit_to_budget
    plans = [spec]
    for document in spec.recipe.plans(spec.model_dump(), facts):
        with suppress(ValidationError):  # what the user asked for does not go with this one
            plans.append(type(spec).model_validate(document, context=facts))
    made: list[Rung] = []
    for plan in plans:
        if all(plan != rung.spec for rung in made):
            least = spec.recipe.least_epochs(plan.model_dump(), facts) if may_be_shorter else plan.training.epochs
            made.append(Rung(plan, least))
    return made
