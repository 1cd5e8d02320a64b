"""Indexes of lists leave previews out, which have one of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

NO_CHILD = sa.text("parent_id IS NULL")
IS_LISTED = sa.text("parent_id IS NULL AND kind != 'preview'")
IS_PREVIEW = sa.text("kind = 'preview'")


def upgrade() -> None:
    """Bring the tables to this shape."""
    _list(where=IS_LISTED)
    _create_partial("ix_job_previews", ["owner", "id"], where=IS_PREVIEW)


def downgrade() -> None:
    """Take the change back."""
    op.drop_index("ix_job_previews", table_name="job")
    _list(where=NO_CHILD)


def _list(*, where: sa.TextClause) -> None:
    for name, columns in (("ix_job_listed", ["owner", "id"]), ("ix_job_listed_by_state", ["owner", "state", "id"])):
        op.drop_index(name, table_name="job")
        _create_partial(name, columns, where=where)


def _create_partial(name: str, columns: list[str], *, where: sa.TextClause) -> None:
    op.create_index(name, "job", columns, sqlite_where=where, postgresql_where=where)
