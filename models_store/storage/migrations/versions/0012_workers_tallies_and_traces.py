"""Workers make themselves known, rare events are counted, and jobs keep the trace that they belong to."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

COUNTED = ("crashes", "lease_expiries")


def upgrade() -> None:
    """Bring the tables to this shape."""
    op.create_table(
        "worker",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("host", sa.String(length=200), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("devices", sa.JSON(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("beat_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
    )
    tally = op.create_table(
        "tally",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tally")),
    )
    op.bulk_insert(tally, [{"name": name, "count": 0} for name in COUNTED])
    op.add_column("attempt", sa.Column("worker_id", sa.String(length=40), nullable=True))
    op.add_column("job", sa.Column("traceparent", sa.String(length=55), nullable=True))


def downgrade() -> None:
    """Take the change back."""
    op.drop_column("job", "traceparent")
    op.drop_column("attempt", "worker_id")
    op.drop_table("tally")
    op.drop_table("worker")
