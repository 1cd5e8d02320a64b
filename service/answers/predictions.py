"""Shapes of POST /predict in the OpenAPI document; `Target.prediction` makes a model's outputs into them."""

from pydantic import BaseModel, ConfigDict, Field

from service.answers.answer import Answer


class PredictRequest(BaseModel):
    """A prediction as JSON; multipart and raw image bodies spare the base64."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"example": {"model": "flowers", "inputs": ["/9j/4AAQSkZJRg…"], "top_k": 3}},
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
