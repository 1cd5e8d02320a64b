"""Errors of calls about jobs.

JobNotFound        404
DatasetGone        404  the dataset that the spec names was deleted
JobDeleted         410  the job that a repeated request has made was deleted
JobFinished        409
JobNotFinished     409
ChildNotRetried    409
"""

from models_store.errors import Conflict, EspalierError, NotFound


class JobNotFound(NotFound):
    """No such job, or another owner's."""

    code = "job_not_found"
    title = "No such job"


class DatasetGone(NotFound):
    """The dataset that the spec names was deleted."""

    code = "dataset_not_found"
    title = "No such dataset"


class JobDeleted(EspalierError):
    """The job that a repeated request has made was deleted."""

    status = 410
    code = "job_deleted"
    title = "The job was deleted"


class JobFinished(Conflict):
    """The job has ended, and its state is final."""

    code = "job_finished"
    title = "The job has already ended"


class JobNotFinished(Conflict):
    """The job still waits or runs."""

    code = "job_not_finished"
    title = "The job has not ended yet"


class ChildNotRetried(Conflict):
    """The job is a child of another, which decides what is tried."""

    code = "child_not_retried"
    title = "A child of another job can't be retried by itself"
