"""Recipe of images: each method calls the module that has its part, such as `defaults`, `plans` or `reasons`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from models_store.spec.facts import Target
from models_store.spec.reasons import Case
from models_store.spec.recipe import Document, Misfit, NetCosts, Recipe, Warnings
from models_store.tasks.image import defaults, plans, reasons, rules, sources
from models_store.tasks.image.backbones.multiplications import giga_macs
from models_store.tasks.image.facts import ImageFacts

if TYPE_CHECKING:
    from models_store.tasks.image.spec import ResolvedImageSpec


class ImageRecipe(Recipe[ImageFacts, "ResolvedImageSpec"]):
    """What specs of images leave out."""

    example = "image"
    planned = ("input.size", "backbone.freeze", "transfer.probe_epochs", "training.epochs")

    def fill(self, document: Document, facts: ImageFacts, *, target: Target) -> Document:
        """Return a spec's document with every default decided."""
        return defaults.fill(document, facts, target=target)

    def plans(self, document: Document, facts: ImageFacts) -> Iterator[Document]:
        """Yield resolved specs that are cheaper, the best first."""
        return plans.plans(document, facts)

    def costs(self, document: Document) -> NetCosts:
        """Return what the time of a resolved spec's net depends on."""
        backbone, size = document["backbone"], document["input"]["size"]
        return NetCosts(
            kind=backbone["kind"],
            way=defaults.way_of(document),
            freeze=backbone.get("freeze") or "none",
            size=size,
            giga_macs=giga_macs(backbone, size),
        )

    def warnings_about(self, spec: "ResolvedImageSpec", facts: ImageFacts) -> Warnings:
        """Return warnings about images, the backbone and augmentation."""
        return rules.warnings_about(spec, facts)

    def reason(self, steps: list[str], value: Any, case: Case[ImageFacts, "ResolvedImageSpec"]) -> str | None:  # noqa: ANN401  any JSON
        """Return why a value was chosen that has to do with images."""
        return reasons.reason(steps, value, case)

    def misfit(self, spec: "ResolvedImageSpec", source: Document, *, reference: str) -> Misfit | None:
        """Return what does not fit the weights of another model."""
        return sources.misfit(spec, source, reference=reference)

    def teacher_misfit(self, spec: "ResolvedImageSpec", source: Document, *, reference: str) -> Misfit | None:
        """Return what does not fit a teacher."""
        return sources.teacher_misfit(spec, source, reference=reference)
