"""Rework of a version that exists: it is compressed into another one, or its files are measured again.

Both take up what the version's job was: its spec, and its dataset. The version itself never changes, but for the
figures of its files.

WeightsNotKept 409 · DatasetDeleted 409 · NothingToMake 422
"""

from dataclasses import dataclass
from typing import Any

from models_store.datasets import store as datasets
from models_store.datasets.store import Dataset
from models_store.errors import Conflict, FieldError, Invalid
from models_store.jobs import store as jobs
from models_store.jobs.submissions import Action
from models_store.models import registry
from models_store.models.registry import Version
from models_store.spec.compression import Compression
from models_store.spec.rules import warnings_about
from models_store.spec.train import ResolvedSpec
from models_store.storage.database import Database
from models_store.tasks.rooms import read_resolved


class WeightsNotKept(Conflict):
    """The version was published without its trained weights, and only they can be compressed."""

    code = "weights_not_kept"
    title = "The version's weights were not kept"


class DatasetDeleted(Conflict):
    """The dataset that the version was trained on is gone, and every figure is measured on it."""

    code = "dataset_deleted"
    title = "The version's dataset was deleted"


class NothingToMake(Invalid):
    """The compression asks for no smaller variant."""

    code = "nothing_to_make"
    title = "Nothing is asked for"


@dataclass(frozen=True)
class TakenUp:
    """A version with what its job was, as another job takes it up."""

    version: Version
    spec: ResolvedSpec
    dataset: Dataset | None
    """None: its task has no data"""
    warnings: tuple[str, ...] = ()

    def action(self, kind: str) -> Action:
        """Return what a job does with the version."""
        return Action(kind, {"model": self.version.model, "version": self.version.number})


def take_up(database: Database, model: str, number: int, *, owner: str) -> TakenUp:
    """Return a version with its spec, and its dataset: the very one, or the same content sent again.

    Raises:
        ModelNotFound: if there is no such version.
        DatasetDeleted: if its dataset is gone.
    """
    version = registry.version(database, model, number, owner=owner)
    spec = read_resolved(jobs.maker(database, version.id).spec)
    dataset = _dataset_of(database, version)
    changes: dict[str, Any] = {"name": model, "dataset": dataset and dataset.id}
    warnings: tuple[str, ...] = ()
    if spec.distillation is not None and not _is_there(database, spec.distillation.teacher, owner=owner):
        changes["distillation"] = None
        warnings = (
            f"the teacher of version {number}, {spec.distillation.teacher}, was deleted: it is not asked again",
        )
    return TakenUp(version, spec.model_copy(update=changes), dataset, warnings)


def _dataset_of(database: Database, version: Version) -> Dataset | None:
    if version.dataset_id is None:
        return None
    try:
        return datasets.find(database, version.dataset_id, owner=version.owner)
    except datasets.DatasetNotFound as error:
        found = datasets.with_digest(database, version.card.get("dataset_digest", ""), owner=version.owner)
        if found is None:
            raise DatasetDeleted(
                f"version {version.number} of {version.model!r} was trained on {version.dataset_id}, which was "
                "deleted; upload the same archive again, and call this again"
            ) from error
        return found


def _is_there(database: Database, reference: str, *, owner: str) -> bool:
    try:
        registry.find(database, reference, owner=owner)
    except registry.ModelNotFound:
        return False
    return True


def compressed(taken: TakenUp, compression: Compression) -> tuple[ResolvedSpec, list[str]]:
    """Return the version's spec with another compression, and warnings about what that is unlikely to mean.

    Raises:
        WeightsNotKept: if there is nothing to compress.
        NothingToMake: if nothing is asked for.
        pydantic.ValidationError: if the compression does not fit the rest of the spec.
    """
    version = taken.version
    if version.weights_blob is None:
        raise WeightsNotKept(
            f"version {version.number} of {version.model!r} was published without its trained weights; train it again"
        )
    if compression.prune is None and not compression.quantize:
        message = "neither `prune` nor `quantize` asks for a smaller variant; give one of them"
        raise NothingToMake(message, errors=[FieldError("/quantize", NothingToMake.code, message)])
    facts = datasets.facts(taken.dataset)
    document: dict[str, Any] = taken.spec.model_dump(mode="json")
    spec = type(taken.spec).model_validate(
        document | {"compression": compression.model_dump(mode="json")}, context=facts
    )
    of_training = warnings_about(taken.spec.model_copy(update={"compression": None}), facts)
    return spec, [*taken.warnings, *(text for text in warnings_about(spec, facts) if text not in of_training)]
