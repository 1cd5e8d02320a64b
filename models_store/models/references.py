"""References of a spec to what it starts or learns from: models and users' files of weights, pinned and found again.

A spec may say `name@alias`, and an alias moves; so a reference becomes `name:version` before its job is queued. The
weights of a version never change. A version or a user's file can be deleted, but not while a job that has not ended
needs it.

SourceNotFound 422 · SourceUnfit 422
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from models_store.errors import FieldError, Invalid
from models_store.jobs import store as jobs
from models_store.models import registry, uses
from models_store.models import weights as weights_store
from models_store.spec.facts import DatasetFacts
from models_store.spec.network import Network, is_of_ours, weights_of
from models_store.spec.recipe import Misfit
from models_store.spec.space import applied, values_of
from models_store.spec.train import ResolvedSpec, TrainSpec
from models_store.storage.database import Database
from models_store.tasks.rooms import read_resolved

WEIGHTS, TEACHER = "/backbone/weights", "/distillation/teacher"
BUILT_ON = {"backbone", "distillation"}


class SourceNotFound(Invalid):
    """A model or a file that the spec names does not exist."""

    code = "source_not_found"
    title = "The model or file of the spec does not exist"


class SourceUnfit(Invalid):
    """A model that the spec names can't be built on by this spec."""

    code = "source_unfit"
    title = "The model or file of the spec does not fit it"


@dataclass(frozen=True)
class Source:
    """A version to build on: its weights (a blob), the spec that it was trained by, its classes."""

    reference: str
    weights_blob: str
    spec: dict[str, Any]
    """as it is stored: whoever uses it reads it, once"""
    classes: list[str]


def pin(spec: ResolvedSpec, database: Database, *, owner: str, classes: list[str]) -> ResolvedSpec:
    """Return the spec with every model that it builds on named by its version; `classes` are those of its dataset.

    Raises:
        SourceNotFound: if a model, its weights or a file is not there.
        SourceUnfit: if a model's backbone is another one than the spec's, or the teacher has learned something else.
    """
    changes: dict[str, Any] = {}
    network = spec.network
    weights = None if network is None else network.weights
    if network is not None and weights is not None and weights.startswith(weights_store.PREFIX):
        changes["backbone"] = _described(database, network, weights, owner=owner)
    elif network is not None and weights is not None and is_of_ours(weights):
        source = _source(database, weights, owner=owner, pointer=WEIGHTS)
        _check_network(network, spec, source)
        changes["backbone"] = network.model_copy(update={"weights": source.reference})
    if spec.distillation is not None:
        source = _source(database, spec.distillation.teacher, owner=owner, pointer=TEACHER)
        _check_teacher(spec, source, classes=classes)
        changes["distillation"] = spec.distillation.model_copy(update={"teacher": source.reference})
    return spec.model_copy(update=changes)


def describe(spec: TrainSpec, database: Database, *, owner: str) -> TrainSpec:
    """Return the spec whose network has what the user's file that it starts from says of it.

    Raises:
        SourceNotFound: if the file is not there.
        SourceUnfit: if it is none of such a network.
    """
    network = spec.network
    if network is None or network.weights is None or not network.weights.startswith(weights_store.PREFIX):
        return spec
    return spec.model_copy(update={"backbone": _described(database, network, network.weights, owner=owner)})


def refuse_unfit_choices(
    spec: ResolvedSpec, database: Database, *, facts: DatasetFacts, owner: str, classes: list[str]
) -> None:
    """Check what the values of a search build on, each as if a trial had it beside the spec's own values.

    Raises:
        SourceNotFound, SourceUnfit: as `pin` does, pointing below /search/space.
    """
    for path, distribution in (spec.search.space if spec.search is not None else {}).items():
        if path.partition(".")[0] not in BUILT_ON:
            continue
        name, values = values_of(distribution)
        for position, value in enumerate(values):
            try:
                pin(read_resolved(applied(spec, {path: value}, facts)), database, owner=owner, classes=classes)
            except (SourceNotFound, SourceUnfit) as error:
                pointer = f"/search/space/{path}/{name}/{position}"
                message = f"{path} can't be {value!r}: {error.detail}"
                raise type(error)(message, errors=[FieldError(pointer, error.code, message)]) from error


def initial_weights(database: Database, spec: dict[str, Any], *, owner: str) -> str | None:
    """Return the blob that a job's spec starts from; None: from published weights, or from scratch.

    Raises:
        SourceNotFound: if it is gone.
    """
    weights = weights_of(spec)
    if weights is not None and weights.startswith(weights_store.PREFIX):
        return _uploaded(database, weights, owner=owner).blob
    if weights is None or not is_of_ours(weights):
        return None
    return _source(database, weights, owner=owner, pointer=WEIGHTS).weights_blob


def teacher(database: Database, spec: dict[str, Any], *, owner: str) -> Source | None:
    """Return the model that a job's spec learns from, if any.

    Raises:
        SourceNotFound: if it is gone.
    """
    if spec.get("distillation") is None:
        return None
    return _source(database, spec["distillation"]["teacher"], owner=owner, pointer=TEACHER)


def _described(database: Database, network: Network, weights_id: str, *, owner: str) -> Network:
    file = _uploaded(database, weights_id, owner=owner)
    found = network.described_by(file.card | {"name": file.name, "sha256": file.blob})
    if isinstance(found, Misfit):
        raise _unfit(found.pointer, found.detail, found.allowed)
    return found


def _uploaded(database: Database, weights_id: str, *, owner: str) -> weights_store.WeightsFile:
    with pointed_out():
        return weights_store.find(database, weights_id, owner=owner)


@contextmanager
def pointed_out() -> Iterator[None]:
    """Say where in the spec the file or the version stands that is not there, or is no longer.

    Raises:
        SourceNotFound: for WeightsNotFound and VersionGone.
    """
    try:
        yield
    except weights_store.WeightsNotFound as error:
        raise _not_found(WEIGHTS, error.detail) from error
    except uses.VersionGone as error:
        raise _not_found(error.pointer, error.detail) from error


def _source(database: Database, reference: str, *, owner: str, pointer: str) -> Source:
    try:
        version, _ = registry.find(database, reference, owner=owner)
    except registry.ModelNotFound as error:
        raise _not_found(pointer, error.detail) from error
    if version.weights_blob is None:
        detail = f"version {version.number} of {version.model!r} was published without its weights; train it again"
        raise _not_found(pointer, detail)
    spec = jobs.maker(database, version.id).spec
    return Source(f"{version.model}:{version.number}", version.weights_blob, spec, version.card["labels"])


def _check_network(network: Network, spec: ResolvedSpec, source: Source) -> None:
    """Refuse a network of another structure; the head may differ, and of the input what the task allows."""
    trained_by = read_resolved(source.spec).model_dump(mode="json")
    own, given = (
        {name: value for name, value in backbone.items() if name not in {"weights", "freeze"}}
        for backbone in (network.model_dump(mode="json"), trained_by.get("backbone") or {})
    )
    if own["kind"] != given.get("kind"):
        detail = f"{source.reference} has the backbone {given.get('kind')}, and this spec has {own['kind']}"
        raise _unfit(WEIGHTS, detail, allowed=None)
    differing = [name for name in own if own[name] != given.get(name)]
    if differing:
        detail = f"{source.reference} has a different {own['kind']}: {', '.join(differing)} must be the same"
        raise _unfit(f"/backbone/{differing[0]}", detail, allowed=[given.get(differing[0])])
    _refuse_misfit(spec.recipe.misfit(spec, trained_by, reference=source.reference))


def _check_teacher(spec: ResolvedSpec, source: Source, *, classes: list[str]) -> None:
    trained_by = read_resolved(source.spec).model_dump(mode="json")
    task = trained_by["task"]
    if task != spec.task:
        raise _unfit(TEACHER, f"{source.reference} has learned `task: {task}`, and this spec is for {spec.task}")
    if source.classes != classes:
        unknown = sorted(set(source.classes) ^ set(classes))[:5]
        detail = f"{source.reference} was trained on other classes than the dataset's: {', '.join(unknown) or 'order'}"
        raise _unfit(TEACHER, detail)
    _refuse_misfit(spec.recipe.teacher_misfit(spec, trained_by, reference=source.reference))


def _refuse_misfit(found: Misfit | None) -> None:
    if found is not None:
        raise _unfit(found.pointer, found.detail, found.allowed)


def _not_found(pointer: str, detail: str) -> SourceNotFound:
    return SourceNotFound(f"{pointer}: {detail}", errors=[FieldError(pointer, SourceNotFound.code, detail)])


def _unfit(pointer: str, detail: str, allowed: Any = None) -> SourceUnfit:  # noqa: ANN401  any JSON
    return SourceUnfit(f"{pointer}: {detail}", errors=[FieldError(pointer, SourceUnfit.code, detail, allowed)])
