"""Backbones that look at which n-grams a text has, whatever their order. With `code_points` all of it is in the file."""

from typing import Annotated, Literal

from pydantic import Field

from models_store.spec.network import Network

Length = Annotated[int, Field(ge=1, le=8)]


class NgramNetwork(Network):
    """The base of networks on n-grams. They are those of the training texts; others are not seen."""

    weights: None = Field(
        None, description="null: n-grams are those of the training texts, and their weights begin there"
    )
    ngrams: list[Length] = Field(
        [1, 2, 3, 4, 5],
        max_length=8,
        description="lengths of the n-grams of tokens, such as characters, in tokens",
    )
    word_ngrams: list[Length] | None = Field(
        None,
        max_length=8,
        description="lengths of the n-grams of whole words, in words, found in the file itself: a run of letters, marks and digits, or one character of a script without spaces; only with `input.tokenizer: code_points`. Null: chosen by the recipe: 1 to 3 with code_points, else none",
    )
    min_count: int = Field(
        2, ge=1, le=1000, description="number of training texts that an n-gram must be in; rarer ones are not seen"
    )
    vocabulary: int = Field(
        1_000_000,
        ge=100,
        le=5_000_000,
        description="largest number of different n-grams; those of the most training texts are kept. Fewer make a smaller file",
    )

    @property
    def has_channels(self) -> bool:
        """Return False: its rows are n-grams, of which `vocabulary` keeps fewer."""
        return False

    @property
    def has_vocabulary(self) -> bool:
        """Return True: it has a row of weights for each n-gram."""
        return True

    @property
    def has_static_layers(self) -> bool:
        """Return False: rows are looked up and added."""
        return False

    @property
    def has_dynamic_layers(self) -> bool:
        """Return False, as above."""
        return False

    @property
    def has_linear_layers(self) -> bool:
        """Return False, as above."""
        return False


class TfidfLinear(NgramNetwork):
    """A weight of each n-gram for each class. Rare n-grams count more (inverse document frequency), and all texts have the same length (L2 norm). A linear model: the head adds a bias only."""

    kind: Literal["tfidf_linear"] = "tfidf_linear"

    @property
    def stages(self) -> tuple[str, ...]:
        """Return the names of its parts, from input to output."""
        return ("weights",)


class NbLinear(NgramNetwork):
    """As tfidf_linear, but an n-gram counts by how unevenly the classes have it: its naive Bayes log-count ratio (Wang and Manning 2012, NBSVM). For classes and labels."""

    kind: Literal["nb_linear"] = "nb_linear"
    smoothing: float = Field(
        1.0, gt=0, le=100, description="added to each count, so that rare n-grams have moderate ratios"
    )

    @property
    def stages(self) -> tuple[str, ...]:
        """Return the names of its parts, from input to output."""
        return ("weights",)


class NgramBag(NgramNetwork):
    """The mean of the n-grams' embeddings, as fastText has it (Joulin et al. 2017, arXiv:1607.01759)."""

    kind: Literal["ngram_bag"] = "ngram_bag"
    ngrams: list[Length] = Field([1, 2, 3], max_length=8, description=NgramNetwork.model_fields["ngrams"].description)
    vocabulary: int = Field(
        100_000, ge=100, le=5_000_000, description=NgramNetwork.model_fields["vocabulary"].description
    )
    embedding: int = Field(32, ge=2, le=1024, description="numbers that stand for one n-gram")

    @property
    def stages(self) -> tuple[str, ...]:
        """Return the names of its parts, from input to output."""
        return ("embedding",)
