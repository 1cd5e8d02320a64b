"""Calls about datasets. POST streams an archive to disk, and checks everything before it writes a row."""

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from models_store import descriptions, names
from models_store.archives.zip_names import NameEncoding
from models_store.datasets import store as datasets
from models_store.datasets.example_tables import OPTIONAL
from models_store.datasets.folders import LayoutChoice
from models_store.datasets.table_lines import Encoding
from models_store.tasks.rooms import TASKS
from service.answers.datasets import Dataset, DatasetList, Report, Sample, Samples, UploadedDataset
from service.auth import Owner
from service.context import Here
from service.requests import changes, charsets, uploads
from service.requests.parameters import KNOWN_QUERY, Cursor, DatasetId, GivenName, Limit, TagFilter, answer, problems
from service.threads import writes

router = APIRouter(tags=["datasets"], dependencies=[KNOWN_QUERY])

ARCHIVE: dict[str, Any] = {"type": "string", "format": "binary", "description": "the archive's bytes"}
TABLE_STEM = next((each.examples for each in TASKS if each.column is not None), "table")
"""name of a table that came without one"""
TABLE: dict[str, Any] = {"type": "string", "description": "the table's lines"}
FORM: dict[str, Any] = {
    "type": "object",
    "properties": {"file": {"type": "string", "format": "binary", "description": "the archive or table"}},
    "required": ["file"],
    "additionalProperties": False,
}
BODY: dict[str, Any] = {
    "required": True,
    "description": "A zip or tar (plain, gzip, bzip2, xz, lzma or zstd) of class folders (`class/…`, "
    "`train|val|test/class/…` or `class/train|val|test/…`), or with a `labels.csv`: `file,label`, or "
    "`file,labels` (separated by `;` or `|`, maybe empty), or `file,value` (numbers), each optionally "
    "with columns `split` and `group`; examples of one group stay in one split. Links that stay in the "
    "archive are followed. "
    + " ".join(f"{each.examples.capitalize()} are read by their content: {each.formats}." for each in TASKS)
    + "".join(
        f" {each.examples.capitalize()} may be rows of a table, in an archive or alone: CSV, TSV or JSON Lines with "
        f"`{each.column}`, one of `label`, `labels` and `value`, and optionally "
        f"{', '.join(f'`{name}`' for name in (*OPTIONAL, *each.fact_columns))}; or fastText's lines "
        "(`__label__name` before each)."
        for each in TASKS
        if each.column is not None
    ),
    "content": {
        **{media: {"schema": ARCHIVE} for media in uploads.DOCUMENTED_TYPES},
        **{media: {"schema": TABLE} for media in uploads.TABLE_TYPES},
        "multipart/form-data": {"schema": {"$ref": "#/components/schemas/DatasetForm"}},
    },
}


@router.post(
    "/datasets",
    operation_id="dataset_create",
    summary="Upload labelled examples",
    status_code=201,
    response_model=UploadedDataset,
    responses={
        200: {
            "model": UploadedDataset,
            "description": "The same content is already stored: the existing dataset with its own name; `note` "
            "explains it",
        },
        **problems(400, 413, 415, 503, 507),
    },
    openapi_extra={"requestBody": BODY},
)
async def create(
    request: Request,
    here: Here,
    owner: Owner,
    *,
    name: Annotated[
        GivenName | None,
        Query(description="left out: the file's name"),
    ] = None,
    undecodable: Annotated[
        Literal["refuse", "skip"],
        Query(description="effect of an example that can't be decoded: the archive is refused, or it is left out"),
    ] = "refuse",
    layout: Annotated[
        LayoutChoice,
        Query(
            description="meaning of the folders at the top; auto: their names decide, and if they are ambiguous the "
            "error asks for a choice; classes: each is a class; splits: each contains class folders"
        ),
    ] = "auto",
    names: Annotated[
        NameEncoding,
        Query(description="encoding of names that a zip does not give in UTF-8; auto: guessed from all of them"),
    ] = "auto",
    encoding: Annotated[
        Encoding | None,
        Query(
            description="encoding of tables of examples, and of examples that are texts; nothing is guessed. Left out: "
            "the `charset` of a table's content type, else UTF-8"
        ),
    ] = None,
) -> Response:
    """Upload an archive or a table: it is checked, split where it has no splits, and stored by its content's digest."""
    encoded = charsets.encoding_of(request, asked=encoding)
    with uploads.scratch_file(here.settings.scratch) as (archive, file):
        arrived = await uploads.receive(request, file, max_bytes=here.settings.upload_max_bytes)
        dataset, created = await here.threads.intake.run(
            _ingest,
            here,
            archive,
            owner=owner,
            arrived=arrived,
            name=name or _name_of(arrived.name),
            undecodable=undecodable,
            layout=layout,
            names=names,
            encoding=encoded,
        )
    location = {"Location": f"/datasets/{dataset.id}"}
    return answer(
        UploadedDataset.made(dataset, known=not created, name=name), status=201 if created else 200, headers=location
    )


@router.get("/datasets", operation_id="dataset_list", summary="List datasets", responses=problems())
def listing(
    here: Here, owner: Owner, *, tag: TagFilter = None, limit: Limit = 20, cursor: Cursor = None
) -> DatasetList:
    """Return your datasets, newest first."""
    found, following = datasets.listing(here.database, owner=owner, tag=tag, limit=limit, cursor=cursor)
    return DatasetList(items=[Dataset.of(dataset) for dataset in found], next=following)


@router.get(
    "/datasets/{dataset_id}",
    operation_id="dataset_get",
    summary="Describe a dataset",
    responses=problems(404),
)
def get(dataset_id: DatasetId, here: Here, owner: Owner) -> Dataset:
    """Return the dataset's card: its target, counts by split and class or label, digest."""
    return Dataset.of(datasets.find(here.database, dataset_id, owner=owner))


@router.get(
    "/datasets/{dataset_id}/report",
    operation_id="dataset_report",
    summary="Read a dataset's report",
    responses=problems(404),
)
def report(dataset_id: DatasetId, here: Here, owner: Owner) -> Report:
    """Return every check with the files that it found, such as duplicates, leaks between splits and imbalance."""
    return Report.model_validate(datasets.find(here.database, dataset_id, owner=owner).report)


@router.get(
    "/datasets/{dataset_id}/samples",
    operation_id="dataset_samples",
    summary="Draw examples of a split",
    responses=problems(404),
)
def samples(
    dataset_id: DatasetId,
    here: Here,
    owner: Owner,
    *,
    split: Annotated[Literal["train", "val", "test"], Query(description="which split to draw from")] = "test",
    limit: Limit = 20,
    seed: Annotated[int, Query(ge=0, le=2**32 - 1, description="the same seed draws the same examples")] = 0,
) -> Samples:
    """Return files of the archive, drawn at random from one split, with their labels or numbers."""
    dataset = datasets.find(here.database, dataset_id, owner=owner)
    drawn = here.examples.sample(dataset, split=split, limit=limit, seed=seed)
    return Samples(items=[Sample.of(each, dataset, text=here.examples.excerpt(dataset, each)) for each in drawn])


@router.patch(
    "/datasets/{dataset_id}",
    operation_id="dataset_update",
    summary="Rename a dataset, or change its description or tags",
    responses=problems(400, 404, 413, 415, 503, 507),
    openapi_extra=changes.documented(changes.DatasetPatch),
)
async def update(dataset_id: DatasetId, here: Here, owner: Owner, request: Request) -> Dataset:
    """Set the dataset's name, description or tags by a JSON merge patch (RFC 7396), and return it.

    A missing key changes nothing; null clears a description or the tags. The content of the dataset never changes.
    """
    given = await changes.changes_of(request, changes.DatasetPatch)
    changed = await here.threads.writers.run(descriptions.change_dataset, here.database, dataset_id, given, owner=owner)
    return Dataset.of(changed)


@router.delete(
    "/datasets/{dataset_id}",
    operation_id="dataset_delete",
    summary="Delete a dataset",
    status_code=204,
    responses=problems(404, 409, 507),
)
@writes
def delete(dataset_id: DatasetId, here: Here, owner: Owner) -> None:
    """Delete the dataset; refused while a job that has not ended uses it."""
    datasets.delete(here.database, dataset_id, owner=owner)


def _ingest(
    here: Here,
    archive: Path,
    *,
    arrived: uploads.Arrived,
    owner: str,
    name: str,
    undecodable: Literal["refuse", "skip"],
    layout: LayoutChoice,
    names: NameEncoding,
    encoding: Encoding,
) -> tuple[datasets.Dataset, bool]:
    with uploads.reporting_full_disk():
        return datasets.ingest(
            archive,
            owner=owner,
            name=name,
            undecodable=undecodable,
            layout=layout,
            names=names,
            encoding=encoding,
            table=arrived.as_table(TABLE_STEM),
            database=here.database,
            blobs=here.blobs,
            settings=here.settings,
        )


def _name_of(file_name: str | None) -> str:
    """Return a dataset's name from an uploaded file's: printable, without folders and endings."""
    name = PurePosixPath((file_name or "").replace("\\", "/")).name
    for packed in (".gz", ".bz2", ".xz", ".lzma", ".zst"):
        name = name.removesuffix(packed)
    stem = name.rpartition(".")
    name = names.without_refused(stem[0] or stem[2])[: names.LONGEST].strip()
    return "dataset" if names.fault(name) else name
