"""Recipe of texts: what a spec leaves out."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from models_store.spec.facts import Target
from models_store.spec.fitted import is_left_out, left_to_the_trainer
from models_store.spec.reasons import Case
from models_store.spec.recipe import Document, Misfit, NetCosts, Recipe, Warnings
from models_store.tasks.text import defaults, plans, reasons, rules
from models_store.tasks.text.facts import TextFacts

if TYPE_CHECKING:
    from models_store.spec.training import Fitted

LEAST_MACS = 1e-6
"""of the smallest nets, in billions"""


class TextRecipe(Recipe[TextFacts, Any]):
    """What specs of texts leave out."""

    example = "text"
    planned = ("input.max_tokens", "backbone.freeze", "transfer.probe_epochs", "training.epochs")

    def fill(self, document: Document, facts: TextFacts, *, target: Target) -> Document:
        """Return a spec's document with every default decided."""
        others: list[Fitted] = ["input.max_tokens"] if is_left_out(document, "input.max_tokens") else []
        fitted = {"fit_to_budget": left_to_the_trainer(document, others=others)}
        decided = defaults.fill(document | {"training": document["training"] | fitted}, facts, target=target)
        return super().fill(decided, facts, target=target)

    def plans(self, document: Document, facts: TextFacts) -> Iterator[Document]:  # noqa: ARG002  no fact changes them
        """Yield resolved specs that are cheaper, the best first."""
        return plans.plans(document)

    def costs(self, document: Document) -> NetCosts:
        """Return what the time of a resolved spec's net depends on."""
        backbone, tokens = document["backbone"], document["input"]["max_tokens"]
        return NetCosts(
            kind=backbone["kind"],
            way=defaults.way_of(backbone),
            freeze=backbone.get("freeze") or "none",
            size=tokens,
            giga_macs=max(LEAST_MACS, plans.giga_macs(backbone, tokens)),
        )

    def warnings_about(self, spec: Any, facts: TextFacts) -> Warnings:  # noqa: ANN401  a resolved spec of texts
        """Return warnings about the input, and about augmentation."""
        return rules.warnings_about(spec, facts)

    def teacher_misfit(self, spec: Any, source: Document, *, reference: str) -> Misfit | None:  # noqa: ANN401  a resolved spec of texts
        """Return what does not fit a teacher: both are given the same tokens, and tokenizers that learn are their own."""
        return rules.teacher_misfit(spec, source, reference=reference)

    def reason(self, steps: list[str], value: Any, case: Case[TextFacts, Any]) -> str | None:  # noqa: ANN401  any JSON
        """Return why a value was chosen that has to do with texts."""
        return reasons.reason(steps, value, case)
