"""Users' own files of weights, kept as safetensors, checked when they come, `wt_…` in a spec's `backbone.weights`.

WeightsNotFound 404 · WeightsInUse 409 · WeightsNameInvalid 422 · NotSafetensors 422 · VectorsInvalid 422
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Text, cast, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from models_store import names
from models_store.errors import Conflict, Invalid, NotFound
from models_store.jobs.job import UNFINISHED
from models_store.models import safetensors_header, weights_forms
from models_store.spec.network import weights_of
from models_store.storage import tables
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database, now
from models_store.storage.ids import new_id
from models_store.tasks import rooms

PREFIX = "wt_"


class WeightsNotFound(NotFound):
    """There is no file of weights of this id here, or it belongs to somebody else."""

    code = "weights_not_found"
    title = "No such weights"


class WeightsNameInvalid(Invalid):
    """The file's name is none that may be given."""

    code = "weights_name_invalid"
    title = "The name can't be used"


class WeightsInUse(Conflict):
    """A job that has not ended starts from the file."""

    code = "weights_in_use"
    title = "The weights are in use"


@dataclass(frozen=True)
class WeightsFile:
    """A stored file; `card` says how many tensors it has, how many parameters, of which types."""

    id: str
    owner: str
    name: str
    blob: str
    size_bytes: int
    card: dict[str, Any]
    created_at: float


def add(
    path: Path, *, owner: str, name: str, database: Database, blobs: Blobs, most_bytes: int = 1 << 40
) -> tuple[WeightsFile, bool]:
    """Move a file in, as safetensors; return it, and whether it is new: the same bytes again are the earlier one.

    `most_bytes` is what an archive may unpack to.

    Raises:
        WeightsNameInvalid: if nothing may be called so.
        NotSafetensors: if it is no whole safetensors file, nor of another form (see `weights_forms`).
        VectorsInvalid, WeightsArchiveInvalid, ArchiveRefused: if it breaks its own form.
        Invalid: if it is meant for a task, which can't use it (see `describe_weights` of its contract).
        StorageFull: if there is no room.
    """
    if (fault := names.fault(name)) is not None:
        raise WeightsNameInvalid(f"the name {name[:50]!a} {fault}")
    weights_forms.as_safetensors(path, most_bytes=most_bytes)
    card = _card(path)
    blob = blobs.put(path)
    weights_id = new_id(PREFIX.rstrip("_"))
    row = {
        "id": weights_id,
        "owner": owner,
        "name": name,
        "blob": blob.sha256,
        "size_bytes": blob.size_bytes,
        "card": card,
    }
    try:
        with database.write() as connection:
            connection.execute(insert(tables.weights).values(**row, created_at=now()))
    except IntegrityError:
        with database.read() as connection:
            same = (tables.weights.c.owner == owner, tables.weights.c.blob == blob.sha256)
            found = connection.execute(_columns().where(*same)).one_or_none()
        if found is None:
            raise
        return WeightsFile(*found), False
    return find(database, weights_id, owner=owner), True


def _card(path: Path) -> dict[str, Any]:
    header, begins = safetensors_header.read(path)

    def read(tensor: str) -> bytes:
        begin, end = header[tensor]["data_offsets"]
        with path.open("rb") as file:
            file.seek(begins + begin)
            return file.read(end - begin)

    card = safetensors_header.inspect(path).as_card()
    for task in rooms.TASKS:
        card |= task.describe_weights(header, read)
    return card


def find(database: Database, weights_id: str, *, owner: str) -> WeightsFile:
    """Return the owner's file.

    Raises:
        WeightsNotFound: if there is none of this id.
    """
    with database.read() as connection:
        row = connection.execute(_columns().where(*_is(weights_id, owner))).one_or_none()
    if row is None:
        raise _not_found(weights_id)
    return WeightsFile(*row)


def listing(
    database: Database, *, owner: str, limit: int = 20, cursor: str | None = None
) -> tuple[list[WeightsFile], str | None]:
    """Return up to `limit` files, newest first, and the cursor of the next page."""
    table = tables.weights
    query = _columns().where(table.c.owner == owner).order_by(table.c.id.desc()).limit(limit + 1)
    if cursor:
        query = query.where(table.c.id < cursor)
    with database.read() as connection:
        found = [WeightsFile(*row) for row in connection.execute(query)]
    return found[:limit], found[limit - 1].id if len(found) > limit else None


def rename(database: Database, weights_id: str, name: str, *, owner: str) -> WeightsFile:
    """Give the file another name, and return it.

    Raises:
        WeightsNotFound: if there is none of this id.
        WeightsNameInvalid: if nothing may be called so.
    """
    if (fault := names.fault(name)) is not None:
        raise WeightsNameInvalid(f"the name {name[:50]!a} {fault}")
    with database.write() as connection:
        connection.execute(update(tables.weights).where(*_is(weights_id, owner)).values(name=name))
    return find(database, weights_id, owner=owner)


def remove(database: Database, weights_id: str, *, owner: str) -> None:
    """Forget the file; its bytes are swept when nothing else names them. Models made from it stay.

    Raises:
        WeightsNotFound: if there is none of this id.
        WeightsInUse: if a job that has not ended may start from it.
    """
    job = tables.job
    naming = cast(job.c.spec, Text).contains(weights_id, autoescape=True)  # in a search, a trial may
    using = select(job.c.id).where(job.c.owner == owner, job.c.state.in_(UNFINISHED), naming).order_by(job.c.id)
    with database.write() as connection:
        locked = select(tables.weights.c.id).where(*_is(weights_id, owner)).with_for_update()
        if connection.execute(locked).one_or_none() is None:
            raise _not_found(weights_id)
        jobs = connection.scalars(using.limit(5)).all()
        if jobs:
            raise WeightsInUse(
                f"weights {weights_id} are used by {', '.join(jobs)}; wait until they end, or cancel them"
            )
        connection.execute(delete(tables.weights).where(*_is(weights_id, owner)))


def hold(connection: Connection, spec: dict[str, Any], *, owner: str) -> None:
    """Keep the file that a job's spec starts from, if it does, from being removed until the transaction ends.

    Raises:
        WeightsNotFound: if it is not there (any more).
    """
    weights_id = weights_of(spec) or ""
    if not weights_id.startswith(PREFIX):
        return
    row = select(tables.weights.c.id).where(*_is(weights_id, owner)).with_for_update(read=True)
    if connection.execute(row).first() is None:
        raise _not_found(weights_id)


def _columns() -> Any:  # noqa: ANN401  a select of as many columns as WeightsFile has fields
    return select(*(tables.weights.c[field.name] for field in fields(WeightsFile)))


def _is(weights_id: str, owner: str) -> tuple[Any, Any]:
    return tables.weights.c.id == weights_id, tables.weights.c.owner == owner


def _not_found(weights_id: str) -> WeightsNotFound:
    return WeightsNotFound(f"there are no weights {weights_id}; GET /weights lists yours")
