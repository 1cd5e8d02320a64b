"""Children of a job: the values of each, and its results."""

from typing import Annotated

from fastapi import APIRouter, Query

from models_store.jobs import children
from models_store.jobs import store as jobs
from models_store.spec import patterns
from service.answers.outcomes import Trial, TrialList
from service.auth import Owner
from service.context import Here
from service.requests.parameters import KNOWN_QUERY, JobId, Limit, problems

router = APIRouter(tags=["jobs"], dependencies=[KNOWN_QUERY])

AfterNumber = Annotated[
    str | None,
    Query(pattern=patterns.NUMBER_CURSOR, description="`next` of the previous page; left out: the first page"),
]


@router.get(
    "/jobs/{job_id}/trials",
    operation_id="job_trials",
    summary="List the trials of a search, the folds of a cross-validation, or repeats",
    responses=problems(404),
)
def listing(job_id: JobId, here: Here, owner: Owner, limit: Limit = 20, cursor: AfterNumber = None) -> TrialList:
    """Return the job's children by number, with the values that each changed in the spec and its figures.

    A job without children has an empty list.
    """
    job = jobs.find(here.database, job_id, owner=owner)
    after = -1 if cursor is None else int(cursor)
    found, following = children.page(here.database, job.id, limit=limit, after=after)
    return TrialList(items=[Trial.of(child) for child in found], next=None if following is None else str(following))
