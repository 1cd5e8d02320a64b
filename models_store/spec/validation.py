"""Validation: the spread of a result over folds of the data or over seeds. Each fold or seed is a job of its own."""

from typing import Annotated, Literal

from pydantic import Field

from models_store.spec.part import Part


class KFold(Part):
    """K-fold cross-validation over the train and val splits, stratified by class (Kohavi 1995); the test split stays untouched."""

    kind: Literal["k_fold"] = "k_fold"
    folds: int = Field(5, ge=2, le=20, description="number of parts of the data; each is held out once")
    parallel: int = Field(
        2, ge=1, le=100, description="number of folds that wait or run at the same time, over all workers"
    )
    group: bool = Field(
        default=False,
        description="true: examples with the same `group` in the dataset's labels.csv stay in one fold; false: by example",
    )
    publish: bool = Field(
        default=True, description="true: train and publish a model on the dataset's own splits when the folds are done"
    )


class Repeats(Part):
    """The same training with different seeds; the first one is the spec's own seed."""

    kind: Literal["repeats"] = "repeats"
    seeds: int = Field(5, ge=2, le=100, description="number of runs; the seeds are the spec's seed and those after it")
    parallel: int = Field(
        2, ge=1, le=100, description="number of runs that wait or run at the same time, over all workers"
    )
    publish: bool = Field(
        default=True, description="true: train and publish a model with the spec's own seed when the runs are done"
    )


Validation = Annotated[KFold | Repeats, Field(discriminator="kind")]
