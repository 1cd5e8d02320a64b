"""Recipe of texts: what a spec leaves out."""

from typing import Any

from models_store.spec.facts import Target
from models_store.spec.reasons import Case
from models_store.spec.recipe import Document, NetCosts, Recipe, Warnings
from models_store.tasks.text import defaults, reasons, rules
from models_store.tasks.text.facts import TextFacts


class TextRecipe(Recipe[TextFacts, Any]):
    """What specs of texts leave out."""

    example = "text"

    def fill(self, document: Document, facts: TextFacts, *, target: Target) -> Document:
        """Return a spec's document with every default decided."""
        return super().fill(defaults.fill(document, facts), facts, target=target)

    def costs(self, document: Document) -> NetCosts:
        """Return what the time of a resolved spec's net depends on."""
        return NetCosts(kind=document["backbone"]["kind"], size=document["input"]["max_tokens"])

    def warnings_about(self, spec: Any, facts: TextFacts) -> Warnings:  # noqa: ANN401  a resolved spec of texts
        """Return warnings about the input, and about augmentation."""
        return rules.warnings_about(spec, facts)

    def reason(self, steps: list[str], value: Any, case: Case[TextFacts, Any]) -> str | None:  # noqa: ANN401  any JSON
        """Return why a value was chosen that has to do with texts."""
        return reasons.reason(steps, value, case)
