"""what POST /predict is asked and answers: the OpenAPI document's shapes, and how a model's outputs become them."""

from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from service.answer import Answer
from service.inference.batcher import Probabilities

# K class or label (1 for a number)

CLASSES_NAMED = 5
THRESHOLD = 0.5  # a label at least this likely is answered; training counts right labels by the same


class PredictRequest(BaseModel):
    """A prediction as JSON; multipart and raw image bodies spare the base64."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"example": {"model": "flowers@default", "inputs": ["/9j/4AAQSkZJRg…"], "top_k": 3}},
    )

    model: str = Field(
        max_length=200, description="`name`, `name@alias` or `name:version`, each with an optional `/variant`"
    )
    inputs: list[str] = Field(min_length=1, description="image files as base64 (RFC 4648, section 4) or data: URLs")
    top_k: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="classes or labels to name per image, cut to as many as there are; null: 5 classes, or all labels. "
        "A model that answers numbers has none to name",
    )


class Ranked(Answer):
    """A class or label with its probability."""

    label: str
    probability: float


class Prediction(Answer):
    """What a model of classes says of one image."""

    label: str = Field(description="the likeliest class")
    probability: float
    top: list[Ranked] = Field(description="the `top_k` likeliest, likeliest first")


class LabelsPrediction(Answer):
    """What a model of labels says of one image; the probabilities are of each label by itself."""

    labels: list[str] = Field(description="every label with a probability of 0.5 or more, likeliest first; maybe none")
    top: list[Ranked] = Field(description="all labels, or the `top_k` likeliest, likeliest first")


class ValuePrediction(Answer):
    """What a model of numbers says of one image."""

    value: float = Field(description="in the unit of the dataset's values")


class Predictions(Answer):
    """What a model says of each input, in their order, and which file of it was asked."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "flowers",
                "version": 3,
                "variant": "int8",
                "provider": "CPUExecutionProvider",
                "predictions": [
                    {"label": "rose", "probability": 0.97, "top": [{"label": "rose", "probability": 0.97}]}
                ],
            }
        }
    )

    model: str
    version: int
    variant: str
    provider: str = Field(description="execution provider that ran it")
    predictions: list[Prediction | LabelsPrediction | ValuePrediction]


def prediction(row_K: Probabilities, labels: tuple[str, ...], *, task: str, top_k: int | None) -> dict[str, Any]:
    """Return what a file's outputs for one image say, as one of the shapes above; numbers stay numpy's."""
    if task == "image_regression":
        return {"value": row_K[0]}
    likeliest = np.argsort(-row_K, kind="stable")
    if task == "multilabel_classification":
        return {
            "labels": [labels[index] for index in likeliest if row_K[index] >= THRESHOLD],
            "top": _ranked(row_K, labels, likeliest[:top_k]),
        }
    top = _ranked(row_K, labels, likeliest[: top_k or CLASSES_NAMED])
    return {**top[0], "top": top}


def _ranked(row_K: Probabilities, labels: tuple[str, ...], indexes: Any) -> list[dict[str, Any]]:  # noqa: ANN401  an array
    return [{"label": labels[index], "probability": row_K[index]} for index in indexes]
