"""Training spec of texts: what any task may ask, and what is asked of texts alone."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from models_store.spec.compression import Compression
from models_store.spec.contradiction import contradiction
from models_store.spec.facts import Target
from models_store.spec.network import Network
from models_store.spec.recipe import Recipe
from models_store.spec.train import CHOSEN, ResolvedSpec, TrainSpec
from models_store.spec.vocabulary import Words
from models_store.tasks.text.augmentation import Augmentation
from models_store.tasks.text.augmentation_rules import refuse_what_the_dataset_lacks
from models_store.tasks.text.backbones.backbone import Backbone
from models_store.tasks.text.backbones.encoder import Encoder
from models_store.tasks.text.facts import TextFacts
from models_store.tasks.text.input import TextInput
from models_store.tasks.text.recipe import TextRecipe
from models_store.tasks.text.rules import refuse_what_contradicts_itself
from models_store.tasks.text.synonyms import WORDS

Task = Literal["text_classification", "text_multilabel", "text_regression"]


class TextSpec(TrainSpec):
    """A training spec of texts: what to learn from which dataset, and how. Everything but `name` and `dataset` has a default."""

    targets: ClassVar[Mapping[str, Target]] = {
        "text_classification": "class",
        "text_multilabel": "labels",
        "text_regression": "number",
    }
    recipe: ClassVar[Recipe[Any, Any]] = TextRecipe()
    words: ClassVar[Words] = WORDS
    places: ClassVar[Mapping[str, str]] = {"input": "head", "backbone": "head", "augmentation": "regularizers"}

    task: Task | None = Field(
        None,
        description="what is learned: one class of a text, any number of labels, or a number; null: chosen by the recipe: the one that fits the dataset",
    )
    input: TextInput = Field(TextInput(), description="how texts become the input of the net")
    backbone: Backbone | None = Field(
        None, description="the network below the head" + CHOSEN + "nb_linear, or tfidf_linear for numbers"
    )
    augmentation: list[Augmentation] | None = Field(
        None,
        max_length=32,
        description="random changes of every training text in every batch; empty: none"
        + CHOSEN
        + "paraphrases where the dataset has some, else none",
    )
    compression: Compression | None = Field(None, description="smaller variants to make; null: none")

    @property
    def network(self) -> Network | None:
        """Return the backbone."""
        return self.backbone

    @model_validator(mode="after")
    def _refuse_what_texts_contradict(self) -> Self:
        refuse_what_contradicts_itself(self)
        return self


class ResolvedTextSpec(ResolvedSpec, TextSpec):
    """A spec of texts with every default filled in: jobs store it, and workers carry it out."""

    asked: ClassVar[type[TrainSpec]] = TextSpec

    task: Task
    backbone: Backbone
    augmentation: list[Augmentation]

    def with_examples_as_they_are(self) -> Self:
        """Return the spec without augmentation."""
        return self.model_copy(update={"augmentation": []})

    @model_validator(mode="after")
    def _refuse_an_unknown_encoder(self) -> Self:
        if isinstance(self.backbone, Encoder) and self.backbone.architecture is None:
            raise contradiction(
                "backbone/architecture",
                "the architecture is not known before the file of weights is looked at; in the values of a search, "
                "give it as a dry run with this encoder shows it",
                None,
            )
        return self

    @model_validator(mode="after")
    def _refuse_what_the_dataset_lacks(self, info: ValidationInfo) -> Self:
        if isinstance(info.context, TextFacts):
            refuse_what_the_dataset_lacks(self, info.context)
        return self


def of_texts(spec: ResolvedSpec) -> ResolvedTextSpec:
    """Return a spec that its task says is of texts."""
    assert isinstance(spec, ResolvedTextSpec), spec.task
    return spec
