"""Answers about models, their versions and aliases; `variants` has their files."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from models_store.models import registry
from models_store.tasks.rooms import task_of
from service.answers.aliases import Alias
from service.answers.answer import Answer, ShapeOf, TaskName
from service.answers.encoders import EncoderTaken
from service.answers.reports import Figures
from service.answers.variants import Variant


class InputTaken(Answer):
    """Image input of a version; `POST /predict` decodes and scales every image to it."""

    size: int = Field(description="side, in pixels")
    channels: Literal[1, 3, 4]
    fit: Literal["crop", "stretch"]
    white_level: int | None = Field(
        None, description="value that is white in images with 16 bits; null or missing: 65535"
    )


class TokenizerTaken(Answer):
    """Tokenizer of a version: its kind, and the options that this kind has."""

    kind: str
    min_count: int | None = Field(None, description="times that a known token occurs in the training texts, at least")
    vocabulary: int | None = Field(None, description="largest number of different tokens")
    mode: Literal["precise", "search"] | None = Field(None, description="how long words are cut")
    hmm: bool | None = Field(None, description="whether words that the dictionary lacks are found")
    own_words: list[str] | None = Field(None, description="words that were added to the dictionary")


class TextInputTaken(Answer):
    """Text input of a version; `POST /predict` cuts every text to it."""

    tokenizer: TokenizerTaken
    max_tokens: int = Field(description="largest number of tokens that the net sees of a text")
    truncate: Literal["end", "start", "middle"] = Field(description="which part of a longer text is cut off")


class Version(Answer):
    """The result of one job: a model's version with its variants."""

    id: str
    model: str
    version: int
    job: str
    dataset: str | None = Field(description="the dataset on which it was trained; null: its task has no data")
    created_at: datetime
    default_variant: str = Field(
        description="variant that answers on the host that made it if none is named; once CPU and CUDA have had the "
        "same default, it is the one for a CPU"
    )
    defaults: dict[str, str] = Field(
        description="provider (cpu, cuda) → variant that answers there if none is named; fp32 on a provider that is "
        "not listed"
    )
    not_made: dict[str, str] = Field(description="requested variant → why it could not be made")
    warnings: list[str] = Field(description="probable problems of the model, and what to do")
    compressed_from: str | None = Field(description="`name:version` of the compressed version; null: it was trained")
    weights: str | None = Field(
        description=(
            "SHA-256 of the trained weights, from which `backbone.weights: name:version` starts; null: not kept"
        )
    )
    task: TaskName
    labels: list[str] = Field(description="names of the classes or labels; empty for numbers")
    input: Annotated[dict[str, Any] | None, ShapeOf(InputTaken | TextInputTaken | None)] = Field(
        description="what it takes of an image or of a text; null: the task has no choice of inputs"
    )
    encoder: Annotated[dict[str, Any] | None, ShapeOf(EncoderTaken | None)] = Field(
        description="pretrained encoder that it started from: the id, name and SHA-256 of the file of weights, and its "
        "architecture; null: it started from none"
    )
    metrics: Annotated[dict[str, Any], ShapeOf(dict[str, Figures])] = Field(description="split → measured figures")
    variants: list[Variant]
    description: str | None = Field(description="description by its owner")
    tags: list[str]

    @classmethod
    def of(cls, version: registry.Version) -> "Version":
        """Return the answer for a stored version."""
        return cls(
            id=version.id,
            model=version.model,
            version=version.number,
            job=version.job_id,
            dataset=version.dataset_id,
            created_at=datetime.fromtimestamp(version.created_at, UTC),
            default_variant=version.default_variant,
            defaults={str(provider): variant for provider, variant in version.defaults.items()},
            not_made=version.card.get("not_made", {}),
            warnings=version.card.get("warnings", []),
            compressed_from=version.card.get("compressed_from"),
            weights=version.weights_blob,
            task=task_of(version.card),
            labels=version.card["labels"],
            input=version.card.get("input"),
            encoder=version.card.get("encoder"),
            metrics=version.card.get("metrics", {}),
            variants=[
                Variant.model_validate(
                    {
                        **variant.card,
                        "name": variant.name,
                        "sha256": variant.blob,
                        "size_bytes": variant.size_bytes,
                        "accepted": variant.accepted,
                        "default": variant.name == version.default_variant,
                    }
                )
                for variant in version.variants
            ],
            description=version.description,
            tags=version.tags,
        )


class VersionSummary(Answer):
    """A version in a model's list."""

    version: int
    job: str
    created_at: datetime
    default_variant: str
    description: str | None = Field(description="description by its owner")
    tags: list[str]


class Model(Answer):
    """A model with its versions and aliases."""

    name: str
    created_at: datetime
    versions: list[VersionSummary] = Field(description="newest first")
    aliases: dict[str, Alias]
    description: str | None = Field(description="description by its owner")
    tags: list[str]

    @classmethod
    def of(cls, model: registry.Model) -> "Model":
        """Return the answer for a stored model."""
        return cls(
            name=model.name,
            created_at=datetime.fromtimestamp(model.created_at, UTC),
            versions=[
                VersionSummary(
                    version=version.number,
                    job=version.job_id,
                    created_at=datetime.fromtimestamp(version.created_at, UTC),
                    default_variant=version.default_variant,
                    description=version.description,
                    tags=version.tags,
                )
                for version in model.versions
            ],
            aliases={name: Alias.of(alias) for name, alias in model.aliases.items()},
            description=model.description,
            tags=[*model.tags],
        )


class ModelList(Answer):
    """A page of models, by name."""

    items: list[Model]
    next: str | None = Field(description="cursor of the next page; null: this is the last page")
