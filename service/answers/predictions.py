"""Shapes of POST /predict in the OpenAPI document; `Target.prediction` makes a model's outputs into them."""

import operator
from functools import reduce
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from models_store.tasks import rooms
from service.answers.answer import Answer, ShapeOf
from service.inference.engine import FIRST, LAST
from service.requests.urgency import LONGEST_S, PRIORITY_MEANING, TIMEOUT_MEANING

JSON_EXAMPLES: Any = reduce(operator.or_, (contract.json_example for contract in rooms.TASKS))


class PredictRequest(BaseModel):
    """A prediction as JSON; files in a form, or one as the body, need no base64."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"example": {"model": "flowers", "inputs": [rooms.TASKS[0].json_sample], "top_k": 3}},
    )

    model: str = Field(
        max_length=200, description="`name`, `name@alias` or `name:version`, each with an optional `/variant`"
    )
    inputs: list[Annotated[Any, ShapeOf(JSON_EXAMPLES)]] = Field(
        min_length=1, description="; ".join(dict.fromkeys(contract.json_meaning for contract in rooms.TASKS))
    )
    top_k: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description=f"number of classes or labels to list per {rooms.example()}, at most as many as there are; null: "
        "5 classes, or all labels. A model of numbers ignores it",
    )
    timeout: float | None = Field(None, gt=0, le=LONGEST_S, description=TIMEOUT_MEANING)
    priority: int | None = Field(None, ge=FIRST, le=LAST, description=PRIORITY_MEANING)


class Ranked(Answer):
    """A class or label with its probability."""

    label: str
    probability: float


class Prediction(Answer):
    """Prediction of a model of classes for one example."""

    label: str = Field(description="the likeliest class")
    probability: float
    top: list[Ranked] = Field(description="the `top_k` likeliest, likeliest first")


class LabelsPrediction(Answer):
    """Prediction of a model of labels for one example; each label has a probability of its own."""

    labels: list[str] = Field(description="every label with a probability of 0.5 or more, likeliest first; maybe empty")
    top: list[Ranked] = Field(description="all labels, or the `top_k` likeliest, likeliest first")


class ValuePrediction(Answer):
    """Prediction of a model of numbers for one example."""

    value: float = Field(description="in the unit of the dataset's values")


class Predictions(Answer):
    """Predictions of a model for each input, in the order of the inputs, and the file that answered."""

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
    provider: str = Field(description="execution provider that ran the file")
    predictions: list[Prediction | LabelsPrediction | ValuePrediction]
