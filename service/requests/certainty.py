"""Certainty that a prediction request asks for: a least confidence, and a coverage of conformal sets.

NotCalibrated 409 · NoConfidence 422
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models_store.errors import Conflict, FieldError, Invalid
from models_store.models.providers import Provider
from models_store.models.served import Served
from models_store.models.variant_card import VariantCard
from models_store.targets import Target
from models_store.targets.conformal import COVERAGES, examples_needed, level_for
from models_store.tasks import rooms
from service.inference import devices

LEAST_COVERAGE, MOST_COVERAGE = COVERAGES[0], COVERAGES[-1]
MIN_CONFIDENCE_MEANING = (
    "least probability of an answer. A class below it is not answered (`abstained`); a label whose presence and "
    "absence are both below it is `undecided`; 422 for a model of numbers. Left out: every answer is given"
)
COVERAGE_MEANING = (
    "share of examples whose truth is to be in the answer's `set` of classes or labels, or in its `interval` of "
    "numbers (split conformal prediction). The next calibrated level is used; `calibration` of the answer says which, "
    "and how often its sets held the truth on the test split. 409 if the variant was measured by an earlier release, "
    "or on too few examples"
)
MIN_CONFIDENCE: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}
COVERAGE: dict[str, Any] = {"type": "number", "minimum": LEAST_COVERAGE, "maximum": MOST_COVERAGE}


class NotCalibrated(Conflict):
    """The variant has no threshold for the coverage that was asked for."""

    code = "not_calibrated"
    title = "The variant is not calibrated for this coverage"


class NoConfidence(Invalid):
    """A least confidence was asked of a model that answers without one."""

    code = "no_confidence"
    title = "The model's answers have no confidence"


class Wanted(Protocol):
    """Fields of a request in any of its formats."""

    @property
    def min_confidence(self) -> float | None:
        """Return the least probability of an answer."""
        ...

    @property
    def coverage(self) -> float | None:
        """Return the share of examples whose truth is to be in its set."""
        ...


@dataclass(frozen=True)
class Certainty:
    """What a request asks beside the answer, for one model; `NOTHING` asks nothing."""

    min_confidence: float | None = None
    level: dict[str, Any] | None = None
    """calibrated level of a variant's card"""

    @property
    def calibration(self) -> dict[str, Any]:
        """Return what the whole answer says of its sets; empty: none were asked for."""
        if self.level is None:
            return {}
        return {"calibration": {name: self.level[name] for name in ("coverage", "test_coverage")}}

    def applied(
        self, prediction: dict[str, Any], row_K: npt.NDArray[np.float32], names: Sequence[str], *, target: Target
    ) -> dict[str, Any]:
        """Return the prediction with what was asked for."""
        if self.level is not None:
            prediction = prediction | target.conformal_set(row_K, names, threshold=self.level["threshold"])
        if self.min_confidence is not None:
            prediction = target.confident(prediction, row_K, names, min_confidence=self.min_confidence)
        return prediction


NOTHING = Certainty()


def of(served: Served, wanted: Wanted, *, device: devices.Wanted) -> Certainty:
    """Return what a request asks of a variant.

    Raises:
        NoConfidence: if a least confidence is asked of numbers.
        NotCalibrated: if the variant has no threshold for the coverage on the provider of this device.
    """
    if wanted.min_confidence is None and wanted.coverage is None:
        return NOTHING
    target = rooms.target_of(rooms.task_of(served.card))
    if wanted.min_confidence is not None and not target.has_confidence:
        message = "a model of numbers has no confidence; ask for `coverage`, and each number has an interval"
        raise NoConfidence(message, errors=[FieldError("/min_confidence", NoConfidence.code, message)])
    if wanted.coverage is None:
        return Certainty(wanted.min_confidence)
    return Certainty(wanted.min_confidence, _level(served, wanted.coverage, provider=devices.serving(device)))


def _level(served: Served, coverage: float, *, provider: Provider) -> dict[str, Any]:
    figures = VariantCard.of_document(served.variant_card).measured.get(provider, {}).get("conformal")
    if figures is None:
        raise NotCalibrated(
            f"{served.name} was measured before sets were calibrated; measure it again "
            f"(POST /models/{served.model}/versions/{served.version}:measure)"
        )
    level = level_for(figures["levels"], coverage)
    if level is None or level["threshold"] is None:
        reached = [each["coverage"] for each in figures["levels"] if each["threshold"] is not None]
        wanted = coverage if level is None else level["coverage"]
        raise NotCalibrated(
            f"a coverage of {coverage:g} takes {examples_needed(wanted)} validation examples, and {served.name} was "
            f"calibrated on {figures['calibrated_on']}; ask for at most {max(reached, default=0):g}"
            if reached
            else f"{served.name} was calibrated on {figures['calibrated_on']} validation examples, too few for any set"
        )
    return dict(level)
