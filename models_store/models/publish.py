"""Publication of a finished job as a version of a model: all of it in the transaction that ends the job, or nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection, insert, update
from sqlalchemy.dialects import postgresql, sqlite

from models_store.jobs import claims
from models_store.jobs.results import Published
from models_store.models import changes
from models_store.models.providers import Provider
from models_store.models.registry import Variant
from models_store.storage import tables
from models_store.storage.database import Database, now
from models_store.storage.ids import new_id


@dataclass(frozen=True)
class Publication:
    """What a finished job hands over; the variants' files are blobs already."""

    card: dict[str, Any]
    default_variant: str
    """the default on the host that made it"""
    variants: Sequence[Variant]
    weights_blob: str | None = None
    """the trained net as safetensors"""
    auxiliary_blobs: dict[str, str] = field(default_factory=dict)
    """what examples are decoded with besides the card, as a vocabulary: name → blob"""
    golden_blob: str | None = None
    """a few validation examples with every variant's outputs, see `golden`"""
    files: dict[str, str] | None = None
    """made besides the model: `report`, `answers` … → blob; the job's row names them"""
    defaults: dict[Provider, str] = field(default_factory=dict)
    """provider → default there; none is named for a provider that nothing was measured on"""

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> "Publication":
        """Return what a trainer has handed over as JSON."""
        return cls(
            document["card"],
            document["default_variant"],
            [Variant(**variant) for variant in document["variants"]],
            weights_blob=document.get("weights_blob"),
            auxiliary_blobs=document.get("auxiliary_blobs", {}),
            golden_blob=document.get("golden_blob"),
            files=document.get("files"),
            defaults=document["defaults"],
        )

    def as_document(self) -> dict[str, Any]:
        """Return the same as JSON."""
        return asdict(self)


def publish(database: Database, claim: claims.Claim, publication: Publication) -> int:
    """Add a version and end the job well, in one fenced transaction; return the version's number.

    Raises:
        claims.Stale: if the claim is no longer ours, or its owner has asked for a cancel; nothing is published.
    """
    job = claim.job
    with database.write() as connection:
        number = _next_number(connection, job.owner, job.name)
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        named = {"owner": job.owner, "name": job.name, "created_at": now()}
        connection.execute(dialect.insert(tables.model).values(named).on_conflict_do_nothing())
        version_id = new_id("ver")
        connection.execute(
            insert(tables.version).values(
                id=version_id,
                owner=job.owner,
                model=job.name,
                number=number,
                job_id=job.id,
                dataset_id=job.dataset_id,
                default_variant=publication.default_variant,
                defaults=publication.defaults,
                weights_blob=publication.weights_blob,
                auxiliary_blobs=publication.auxiliary_blobs,
                golden_blob=publication.golden_blob,
                card=publication.card,
                created_at=now(),
            )
        )
        for variant in publication.variants:
            row = {
                "name": variant.name,
                "blob": variant.blob,
                "size_bytes": variant.size_bytes,
                "card": variant.card,
                "accepted": variant.accepted,
            }
            connection.execute(insert(tables.variant).values(version_id=version_id, **row))
        claims.succeed(connection, claim, Published(job.name, number).as_document(), files=publication.files)
        changes.add(connection)
    return number


def _next_number(connection: Connection, owner: str, model: str) -> int:
    """Return a number that no version of the model has had; who asks next, or deletes the model, waits for our end."""
    counter = tables.version_counter
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    first = dialect.insert(counter).values(owner=owner, model=model, last=0)
    connection.execute(first.on_conflict_do_nothing())
    mine = (counter.c.owner == owner, counter.c.model == model)
    counted = update(counter).where(*mine).values(last=counter.c.last + 1).returning(counter.c.last)
    return int(connection.execute(counted).scalar_one())
