"""Versions that jobs build on: which ones a job's spec names, and what keeps them while the job has not ended.

A job builds on the version that it compresses or measures, on the one whose weights it starts from, on its teacher. In
a search a reference may be any string below `backbone` or `distillation`, and one without a number is read anew by
each trial; so it counts for every version of its model.

VersionGone 404
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Text, cast, or_, select

from models_store.jobs import kinds
from models_store.jobs.job import UNFINISHED
from models_store.jobs.kinds import Kind
from models_store.models import registry
from models_store.spec.network import weights_of
from models_store.storage import tables

BUILT_ON = ("backbone", "distillation")
"""parts of a spec that may name a version"""


class VersionGone(registry.ModelNotFound):
    """A version that a spec builds on was deleted; `pointer` is its place in the spec."""

    def __init__(self, detail: str, *, pointer: str) -> None:
        super().__init__(detail)
        self.pointer = pointer


def hold(
    connection: Connection,
    spec: Mapping[str, Any],
    *,
    kind: Kind,
    parameters: Mapping[str, Any] | None,
    owner: str,
) -> None:
    """Keep the versions that a new job builds on from being deleted until the transaction ends.

    `spec` has its references pinned.

    Raises:
        VersionGone: if one is not there (any more).
    """
    named: dict[str, tuple[str, int]] = {}
    if kind.takes_up_a_version and parameters is not None:
        named[""] = parameters["model"], parameters["version"]
    for pointer, reference in _pinned(spec, kind=kind):
        match = registry.REFERENCE.fullmatch(reference)
        if match is not None and match["version"] is not None:
            named[pointer] = (match["name"], int(match["version"]))
    for pointer, (model, number) in named.items():
        version = tables.version.c
        row = select(version.id).where(version.owner == owner, version.model == model, version.number == number)
        if connection.execute(row.with_for_update(read=True)).first() is None:
            raise VersionGone(f"version {number} of {model!r} was deleted; name another", pointer=pointer)


def jobs_on(connection: Connection, model: str, numbers: Collection[int], *, owner: str) -> list[str]:
    """Return the jobs that have not ended and build on one of these versions, the oldest first."""
    job = tables.job
    named = or_(job.c.kind.in_(kinds.TAKES_UP_A_VERSION), cast(job.c.spec, Text).contains(model, autoescape=True))
    query = select(job.c.id, job.c.kind, job.c.parameters, job.c.spec)
    query = query.where(job.c.owner == owner, job.c.state.in_(UNFINISHED), named).order_by(job.c.id)
    return [
        row.id
        for row in connection.execute(query)
        if any(
            _means(reference, model, numbers) for reference in _references(kinds.of(row.kind), row.parameters, row.spec)
        )
    ]


def _references(kind: Kind, parameters: Mapping[str, Any] | None, spec: Mapping[str, Any]) -> Iterator[str]:
    if kind.takes_up_a_version and parameters is not None:
        yield f"{parameters['model']}:{parameters['version']}"
    for _, reference in _pinned(spec, kind=kind):
        yield reference
    search = spec.get("search") or {}
    for path, distribution in search.get("space", {}).items():
        if path.partition(".")[0] in BUILT_ON:
            yield from _strings(distribution)


def _pinned(spec: Mapping[str, Any], *, kind: Kind) -> Iterator[tuple[str, str]]:
    """Yield the places in a resolved spec that name a version; only what trains starts from a backbone's weights."""
    weights = weights_of(spec)
    if kind.follows_its_spec and weights is not None:
        yield "/backbone/weights", weights
    if spec.get("distillation") is not None:
        yield "/distillation/teacher", spec["distillation"]["teacher"]


def _means(reference: str, model: str, numbers: Collection[int]) -> bool:
    match = registry.REFERENCE.fullmatch(reference)
    if match is None or match["name"] != model:
        return False
    return match["version"] is None or int(match["version"]) in numbers


def _strings(document: Any) -> Iterator[str]:  # noqa: ANN401  any JSON
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict | list):
        for child in document.values() if isinstance(document, dict) else document:
            yield from _strings(child)
