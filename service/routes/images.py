"""Examples of a dataset: listed, as files, as thumbnails; and the whole dataset as an archive."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import iterate_in_threadpool

from models_store.datasets import export as dataset_export
from models_store.datasets import store as datasets
from models_store.datasets.stored_examples import StoredExample
from models_store.errors import NotFound, Unavailable
from models_store.spec import patterns
from models_store.storage.blobs import BlobMissing
from models_store.tasks.rooms import TASKS
from service.answers.images import OTHERWISE, DatasetImage, DatasetImageList, media_type_of
from service.answers.stored_files import attachment, is_named, unchanged
from service.auth import Owner
from service.context import Context, Here
from service.requests.parameters import KNOWN_QUERY, DatasetId, Limit, problems

R = TypeVar("R")
ImageId = Annotated[str, Path(pattern=patterns.IMAGE_ID, description="id of the example")]
HEADERS = {
    "Cache-Control": "private, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",  # the bytes are a stranger's
}
BINARY = {"schema": {"type": "string", "format": "binary"}}
STORED_TYPES = sorted(
    {each.partition(";")[0] for contract in TASKS for each in contract.stored_types.values()} | {OTHERWISE}
)
THUMBNAIL_SIDE = max(contract.thumbnail_side or 0 for contract in TASKS)
UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "`If-None-Match` names this very example"}}

router = APIRouter(tags=["datasets"], dependencies=[KNOWN_QUERY])


class DatasetLost(Unavailable):
    """The store does not have the dataset's files, or can't read them now."""

    code = "dataset_lost"
    title = "The dataset's files are missing or damaged"


class ThumbnailNotThere(NotFound):
    """Examples of this dataset can't be shown as pictures."""

    code = "thumbnail_not_there"
    title = "No such picture"


@router.get(
    "/datasets/{dataset_id}/images",
    operation_id="dataset_images",
    summary="List the examples of a dataset",
    responses=problems(404, 503, 507),
)
async def listing(
    dataset_id: DatasetId,
    here: Here,
    owner: Owner,
    *,
    split: Annotated[Literal["train", "val", "test"] | None, Query(description="only examples of this split")] = None,
    label: Annotated[
        str | None, Query(alias="class", max_length=200, description="only examples of this class, or with this label")
    ] = None,
    finding: Annotated[
        str | None,
        Query(
            max_length=100,
            description="only examples that this check of the report found, such as `exact_duplicates`, "
            "`duplicates_across_splits` or `conflicting_labels`",
        ),
    ] = None,
    limit: Limit = 20,
    cursor: Annotated[
        str | None,
        Query(pattern=patterns.IMAGE_CURSOR, description="`next` of the previous page; left out: the first page"),
    ] = None,
) -> DatasetImageList:
    """Return the dataset's examples with their labels or numbers, sizes, and the checks that found them.

    Files that were left out, such as undecodable ones, are not listed; the dataset's report names them.
    """

    def page() -> DatasetImageList:
        dataset = datasets.find(here.database, dataset_id, owner=owner)
        after = -1 if cursor is None else int(cursor)
        found, last = here.examples.page(dataset, split=split, label=label, finding=finding, limit=limit, after=after)
        items = [DatasetImage.of(each, dataset, text=here.examples.excerpt(dataset, each)) for each in found]
        return DatasetImageList(items=items, next=None if last is None else str(last))

    return await _read(here, page)


@router.get(
    "/datasets/{dataset_id}/images/{image_id}",
    operation_id="dataset_image",
    summary="Fetch an example of a dataset",
    response_class=Response,
    responses={
        200: {
            "description": "The uploaded file; its ETag is its SHA-256",
            "content": dict.fromkeys(STORED_TYPES, BINARY),
        },
        **UNCHANGED,
        **problems(404, 503, 507),
    },
)
async def file(dataset_id: DatasetId, image_id: ImageId, here: Here, owner: Owner, request: Request) -> Response:
    """Return the example's file, byte for byte."""

    def read() -> Response:
        dataset, example = _found(here, dataset_id, image_id, owner=owner)
        name = example.entry.file.rpartition("/")[2]
        headers = {
            **HEADERS,
            "ETag": f'"{example.entry.sha256}"',
            "Content-Disposition": attachment(name, kind="inline"),
        }
        if is_named(request.headers.get("if-none-match", ""), headers["ETag"]):
            return unchanged(headers)
        content = here.examples.content(dataset, example)
        return Response(content, headers=headers, media_type=media_type_of(example, dataset))

    return await _read(here, read)


@router.get(
    "/datasets/{dataset_id}/images/{image_id}/thumbnail",
    operation_id="dataset_image_thumbnail",
    summary="Fetch a small JPEG of an image",
    response_class=Response,
    responses={
        200: {
            "description": f"A JPEG with no side above {THUMBNAIL_SIDE} pixels",
            "content": {"image/jpeg": BINARY},
        },
        **UNCHANGED,
        **problems(404, 503, 507),
    },
)
async def small(dataset_id: DatasetId, image_id: ImageId, here: Here, owner: Owner, request: Request) -> Response:
    """Return a thumbnail of an image, upright and in its own proportions; a small one keeps its size.

    If the dataset's images with 16 bits use fewer bits, white is the largest value of that number of bits.
    """
    dataset, example = await _read(here, lambda: _found(here, dataset_id, image_id, owner=owner))
    contract = dataset.contract
    if contract.thumbnail_side is None:
        raise ThumbnailNotThere(f"dataset {dataset.id} has {contract.examples}, which have no thumbnails")
    headers = {**HEADERS, "ETag": f'"{example.entry.sha256}-{contract.thumbnail_side}"'}
    if is_named(request.headers.get("if-none-match", ""), headers["ETag"]):
        return unchanged(headers)
    content = await _read(here, lambda: here.examples.content(dataset, example))
    made = await here.threads.thumbnails.run(
        contract.thumbnail, content, facts=example.entry.facts, card=dataset.card, settings=here.settings
    )
    return Response(made, headers=headers, media_type="image/jpeg")


@router.get(
    "/datasets/{dataset_id}:export",
    operation_id="dataset_export",
    summary="Download a dataset as an archive",
    response_class=Response,
    responses={
        200: {
            "description": "A zip that is made while it is sent, so its length is not known in advance",
            "content": {"application/zip": BINARY},
        },
        **problems(404, 503, 507),
    },
)
def export(dataset_id: DatasetId, here: Here, owner: Owner) -> Response:
    """Return a zip of the examples and a `labels.csv` that, uploaded again, is the same dataset.

    It has the same splits, classes, labels or numbers, and groups, and therefore the same digest. Other files of the
    archive, and examples that were left out, are not included.
    """
    dataset = datasets.find(here.database, dataset_id, owner=owner)
    try:
        manifest, content = here.blobs.local(dataset.manifest_blob), here.blobs.local(dataset.content_blob)
    except BlobMissing as error:
        raise _lost(error) from error
    target = dataset.card.get("target", "class")
    pieces = dataset_export.export(manifest, content, target, dataset.contract)
    headers = {
        "Content-Disposition": attachment(f"{dataset.name}.zip"),
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-cache",
    }
    return StreamingResponse(iterate_in_threadpool(pieces), headers=headers, media_type="application/zip")


def _found(here: Context, dataset_id: str, image_id: str, *, owner: str) -> tuple[datasets.Dataset, StoredExample]:
    dataset = datasets.find(here.database, dataset_id, owner=owner)
    return dataset, here.examples.find(dataset, image_id)


async def _read(here: Context, reading: Callable[[], R]) -> R:
    """Read a dataset's files in one of the threads for that, and return the result.

    Raises:
        DatasetLost: if they are missing or damaged.
    """
    try:
        return await here.threads.images.run(reading)
    except BlobMissing as error:
        raise _lost(error) from error


def _lost(error: BlobMissing) -> DatasetLost:
    return DatasetLost(f"{error.detail}; or upload the same archive again to restore it")
