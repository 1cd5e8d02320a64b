"""POST /train: a spec is checked against its model and its dataset, and queued as a job in one transaction."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from models_store.datasets import store as datasets
from models_store.errors import FieldError, Invalid
from models_store.jobs import idempotency, submissions
from models_store.jobs.errors import DatasetGone
from models_store.models import references
from models_store.spec.reasons import decisions
from models_store.spec.train import ResolvedSpec
from models_store.tasks import rooms
from models_store.tasks.task import Contract
from service.answers.documents import Budget, Job
from service.answers.meanings import Decision, DryRun, Estimate
from service.auth import Owner
from service.context import Context, Here
from service.requests import bodies
from service.requests.parameters import KNOWN_QUERY, IdempotencyKey, answer, problems
from service.requests.strict_json import parse
from service.routes.jobs import accepted

MOST_SPEC_BYTES = 1 << 20

router = APIRouter(tags=["train"], dependencies=[KNOWN_QUERY])

EXAMPLES: dict[str, Any] = {name: each for task in rooms.TASKS for name, each in task.samples["requests"].items()}


class UnknownDataset(Invalid):
    """The spec names a dataset that does not exist."""

    code = "dataset_not_found"
    title = "No such dataset"


@router.post(
    "/train",
    operation_id="train_create",
    summary="Train, shrink and publish a model",
    status_code=202,
    response_model=Job,
    responses={
        200: {"model": DryRun, "description": "With `dry_run=true`: the resolved spec; nothing was queued"},
        **problems(400, 409, 410, 413, 415, 503, 507),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/TrainSpec"}, "examples": EXAMPLES}
            },
        }
    },
)
async def create(
    request: Request,
    here: Here,
    owner: Owner,
    *,
    dry_run: Annotated[bool, Query(description="only return the resolved spec")] = False,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Queue a job for a spec and answer at once.

    The job shows the progress, and the model appears when the job has succeeded.

    A repeated request with the same `Idempotency-Key` and body returns the same job, with `Idempotency-Replayed: true`.
    """
    body = await bodies.read_json(request, max_bytes=MOST_SPEC_BYTES)
    if dry_run:
        meant = await run_in_threadpool(_meaning, here, body, owner=owner)
        return answer(meant, status=200)
    return await here.threads.writers.run(_submit, here, body, owner=owner, key=idempotency_key)


def _meaning(here: Context, body: bytes, *, owner: str) -> DryRun:
    spec, dataset, warnings = _resolved(here, body, owner=owner)
    facts = datasets.facts(dataset)
    return DryRun(
        spec=spec.model_dump(mode="json"),
        kind=submissions.kind_of(spec),
        children=submissions.children_of(spec),
        warnings=warnings,
        decisions=[Decision.of(each) for each in decisions(parse(body), spec, facts)],
        estimate=Estimate.of(here.database, spec, dataset.card),
        budget=Budget.of(spec, facts),
    )


def _submit(here: Context, body: bytes, *, owner: str, key: str | None) -> Response:
    sent = idempotency.Key(owner, "POST /train", key, hashlib.sha256(body).hexdigest()) if key else None
    earlier = submissions.submitted(here.database, sent) if sent else None
    if earlier is not None:
        return accepted(here, earlier, replayed=True)
    spec, _, warnings = _resolved(here, body, owner=owner)
    with _reporting_unknown_dataset(), references.pointed_out():
        job, replayed = submissions.submit(
            here.database,
            owner=owner,
            spec=spec,
            settings=here.settings,
            warnings=warnings,
            key=sent,
        )
    return accepted(here, job, replayed=replayed)


def _resolved(here: Context, body: bytes, *, owner: str) -> tuple[ResolvedSpec, datasets.Dataset, list[str]]:
    given = parse(body)
    contract = _contract(here, given, owner=owner)
    spec = references.describe(bodies.check(contract.Spec, given), here.database, owner=owner)
    with _reporting_unknown_dataset():
        dataset = datasets.find(here.database, spec.dataset, owner=owner)
    _refuse_other_examples(contract, dataset, task=spec.task)
    facts = datasets.facts(dataset)
    with bodies.reporting_faults(contract.Spec, given):
        resolved, warnings = contract.resolve(spec, facts)
    classes = dataset.card["classes"]
    pinned = references.pin(resolved, here.database, owner=owner, classes=classes)
    references.refuse_unfit_choices(pinned, here.database, facts=facts, owner=owner, classes=classes)
    return pinned, dataset, warnings


def _contract(here: Context, given: Any, *, owner: str) -> Contract:  # noqa: ANN401  any JSON
    """Return whose spec it is: by its task, or else by its dataset. Where neither says so, the first one refuses it."""
    fields = given if isinstance(given, dict) else {}
    task, dataset_id = fields.get("task"), fields.get("dataset")
    if isinstance(task, str):
        with suppress(rooms.UnknownTask):
            return rooms.contract_of(task)
    if isinstance(dataset_id, str):
        with suppress(datasets.DatasetNotFound):
            return rooms.of_dataset(datasets.find(here.database, dataset_id, owner=owner).card)
    return rooms.TASKS[0]


def _refuse_other_examples(contract: Contract, dataset: datasets.Dataset, *, task: str | None) -> None:
    """Check that the dataset's examples are those that the task learns from.

    Raises:
        InvalidBody: if they are others; it names the tasks that learn from them.
    """
    held = dataset.contract
    if held is contract:
        return
    fitting = [name for name, target in held.targets.items() if target == dataset.card.get("target", "class")]
    message = f"`task: {task}` learns from {contract.examples}, and the dataset holds {held.examples}"
    fault = FieldError("/task", "contradiction", f"{message}; take {' or '.join(fitting)}, or leave it out", fitting)
    raise bodies.InvalidBody(f"/task: {fault.message}", errors=[fault])


@contextmanager
def _reporting_unknown_dataset() -> Iterator[None]:
    """Return the error of a missing or deleted dataset, with its place in the spec."""
    try:
        yield
    except (datasets.DatasetNotFound, DatasetGone) as error:
        fault = FieldError("/dataset", UnknownDataset.code, error.detail)
        raise UnknownDataset(f"/dataset: {error.detail}", errors=[fault]) from error
