"""Recipe of texts: what a spec leaves out."""

from typing import Any

from models_store.spec.facts import Target
from models_store.spec.recipe import Document, NetCosts, Recipe
from models_store.tasks.text import defaults
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
