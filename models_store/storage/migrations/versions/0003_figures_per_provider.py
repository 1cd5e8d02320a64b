"""Figures are per provider: a variant's card has them by provider, a version its default for each."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

PROVIDERS = {"CPUExecutionProvider": "cpu", "CUDAExecutionProvider": "cuda"}
FIGURES = (
    "accuracy",
    "agreement",
    "latency_ms",
    "throughput",
    "speedup",
    "load_ms",
    "provider",
    "threads",
    "accuracy_drop",
    "accepted",
    "reasons",
)
"""what a card of the older shape says of its one measurement, beside what the file is"""

version = sa.table(
    "version",
    sa.column("id", sa.String),
    sa.column("default_variant", sa.String),
    sa.column("defaults", sa.JSON),
)
variant = sa.table(
    "variant",
    sa.column("version_id", sa.String),
    sa.column("name", sa.String),
    sa.column("card", sa.JSON),
    sa.column("accepted", sa.Boolean),
)


def upgrade() -> None:
    """Bring the tables to this shape; what was measured by earlier releases moves below its provider."""
    op.add_column("version", sa.Column("defaults", sa.JSON(), nullable=False, server_default="{}"))
    connection = op.get_bind()
    measured_on: dict[tuple[str, str], str] = {}
    for row in connection.execute(sa.select(variant)).all():
        provider, card = _by_provider(row.card, accepted=row.accepted)
        measured_on[row.version_id, row.name] = provider
        _keep(row.version_id, row.name, card)
    for row in connection.execute(sa.select(version.c.id, version.c.default_variant)).all():
        provider = measured_on.get((row.id, row.default_variant), "cpu")
        defaults = {provider: row.default_variant}
        connection.execute(sa.update(version).where(version.c.id == row.id).values(defaults=defaults))


def downgrade() -> None:
    """Take the change back; of several providers the figures of the first are kept."""
    connection = op.get_bind()
    for row in connection.execute(sa.select(variant)).all():
        measured = [figures for figures in row.card.get("measured", {}).values() if "unmeasurable" not in figures]
        card = {name: value for name, value in row.card.items() if name != "measured"}
        _keep(row.version_id, row.name, card | (measured[0] if measured else {}))
    op.drop_column("version", "defaults")


def _by_provider(card: dict[str, Any], *, accepted: bool) -> tuple[str, dict[str, Any]]:
    """Return the provider that a flat card was measured on, and the card with its figures below that."""
    provider = PROVIDERS.get(card.get("provider", ""), "cpu")
    figures = {"accepted": accepted, "reasons": []} | {name: card[name] for name in FIGURES if name in card}
    facts = {name: value for name, value in card.items() if name not in FIGURES}
    return provider, facts | {"measured": {provider: figures}}


def _keep(version_id: str, name: str, card: dict[str, Any]) -> None:
    here = (variant.c.version_id == version_id) & (variant.c.name == name)
    op.get_bind().execute(sa.update(variant).where(here).values(card=card))
