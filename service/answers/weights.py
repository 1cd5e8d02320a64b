"""Answers about users' files of weights."""

from datetime import UTC, datetime

from pydantic import Field

from models_store.models import weights
from service.answers.answer import Answer
from service.answers.encoders import EncoderFound


class Weights(Answer):
    """A safetensors file with initial weights."""

    id: str = Field(examples=["wt_01hzx3v7k2m4n6p8q0r2s4"], description="id for `backbone.weights`")
    name: str
    sha256: str
    size_bytes: int
    tensors: int
    parameters: int = Field(description="number of parameters in all tensors")
    dtypes: dict[str, int] = Field(description="type, as safetensors names it → number of tensors")
    encoder: EncoderFound | None = Field(
        None,
        description="pretrained encoder in the file: its `architecture`, and the `pooling` that its archive asks for; "
        "null: it is none",
    )
    created_at: datetime

    @classmethod
    def of(cls, file: weights.WeightsFile) -> "Weights":
        """Return the answer for a stored file."""
        return cls(
            id=file.id,
            name=file.name,
            sha256=file.blob,
            size_bytes=file.size_bytes,
            created_at=datetime.fromtimestamp(file.created_at, UTC),
            **file.card,
        )


class UploadedWeights(Weights):
    """Result of an upload: a new file, or the existing one with the same bytes."""

    note: str = Field(
        "",
        description="a sentence that the same bytes are already stored under another name; left out for new bytes",
    )

    @classmethod
    def made(cls, file: weights.WeightsFile, *, known: bool, name: str | None) -> Weights:
        """Return the answer for an upload under a name, or without one."""
        made = Weights.of(file)
        if not known or name is None or name == file.name:
            return made
        note = (
            f"these weights are already here as {file.name!r} ({file.id}): nothing new was stored, and they keep their "
            f"name; PATCH /weights/{file.id} with a `name` renames them"
        )
        return cls(**made.model_dump(), note=note)


class WeightsList(Answer):
    """A page of files of weights, newest first."""

    items: list[Weights]
    next: str | None = Field(description="cursor of the next page; null: this is the last page")
