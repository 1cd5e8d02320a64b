"""Number of threads for calculations on this host: the usable cores, shared among its trainers."""

import math
import os
from pathlib import Path

from sqlalchemy import and_, select

from models_store.host import cgroups
from models_store.host.processes import Process, this_process
from models_store.jobs.kinds import PARENTS, URGENT
from models_store.storage import tables
from models_store.storage.database import Database


def usable(*, root: Path = cgroups.ROOT) -> int:
    """Return how many cores this process can keep busy: those it may run on, within its control groups' CPU time.

    A part of a core counts as one.
    """
    limit = cgroups.cpu_limit(root=root)
    allowed = len(os.sched_getaffinity(0))
    return allowed if limit is None else max(1, min(allowed, math.ceil(limit)))


def shared(*, trainers_beside: int, trainers_on_machine: int) -> int:
    """Return the threads of one of several trainers, at least 1.

    `trainers_beside` share the usable cores of this process, containers on the same machine only the machine itself.
    """
    machine = os.cpu_count() or 1
    return max(1, min(usable() // max(1, trainers_beside), machine // max(1, trainers_on_machine)))


def running_trainers(database: Database) -> tuple[int, int]:
    """Return how many jobs have a trainer now: on this host, or in this container, and on the whole machine.

    Urgent jobs are left out: they end in a moment, and their trainers give way.
    """
    job, attempt, here = tables.job, tables.attempt, this_process()
    owners = (
        select(attempt.c.host, attempt.c.boot_id, attempt.c.pid, attempt.c.pid_started)
        .join(job, and_(attempt.c.job_id == job.c.id, attempt.c.fence == job.c.fence))
        .where(job.c.state == "running", job.c.kind.not_in(PARENTS), job.c.priority < URGENT)
    )
    with database.read() as connection:
        found = [Process(*row) for row in connection.execute(owners)]
    living = [each for each in found if each.is_on_machine_of(here) and not each.is_known_dead()]
    return sum(each.host == here.host and each.boot_id == here.boot_id for each in living), len(living)
