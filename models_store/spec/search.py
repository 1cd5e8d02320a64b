"""Search: what varies, and how the next trial is chosen. A search is a job; its trials are jobs too, on any workers."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from models_store.spec import patterns
from models_store.spec.part import Part

Bound = Annotated[float, Field(ge=-1e9, le=1e9)]
Range = Annotated[list[Bound], Field(min_length=2, max_length=2)]


class Distribution(Part):
    """The values that one path may take. Exactly one key is given."""

    uniform: Range | None = Field(None, description="[low, high]: any number between them, with equal probability")
    log_uniform: Range | None = Field(
        None, description="[low, high], both above 0: any number between them, with equal probability in the logarithm"
    )
    int_uniform: (
        Annotated[list[Annotated[int, Field(ge=-(10**9), le=10**9)]], Field(min_length=2, max_length=2)] | None
    ) = Field(None, description="[low, high]: any whole number from low to high")
    choice: Annotated[list[Any], Field(min_length=2, max_length=100)] | None = Field(
        None, description="a list of values: numbers, texts, null, or whole parts"
    )

    @model_validator(mode="after")
    def _refuse_what_is_no_range(self) -> "Distribution":
        given = self.model_dump(exclude_none=True)
        if len(given) != 1:
            raise PydanticCustomError(
                "one_distribution", "give exactly one of uniform, log_uniform, int_uniform and choice"
            )
        (name, values), *_ = given.items()
        if name != "choice" and not values[0] < values[1]:
            raise PydanticCustomError("empty_range", "the first number must be below the second")
        if name == "log_uniform" and values[0] <= 0:
            raise PydanticCustomError("log_of_nothing", "log_uniform needs numbers above 0")
        return self


Path = Annotated[str, Field(pattern=patterns.PATH, max_length=200)]


class _Search(Part):
    space: Annotated[dict[Path, Distribution], Field(min_length=1, max_length=50)] = Field(
        description="dotted path → its values, as in `optimizer.lr: {log_uniform: [1e-5, 1e-1]}`; numbers count list items (`augmentation.0.degrees`)"
    )
    parallel: int = Field(
        2, ge=1, le=100, description="number of trials that wait or run at the same time, over all workers"
    )
    winner: Literal["retrain", "promote"] = Field(
        "retrain",
        description="retrain: train the best trial's spec again in full, and publish the result; promote: compress and publish the best trial's own weights",
    )


class Grid(_Search):
    """Every combination of the values, in order; ranges are cut into `steps` values."""

    kind: Literal["grid"] = "grid"
    steps: int = Field(3, ge=2, le=50, description="number of values taken from each range, including its ends")


class Random(_Search):
    """Values drawn independently (Bergstra and Bengio 2012)."""

    kind: Literal["random"] = "random"
    trials: int = Field(12, ge=2, le=1000, description="number of trials; number 0 is the unchanged spec")


class Tpe(_Search):
    """Bayesian optimisation with the tree-structured Parzen estimator (Bergstra et al. 2011), Optuna's."""

    kind: Literal["tpe"] = "tpe"
    trials: int = Field(12, ge=2, le=1000, description="number of trials; number 0 is the unchanged spec")
    startup_trials: int = Field(5, ge=1, le=100, description="number of random trials before the estimator chooses")
    prune: bool = Field(
        default=True, description="true: stop a trial whose best value is below the median of the others at its epoch"
    )


class SuccessiveHalving(_Search):
    """Random trials, of which only the better share continues at each rung (ASHA, Li et al. 2018, arXiv:1810.05934)."""

    kind: Literal["successive_halving"] = "successive_halving"
    trials: int = Field(
        12, ge=2, le=1000, description="number of trials; number 0 is the unchanged spec and is never stopped"
    )
    reduction_factor: int = Field(3, ge=2, le=10, description="one of this many trials continues at each rung")
    min_epochs: int = Field(1, ge=1, le=10_000, description="epochs before the first rung")


Search = Annotated[Grid | Random | Tpe | SuccessiveHalving, Field(discriminator="kind")]
