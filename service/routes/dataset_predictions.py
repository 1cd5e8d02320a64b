"""Predictions of many examples by a job: of a stored dataset, or of an archive that comes with the request."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from models_store.archives.zip_names import NameEncoding
from models_store.datasets import unlabelled
from models_store.datasets.intake import staging_folder
from models_store.datasets.row_sources import Source
from models_store.datasets.table_lines import Encoding
from models_store.errors import NotFound
from models_store.jobs import idempotency, submissions
from models_store.jobs import store as jobs
from models_store.models import dataset_predictions, registry
from models_store.models.dataset_predictions import DatasetPrediction, Wanted
from models_store.models.providers import Provider
from models_store.models.registry import Version
from models_store.spec import patterns
from models_store.spec.train import ResolvedSpec
from models_store.storage.blobs import sha256_of
from models_store.tasks import rooms
from models_store.wording import counted
from service.answers.documents import Job
from service.answers.meanings import DryRun
from service.answers.stored_files import StoredFile, is_named, unchanged
from service.auth import Owner
from service.context import Context, Here
from service.requests import bodies, charsets, uploads
from service.requests.parameters import (
    KNOWN_QUERY,
    IdempotencyKey,
    JobId,
    ModelName,
    VersionNumber,
    answer,
    problems,
    refuse_query_besides,
)
from service.requests.strict_json import parse
from service.routes.jobs import accepted

MOST_BODY_BYTES = 1 << 16
OF_AN_ARCHIVE = "with an archive: "
BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
TEXT: dict[str, Any] = {"schema": {"type": "string"}}
TABLES: dict[str, Any] = {
    media.partition(";")[0]: BINARY if "parquet" in media else TEXT
    for media in dataset_predictions.MEDIA_TYPES.values()
}
EXAMPLES: dict[str, Any] = {
    "test": {"summary": "The test split, as CSV", "value": {"dataset": "ds_01j2k3m4n5p6", "split": "test"}},
    "whole": {
        "summary": "The whole dataset by the int8 variant on a CPU, as Parquet",
        "value": {
            "dataset": "ds_01j2k3m4n5p6",
            "variant": "int8",
            "provider": "cpu",
            "format": "parquet",
            "top_k": 3,
        },
    },
}

router = APIRouter(tags=["models"], dependencies=[KNOWN_QUERY])
of_jobs = APIRouter(tags=["jobs"], dependencies=[KNOWN_QUERY])


class PredictionsNotThere(NotFound):
    """The job has made no table of predictions, or has not made it yet."""

    code = "predictions_not_there"
    title = "No such predictions"


@router.post(
    "/models/{name}/versions/{number}:predict_dataset",
    operation_id="version_predict_dataset",
    summary="Predict a dataset, or the files of an archive",
    status_code=202,
    response_model=Job,
    responses={
        200: {"model": DryRun, "description": "With `dry_run=true`: what would be done; nothing was queued"},
        **problems(400, 404, 409, 410, 413, 415, 503, 507),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "JSON that names a stored dataset; or a zip or tar, as POST /datasets takes it, whose files "
            "need no labels: folders and tables of labels mean nothing here",
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/DatasetPrediction"},
                    "examples": EXAMPLES,
                },
                **dict.fromkeys(uploads.DOCUMENTED_TYPES, BINARY),
                **dict.fromkeys(uploads.TABLE_TYPES, TEXT),
                "multipart/form-data": {"schema": {"$ref": "#/components/schemas/DatasetForm"}},
            },
        }
    },
)
async def create(
    request: Request,
    name: ModelName,
    number: VersionNumber,
    here: Here,
    owner: Owner,
    *,
    dry_run: Annotated[bool, Query(description="only check the request, and return what would be done")] = False,
    variant: Annotated[
        str | None, Query(pattern=patterns.VARIANT, description=OF_AN_ARCHIVE + "name of the variant")
    ] = None,
    provider: Annotated[Provider | None, Query(description=OF_AN_ARCHIVE + "where the file runs")] = None,
    format: Annotated[  # noqa: A002  the parameter's name
        Literal["csv", "jsonl", "parquet"], Query(description=OF_AN_ARCHIVE + "format of the table")
    ] = "csv",
    top_k: Annotated[
        int | None, Query(ge=1, le=10_000, description=OF_AN_ARCHIVE + "number of classes or labels per row")
    ] = None,
    names: Annotated[
        NameEncoding, Query(description=OF_AN_ARCHIVE + "encoding of names that a zip does not give in UTF-8")
    ] = "auto",
    encoding: Annotated[
        Encoding | None,
        Query(
            description=OF_AN_ARCHIVE
            + "encoding of tables, and of examples that are texts; left out: the `charset` of "
            "a table's content type, else UTF-8"
        ),
    ] = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Queue a job that predicts every example, and makes a table: `GET /jobs/{job_id}/predictions` downloads it.

    Each row has the file's name, its split and truth where they are known, the prediction as POST /predict gives it,
    and `error` for a file that can't be decoded. The job's result has the number of rows and, for rows with a truth,
    the agreement with it. A job that is interrupted goes on from its last checkpoint.
    """
    what = _Prediction(here, model=name, number=number, owner=owner, key=idempotency_key)
    if bodies.content_type(request) == "application/json":
        refuse_query_besides(request, {"dry_run"})
        body = await bodies.read_json(request, max_bytes=MOST_BODY_BYTES)
        if dry_run:
            return await run_in_threadpool(what.meaning, bodies.check(DatasetPrediction, parse(body)))
        return await here.threads.writers.run(what.of_dataset, body)
    wanted = Wanted(variant=variant, provider=provider, format=format, top_k=top_k)
    uploads.check_type(request)
    encoded = charsets.encoding_of(request, asked=encoding)
    await run_in_threadpool(what.prepared, wanted)  # before all of it is read
    with uploads.scratch_file(here.settings.scratch) as (archive, file):
        arrived = await uploads.receive(request, file, max_bytes=here.settings.upload_max_bytes)
        sent = Sent(archive, arrived, names, encoded)
        if dry_run:
            return await here.threads.intake.run(what.meaning_of_archive, sent, wanted)
        return await here.threads.intake.run(what.of_archive, sent, wanted)


@of_jobs.get(
    "/jobs/{job_id}/predictions",
    operation_id="job_predictions",
    summary="Download the predictions of a job",
    response_class=Response,
    responses={
        200: {"description": "The table; its ETag is its SHA-256. `Range` is supported", "content": TABLES},
        206: {"description": "The part that `Range` requested", "content": TABLES},
        304: {"description": "`If-None-Match` names this very table"},
        **problems(404, 416, 503, 507),
    },
)
def download(job_id: JobId, here: Here, owner: Owner, request: Request) -> Response:
    """Return the table that a job of `:predict_dataset` has made, in the format that was asked for.

    In CSV, `'` is put before a text that a spreadsheet would take for a formula; JSON Lines and Parquet have names as
    they are.
    """
    job = jobs.find(here.database, job_id, owner=owner)
    sha256 = (job.files or {}).get(dataset_predictions.TABLE)
    if sha256 is None:
        raise PredictionsNotThere(f"job {job.id} is a {job.kind} and {job.state}; it has no predictions")
    headers = {"ETag": f'"{sha256}"', "Cache-Control": "private, max-age=31536000, immutable"}
    if is_named(request.headers.get("if-none-match", ""), headers["ETag"]):
        return unchanged(headers)
    asked = job.parameters or {}
    file_name = f"{asked['model']}-{asked['version']}-{job.dataset_id or job.id}.{asked['format']}"
    media_type = dataset_predictions.MEDIA_TYPES[asked["format"]]
    return StoredFile(here.blobs.local(sha256), headers=headers, media_type=media_type, filename=file_name)


@dataclass(frozen=True)
class Sent:
    """An upload of examples, and how its names and tables are to be read."""

    path: Path
    arrived: uploads.Arrived
    names: NameEncoding
    encoding: Encoding


class _Prediction:
    """A request of an owner for predictions by one version."""

    def __init__(self, here: Context, *, model: str, number: int, owner: str, key: str | None) -> None:
        self._here, self._model, self._number, self._owner, self._given_key = here, model, number, owner, key

    def prepared(self, wanted: Wanted) -> tuple[Version, ResolvedSpec]:
        """Return the version that predicts, and the job's spec."""
        return dataset_predictions.prepare(self._here.database, self._model, self._number, wanted, owner=self._owner)

    def meaning(self, wanted: Wanted, warnings: list[str] | None = None) -> Response:
        """Answer a dry run."""
        _, spec = self.prepared(wanted)
        document = spec.model_dump(mode="json")
        meant = DryRun(spec=document, kind=dataset_predictions.KIND, children=0, warnings=warnings or [])
        return answer(meant, status=200)

    def meaning_of_archive(self, sent: "Sent", wanted: Wanted) -> Response:
        """Answer a dry run with an archive, which is read and not stored."""
        with uploads.reporting_full_disk(), staging_folder(self._here.settings.scratch) as staging:
            return self.meaning(wanted, _warnings(self._taken_in(sent, staging)))

    def of_dataset(self, body: bytes) -> Response:
        """Queue the job for a stored dataset."""
        key = self._key(hashlib.sha256(body).hexdigest())
        earlier = submissions.submitted(self._here.database, key) if key else None
        if earlier is not None:
            return accepted(self._here, earlier, replayed=True)
        wanted = bodies.check(DatasetPrediction, parse(body))
        version, spec = self.prepared(wanted)
        return self._submit(version, spec, dataset_predictions.action(version, wanted), key=key)

    def of_archive(self, sent: "Sent", wanted: Wanted) -> Response:
        """Store an archive's files, and queue the job for them."""
        document = f"{wanted.model_dump_json()} {sent.names} {sent.encoding} {sha256_of(sent.path)}"
        key = self._key(hashlib.sha256(document.encode()).hexdigest())
        earlier = submissions.submitted(self._here.database, key) if key else None
        if earlier is not None:
            return accepted(self._here, earlier, replayed=True)
        version, spec = self.prepared(wanted)
        with uploads.reporting_full_disk(), staging_folder(self._here.settings.scratch) as staging:
            taken = self._taken_in(sent, staging)
            files = {
                dataset_predictions.CONTENT: self._here.blobs.put(taken.content).sha256,
                dataset_predictions.MANIFEST: self._here.blobs.put(taken.manifest).sha256,
            }
        action = dataset_predictions.action(version, wanted, files=files)
        return self._submit(version, spec, action, key=key, warnings=_warnings(taken))

    def _taken_in(self, sent: "Sent", staging: Path) -> unlabelled.Unlabelled:
        version = registry.version(self._here.database, self._model, self._number, owner=self._owner)
        contract = dataset_predictions.contract_of(version)
        settings, encoding = self._here.settings, sent.encoding
        if (table := sent.arrived.as_table(contract.examples)) is not None:
            tables = {table.name: Source(sent.path, table.format)}
            return unlabelled.take_tables(tables, staging, contract, settings=settings, encoding=encoding)
        return unlabelled.take_in(sent.path, staging, contract, settings=settings, names=sent.names, encoding=encoding)

    def _submit(
        self,
        version: Version,
        spec: ResolvedSpec,
        action: submissions.Action,
        *,
        key: idempotency.Key | None,
        warnings: list[str] | None = None,
    ) -> Response:
        job, replayed = submissions.submit(
            self._here.database,
            owner=version.owner,
            spec=spec,
            settings=self._here.settings,
            warnings=warnings or [],
            key=key,
            action=action,
        )
        return accepted(self._here, job, replayed=replayed)

    def _key(self, digest: str) -> idempotency.Key | None:
        if self._given_key is None:
            return None
        route = f"{self._model}:{self._number}:{dataset_predictions.KIND}"
        return idempotency.Key(self._owner, route, self._given_key, digest)


def _warnings(taken: unlabelled.Unlabelled) -> list[str]:
    if not taken.others:
        return []
    one = f"file of the archive was passed over: it is a link, or no {rooms.example()}"
    many = f"files of the archive were passed over: they are links, or no {rooms.examples()}"
    return [counted(taken.others, one, many)]
