"""Datasets, models and versions have descriptions and tags; jobs can be deleted; numbers of versions are counted."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

DESCRIBED = ("dataset", "model", "version")


def upgrade() -> None:
    """Bring the tables to this shape; every model's counter begins at its newest version."""
    for table in DESCRIBED:
        op.add_column(table, sa.Column("description", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("tags", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("job", sa.Column("deleted_at", sa.Double(), nullable=True))
    op.create_table(
        "version_counter",
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "model", name=op.f("pk_version_counter")),
    )
    op.execute(
        "INSERT INTO version_counter (owner, model, last) "
        "SELECT owner, model, MAX(number) FROM version GROUP BY owner, model"
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("version_counter")
    op.drop_column("job", "deleted_at")
    for table in reversed(DESCRIBED):
        op.drop_column(table, "tags")
        op.drop_column(table, "description")
