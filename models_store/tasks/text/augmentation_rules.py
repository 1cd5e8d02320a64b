"""Rules of augmentation: parts that lack what they need from the dataset, and parts that have no effect."""

from typing import TYPE_CHECKING

from models_store.spec.contradiction import contradiction
from models_store.spec.recipe import Warnings
from models_store.tasks.text.backbones.sequence import SequenceNetwork
from models_store.tasks.text.facts import TextFacts

if TYPE_CHECKING:
    from models_store.tasks.text.spec import ResolvedTextSpec


def refuse_what_the_dataset_lacks(spec: "ResolvedTextSpec", facts: TextFacts) -> None:
    """Check that the parts find what they need in the dataset.

    Raises:
        PydanticCustomError: of type `contradiction`, with a pointer and what is allowed.
    """
    for number, part in enumerate(spec.augmentation):
        if part.kind == "paraphrases" and not facts.has_paraphrases:
            message = "the dataset has no paraphrases: upload it with a column `paraphrase` or a file `paraphrases.csv` (id,text), or leave the part out"
            raise contradiction(f"augmentation/{number}", message, None)
        has_vectors = isinstance(spec.backbone, SequenceNetwork) and spec.backbone.weights is not None
        if part.kind == "synonym_replacement" and not facts.has_synonyms and not has_vectors:
            message = "the dataset has no synonyms: upload it with a file `synonyms.csv` (one group of equivalent words on each line), give `backbone.weights` with vectors of words, or leave the part out"
            raise contradiction(f"augmentation/{number}", message, None)


def warnings_of_augmentation(spec: "ResolvedTextSpec", facts: TextFacts) -> Warnings:
    """Return warnings about parts that are allowed and do nothing, or cost more than they look, each with whether it applies."""
    kinds = {part.kind for part in spec.augmentation}
    return [
        (
            "homophones" in kinds and facts.han_share == 0,
            "homophones: has hardly any effect, because no text is mostly Chinese",
        ),
        (
            "typos" in kinds and facts.han_share == 1,
            "typos: has hardly any effect, because all texts are mostly Chinese",
        ),
        (
            "mixup" in kinds and spec.training.batch_size == 1,
            "mixup: has no effect, because a batch of one text has no other text to mix with",
        ),
        (
            spec.freeze == "backbone" and bool(spec.augmentation),
            "augmentation with a frozen backbone: features can't be computed once, so the whole net runs in every epoch",
        ),
    ]
