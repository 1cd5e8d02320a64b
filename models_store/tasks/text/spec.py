"""Training spec of texts: what any task may ask, and what is asked of texts alone."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from models_store.spec.compression import Compression
from models_store.spec.facts import Target
from models_store.spec.network import Network
from models_store.spec.recipe import Recipe
from models_store.spec.train import CHOSEN, ResolvedSpec, TrainSpec
from models_store.spec.vocabulary import Words
from models_store.tasks.text.backbones.backbone import Backbone
from models_store.tasks.text.input import TextInput
from models_store.tasks.text.recipe import TextRecipe
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
    places: ClassVar[Mapping[str, str]] = {"input": "head", "backbone": "head"}

    task: Task | None = Field(
        None,
        description="what is learned: one class of a text, any number of labels, or a number; null: chosen by the recipe: the one that fits the dataset",
    )
    input: TextInput = Field(TextInput(), description="how texts become the input of the net")
    backbone: Backbone | None = Field(None, description="the network below the head" + CHOSEN + "text_cnn")
    compression: Compression | None = Field(None, description="smaller variants to make; null: none")

    @property
    def network(self) -> Network | None:
        """Return the backbone."""
        return self.backbone


class ResolvedTextSpec(ResolvedSpec, TextSpec):
    """A spec of texts with every default filled in: jobs store it, and workers carry it out."""

    asked: ClassVar[type[TrainSpec]] = TextSpec

    task: Task
    backbone: Backbone


def of_texts(spec: ResolvedSpec) -> ResolvedTextSpec:
    """Return a spec that its task says is of texts."""
    assert isinstance(spec, ResolvedTextSpec), spec.task
    return spec
