"""Figures of a version's files that were measured again: written in one fenced transaction, and what they changed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Connection, select, update

from models_store.jobs import claims
from models_store.jobs.claims import Claim
from models_store.jobs.results import Change, DefaultsChange, Remeasured
from models_store.models import changes as registry_changes
from models_store.models.providers import Provider
from models_store.models.variant_card import VariantCard
from models_store.storage import tables
from models_store.storage.database import Database

COMPARED = ("accuracy", "accuracy_drop", "latency_ms", "speedup", "accepted", "reasons", "unmeasurable")
"""figures that show what a measurement has changed; a variant's card has them all"""

Measured = Mapping[str, Mapping[Provider, dict[str, Any]]]
"""variant → provider → what its card says under `measured`"""


@dataclass(frozen=True)
class Remeasurement:
    """What a measuring job hands over: the new figures, and provider → the variant that is the default by them."""

    measured: Measured
    defaults: Mapping[Provider, str]

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> "Remeasurement":
        """Return what a trainer has handed over as JSON."""
        return cls(document["measured"], document["defaults"])

    def as_document(self) -> dict[str, Any]:
        """Return the same as JSON."""
        return asdict(self)


def record(database: Database, claim: Claim, made: Remeasurement) -> Remeasured:
    """Replace the figures of the providers that were measured, and the defaults there; end the job with what changed.

    Figures of other providers stay, and so does everything else of the version; `default_variant` goes along with the
    provider whose default it is. Returns the job's result.

    Raises:
        claims.Stale: if the claim is no longer ours, or its owner has asked for a cancel; nothing is changed.
    """
    assert claim.job.parameters is not None, "the job takes a version up"
    model, number = claim.job.parameters["model"], claim.job.parameters["version"]
    table = tables.version
    which = (table.c.owner == claim.job.owner, table.c.model == model, table.c.number == number)
    with database.write() as connection:
        columns = (table.c.id, table.c.defaults, table.c.default_variant)
        row = connection.execute(select(*columns).where(*which).with_for_update()).one()
        after = {**row.defaults, **made.defaults}
        default = after[_followed(row.defaults, row.default_variant, among=after)]
        connection.execute(update(table).where(table.c.id == row.id).values(defaults=after, default_variant=default))
        changes = [_replace(connection, row.id, name, by_provider) for name, by_provider in made.measured.items()]
        result = Remeasured(
            model,
            number,
            measured=[change for of_variant in changes for change in of_variant],
            defaults=DefaultsChange(before=row.defaults, after=after),
        )
        claims.succeed(connection, claim, result.as_document())
        registry_changes.add(connection)
    return result


def _followed(before: Mapping[Provider, str], default_variant: str, *, among: Mapping[Provider, str]) -> Provider:
    """Return the provider whose default `default_variant` is: the CPU where several have it, or none has."""
    return min([provider for provider, variant in before.items() if variant == default_variant] or among)


def _replace(
    connection: Connection, version_id: str, name: str, by_provider: Mapping[Provider, dict[str, Any]]
) -> list[Change]:
    """Put the figures into a variant's card and return what they were and are."""
    table = tables.variant
    here = (table.c.version_id == version_id, table.c.name == name)
    card = connection.execute(select(table.c.card).where(*here)).scalar_one()
    before = VariantCard.of_document(card)
    after = replace(before, measured={**before.measured, **by_provider})
    values = {"card": card | {"measured": after.measured}, "accepted": after.is_accepted}
    connection.execute(update(table).where(*here).values(**values))
    return [
        Change(name, provider, before=_compared(before.measured.get(provider)), after=_compared(figures) or {})
        for provider, figures in by_provider.items()
    ]


def _compared(figures: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if figures is None else {name: figures[name] for name in COMPARED if name in figures}
