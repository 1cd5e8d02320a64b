"""Shapes of POST /predict in the OpenAPI document; `Target.prediction` makes a model's outputs into them."""

import operator
from functools import reduce
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models_store.tasks import rooms
from models_store.tasks.explanation import MOST_PARTS, Method
from models_store.tasks.task import Contract
from service.answers.answer import Answer, ShapeOf
from service.inference.engine import FIRST, LAST
from service.requests.certainty import COVERAGE_MEANING, LEAST_COVERAGE, MIN_CONFIDENCE_MEANING, MOST_COVERAGE
from service.requests.urgency import LONGEST_S, PRIORITY_MEANING, TIMEOUT_MEANING

EXPLAIN_MEANING = (
    "whether to explain each answer, by a heat map or by a weight for each part of the example; at most 4 at once. "
    f"Without class activation maps each takes as long as up to {MOST_PARTS} predictions"
)
METHOD_MEANING = (
    "how to explain: class_activation, one run of a net that ends with a mean over places and one linear layer; exact, "
    "one run of a linear model; occlusion or leave_one_out, a run without each part. Left out: one run where the file "
    "allows it, else a run without each part"
)
URL_MEANING = 'where PREDICT_URLS is set, `{"url": "https://…"}` for a file at a public address'


class FileAtUrl(BaseModel):
    """A file that the service fetches, if PREDICT_URLS is set."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: str = Field(
        description="http or https URL at a public address, without a user name or a password",
        examples=["https://example.org/rose.jpg"],
    )


def json_type_of(contract: Contract) -> Any:  # noqa: ANN401  any of pydantic's types
    """Return what an example in JSON may be: the task's own value, and a URL where an example is a file."""
    return contract.json_example | FileAtUrl if contract.formats else contract.json_example


JSON_EXAMPLES: Any = reduce(operator.or_, map(json_type_of, rooms.TASKS))


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
        min_length=1,
        description="; ".join([*dict.fromkeys(contract.json_meaning for contract in rooms.TASKS), URL_MEANING]),
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
    min_confidence: float | None = Field(None, ge=0, le=1, description=MIN_CONFIDENCE_MEANING)
    coverage: float | None = Field(None, ge=LEAST_COVERAGE, le=MOST_COVERAGE, description=COVERAGE_MEANING)
    explain: bool = Field(default=False, description=EXPLAIN_MEANING)
    explanation_method: Method | None = Field(None, description=METHOD_MEANING)


SET_MEANING = (
    "if `coverage` was asked for: the classes or labels among which the truth is at least so often, likeliest first"
)


class PartWeight(Answer):
    """Weight of a part of an example: a character, a word, or some of them where there are very many."""

    text: str = Field(description="the part; joined in their order, the parts are all that the model sees")
    start: int = Field(description="where it begins, in characters (code points)")
    end: int = Field(description="where it ends, as `start` says")
    weight: float = Field(
        description="loss of the answer's probability without the part, or the distance that its number moves; of "
        "exact, what it adds to the logit (of one class: above the mean of all) or the number: all weights and the "
        "model's bias are their sum; negative: it speaks against the answer"
    )


class Explanation(Answer):
    """Explanation of one answer: the parts of the example that it depends on."""

    method: Method = Field(
        description="class_activation and exact: what each part adds to the answer before the activation, by the file; "
        "occlusion: the model was run on copies of the example with a part hidden in each; leave_one_out: on copies "
        "with a part left out of each"
    )
    runs: int = Field(description="examples on which the model was run: those copies, or 1")
    largest_loss: float = Field(
        description="loss of the answer's probability without the part that matters most, or the distance that its "
        "number moved; of class_activation and exact, the most that a part adds, in logits (of one class: above the "
        "mean of all), or in the number's unit"
    )
    heat_map: str | None = Field(
        None,
        description="of class_activation and occlusion, a PNG as base64: the example as the model sees it, hot where "
        "the answer depends on it",
    )
    weights: list[PartWeight] | None = Field(None, description="of exact and leave_one_out, the parts in their order")


def _with_notes(schema: dict[str, Any]) -> None:
    """Document what an answer says of its example beside the model's outputs, for the tasks that say anything."""
    for contract in rooms.TASKS:
        for name, described in contract.notes.items():
            meaning = f"of {contract.examples}: {described['description']}"
            schema.setdefault("properties", {})[name] = {**described, "description": meaning}


class Predicted(Answer):
    """Base of what is answered for one example."""

    model_config = ConfigDict(json_schema_extra=_with_notes)


class Ranked(Answer):
    """A class or label with its probability."""

    label: str
    probability: float


class Prediction(Predicted):
    """Prediction of a model of classes for one example."""

    label: str = Field(description="the likeliest class")
    probability: float
    top: list[Ranked] = Field(description="the `top_k` likeliest, likeliest first")
    set: list[str] | None = Field(None, description=SET_MEANING)
    explanation: Explanation | None = Field(None, description="left out unless `explain` asks for it")


class Abstention(Predicted):
    """Refusal of a model of classes to answer: no class has the `min_confidence` that was asked for."""

    abstained: Literal[True]
    probability: float = Field(description="of the likeliest class")
    top: list[Ranked] = Field(description="the `top_k` likeliest, likeliest first")
    set: list[str] | None = Field(None, description=SET_MEANING)
    explanation: Explanation | None = Field(None, description="left out unless `explain` asks for it")


class LabelsPrediction(Predicted):
    """Prediction of a model of labels for one example; each label has a probability of its own."""

    labels: list[str] = Field(description="every label with a probability of 0.5 or more, likeliest first; maybe empty")
    top: list[Ranked] = Field(description="all labels, or the `top_k` likeliest, likeliest first")
    undecided: list[str] | None = Field(
        None,
        description="labels whose presence and absence are both less likely than `min_confidence`, likeliest first; "
        "`labels` then has those that are likelier",
    )
    set: list[str] | None = Field(None, description=SET_MEANING)
    explanation: Explanation | None = Field(None, description="left out unless `explain` asks for it")


class ValuePrediction(Predicted):
    """Prediction of a model of numbers for one example."""

    value: float = Field(description="in the unit of the dataset's values")
    interval: list[float] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="low and high end; if `coverage` was asked for: it holds the true number at least so often",
    )
    explanation: Explanation | None = Field(None, description="left out unless `explain` asks for it")


class Calibration(Answer):
    """Level of the sets or intervals of an answer."""

    coverage: float = Field(description="share of new examples whose truth they hold, at least")
    test_coverage: float | None = Field(
        description="share of the test split's examples whose truth they held; null without a test split"
    )


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
    predictions: list[Prediction | Abstention | LabelsPrediction | ValuePrediction]
    calibration: Calibration | None = Field(None, description="if `coverage` was asked for")
