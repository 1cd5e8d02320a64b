"""Report of a job: one stored zip of report.json, report.html and pictures/, made by the worker that trained.

ReportNotThere 404 · PictureNotFound 404
"""

from zipfile import ZipFile

from models_store.errors import NotFound
from models_store.jobs import kinds
from models_store.jobs.job import TERMINAL, Job
from models_store.storage.blobs import Blobs

JSON, PAGE, PICTURES = "report.json", "report.html", "pictures/"


class ReportNotThere(NotFound):
    """The job has no report, or not yet."""

    code = "report_not_there"
    title = "There is no report"


class PictureNotFound(NotFound):
    """The report has no picture of this name."""

    code = "picture_not_found"
    title = "No such picture"


def digest_of(job: Job) -> str:
    """Return the blob that holds the job's report.

    Raises:
        ReportNotThere: if there is none; says why, and what to do.
    """
    sha256 = (job.files or {}).get("report")
    if sha256 is None:
        raise ReportNotThere(_why(job))
    return sha256


def read(blobs: Blobs, sha256: str, member: str) -> bytes:
    """Return one file of a report.

    Raises:
        PictureNotFound: if it is not there; says which there are.
        BlobMissing: if the store has lost the report.
    """
    with ZipFile(blobs.local(sha256)) as archive:
        names = archive.namelist()
        if member not in names:
            pictures = [name.removeprefix(PICTURES) for name in names if name.startswith(PICTURES)]
            raise PictureNotFound(
                f"the report has no {member.removeprefix(PICTURES)!r}; it has {', '.join(pictures) or 'no pictures'}"
            )
        return archive.read(member)


def _why(job: Job) -> str:
    if not kinds.of(job.kind).publishes:
        return f"job {job.id} is a {job.kind} and has no report of its own; GET /jobs/{job.id} has its figures"
    if job.state not in TERMINAL:
        return f"job {job.id} is {job.state}; its report comes at its end"
    if job.state != "succeeded":
        return f"job {job.id} is {job.state}; a job that succeeds has a report"
    return f"job {job.id} ended before there were reports; POST its spec to /train to make one"
