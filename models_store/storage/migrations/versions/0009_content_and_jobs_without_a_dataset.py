"""A dataset has a content, whatever its examples are; jobs and versions may have none; versions may have more files."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

INDEX = "ix_job_dataset_id_state"


def upgrade() -> None:
    """Bring the tables to this shape."""
    op.alter_column("dataset", "images_blob", new_column_name="content_blob")
    op.add_column("version", sa.Column("auxiliary_blobs", sa.JSON(), nullable=False, server_default="{}"))
    _set_optional(optional=True)


def downgrade() -> None:
    """Take the change back; what has no dataset gets one that does not exist."""
    for table in ("job", "version"):
        op.execute(sa.text(f"UPDATE {table} SET dataset_id = '' WHERE dataset_id IS NULL"))  # noqa: S608  our own names
    _set_optional(optional=False)
    op.drop_column("version", "auxiliary_blobs")
    op.alter_column("dataset", "content_blob", new_column_name="images_blob")


def _set_optional(*, optional: bool) -> None:
    """Let a job and a version have no dataset, or not.

    SQLite can't change a column, and a table that others refer to can't be replaced within a transaction: there the
    column is replaced.
    """
    if op.get_bind().dialect.name == "postgresql":
        for table in ("job", "version"):
            op.alter_column(table, "dataset_id", nullable=optional)
        return
    op.drop_index(INDEX, table_name="job")
    for table in ("job", "version"):
        default = None if optional else sa.text("''")
        column = sa.Column("new_dataset_id", sa.String(length=40), nullable=optional, server_default=default)
        op.add_column(table, column)
        op.execute(sa.text(f"UPDATE {table} SET new_dataset_id = dataset_id"))  # noqa: S608  our own names
        op.drop_column(table, "dataset_id")
        op.alter_column(table, "new_dataset_id", new_column_name="dataset_id")
    op.create_index(INDEX, "job", ["dataset_id", "state"])
