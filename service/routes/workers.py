"""Workers and the queue: who does what, and what waits for whom."""

from typing import Annotated

from fastapi import APIRouter, Query

from models_store.jobs import waiting, workers
from models_store.spec import patterns
from service.answers.workers import Queue, Worker, WorkerList
from service.auth import Owner
from service.context import Here
from service.requests.parameters import KNOWN_QUERY, Limit, problems

router = APIRouter(tags=["jobs"], dependencies=[KNOWN_QUERY])

AfterPlace = Annotated[
    str | None,
    Query(pattern=patterns.NUMBER_CURSOR, description="`next` of the previous page; left out: the first page"),
]


@router.get("/workers", operation_id="worker_list", summary="List the workers", responses=problems())
def list_workers(here: Here, owner: Owner) -> WorkerList:
    """Return every worker with its host, its devices, its last beat, and the jobs that it is at.

    A worker is listed from its start until it ends; one that was killed is `lost` after three missed beats, and is
    listed for a day. Of other owners' jobs only their kind and their start are shown.
    """
    beat_s = here.settings.beat_s
    return WorkerList(
        items=[Worker.of(each, owner=owner, state=each.state(beat_s=beat_s)) for each in workers.listing(here.database)]
    )


@router.get("/queue", operation_id="queue_list", summary="Read the queue", responses=problems())
def read_queue(here: Here, owner: Owner, limit: Limit = 20, cursor: AfterPlace = None) -> Queue:
    """Return your jobs that wait for a worker, in the order in which they are taken, and why each waits.

    Jobs of higher priority are taken first, then older ones; a job that is put off after a crash is passed over until
    it is due. An expected start is given where the running jobs' own estimates allow it.
    """
    after = 0 if cursor is None else int(cursor)
    found, following = waiting.page(here.database, owner=owner, limit=limit, after=after)
    there = [each for each in workers.listing(here.database) if each.state(beat_s=here.settings.beat_s) != "lost"]
    return Queue.of(found, waiting.counts(here.database), workers=there, following=following)
