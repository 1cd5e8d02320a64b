"""Prediction of many examples by a version in one job: what may be asked, and the version with the spec of that job.

The examples are those of a stored dataset, or the files of an archive that comes with the request.

NotServedHere  409  the variant that is named can't answer on the provider that is asked for
OtherExamples  422  the dataset holds examples of another task
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from models_store.datasets import store as datasets
from models_store.errors import FieldError, Invalid
from models_store.jobs import store as jobs
from models_store.jobs.submissions import Action
from models_store.models import registry
from models_store.models.providers import Provider
from models_store.models.registry import Version
from models_store.spec import patterns
from models_store.spec.train import ResolvedSpec
from models_store.storage.database import Database
from models_store.tasks import rooms
from models_store.tasks.task import Contract

KIND = "predict_dataset"
TABLE = "predictions"
"""name of the job's file that is downloaded"""
CONTENT, MANIFEST = "examples", "manifest"
"""names of the job's files that it reads where it has no dataset"""

Format = Literal["csv", "jsonl", "parquet"]
MEDIA_TYPES: Mapping[str, str] = {
    "csv": "text/csv; charset=utf-8; header=present",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}


class OtherExamples(Invalid):
    """The dataset's examples are not of the kind that the model takes."""

    code = "other_examples"
    title = "The model does not take these examples"


class Wanted(BaseModel):
    """How examples are predicted, and the table that is made of the answers."""

    model_config = ConfigDict(extra="forbid", strict=True)

    variant: str | None = Field(
        None, pattern=patterns.VARIANT, description="name of the variant; null: the default of the provider"
    )
    provider: Provider | None = Field(
        None, description="where the file runs; null: on the GPU of the worker that takes the job if it has one"
    )
    format: Format = Field("csv", description="format of the table")
    top_k: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="number of classes or labels per row, as POST /predict has it; null: 5 classes, or all labels",
    )


class DatasetPrediction(Wanted):
    """Prediction of the examples of a stored dataset."""

    model_config = ConfigDict(json_schema_extra={"example": {"dataset": "ds_01j2k3m4n5p6", "split": "test"}})

    dataset: str = Field(pattern=patterns.DATASET_ID, description="id of the dataset, as returned by POST /datasets")
    split: Literal["train", "val", "test", "all"] = Field("all", description="which of its examples")


def prepare(database: Database, model: str, number: int, wanted: Wanted, *, owner: str) -> tuple[Version, ResolvedSpec]:
    """Return the version that predicts, and the spec of the job: how the version was trained, with what it reads.

    Raises:
        ModelNotFound: if there is no such version or variant.
        NotServedHere: if the variant that is named can't answer on the provider that is asked for, or on none.
        DatasetNotFound: if there is no such dataset.
        OtherExamples: if it is of another task.
    """
    version = registry.version(database, model, number, owner=owner)
    changes: dict[str, Any] = {"name": model, "distillation": None}  # it learns from nobody
    if isinstance(wanted, DatasetPrediction):
        dataset, contract = datasets.find(database, wanted.dataset, owner=owner), contract_of(version)
        if dataset.contract is not contract:
            message = f"dataset {dataset.id} holds {dataset.contract.examples}, and {model!r} takes {contract.examples}"
            raise OtherExamples(message, errors=[FieldError("/dataset", OtherExamples.code, message)])
        changes["dataset"] = dataset.id
    if wanted.variant is not None:
        _check_variant(database, f"{model}:{number}/{wanted.variant}", wanted.provider, owner=owner)
    spec = rooms.read_resolved(jobs.maker(database, version.id).spec)
    return version, spec.model_copy(update=changes)


def contract_of(version: Version) -> Contract:
    """Return the contract of the task that a version was trained for."""
    return rooms.contract_of(rooms.task_of(version.card))


def action(version: Version, wanted: Wanted, *, files: dict[str, str] | None = None) -> Action:
    """Return what the job does; `files` are the blobs that it reads where it has no dataset."""
    known = {"model": version.model, "version": version.number}
    return Action(KIND, known | wanted.model_dump(mode="json"), files)


def _check_variant(database: Database, reference: str, provider: Provider | None, *, owner: str) -> None:
    refusals = []
    for each in get_args(Provider) if provider is None else (provider,):
        try:
            registry.resolve(database, reference, owner=owner, provider=each)
        except registry.NotServedHere as error:
            refusals.append(error)
        else:
            return
    raise refusals[0]
