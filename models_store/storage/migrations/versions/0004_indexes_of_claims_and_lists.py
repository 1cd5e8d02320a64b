"""Indexes in the order of claims and lists: neither sorts, nor reads rows that it leaves out."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NO_CHILD = sa.text("parent_id IS NULL")
IS_PHASE = sa.text("kind = 'phase'")


def upgrade() -> None:
    """Bring the tables to this shape."""
    op.drop_index("ix_job_state_not_before", table_name="job")
    op.drop_index("ix_job_owner_id", table_name="job")
    op.create_index("ix_job_claimed", "job", ["state", sa.text("priority DESC"), "id", "not_before", "wake_sent_at"])
    op.create_index("ix_job_parent_id_id", "job", ["parent_id", "id"])
    op.create_index("ix_job_dataset_id_state", "job", ["dataset_id", "state"])
    _create_partial("ix_job_listed", "job", ["owner", "id"], where=NO_CHILD)
    _create_partial("ix_job_listed_by_state", "job", ["owner", "state", "id"], where=NO_CHILD)
    _create_partial("ix_job_event_phase", "job_event", ["job_id", "seq"], where=IS_PHASE)


def downgrade() -> None:
    """Take the change back."""
    op.drop_index("ix_job_event_phase", table_name="job_event")
    for name in (
        "ix_job_listed_by_state",
        "ix_job_listed",
        "ix_job_dataset_id_state",
        "ix_job_parent_id_id",
        "ix_job_claimed",
    ):
        op.drop_index(name, table_name="job")
    op.create_index("ix_job_owner_id", "job", ["owner", "id"])
    op.create_index("ix_job_state_not_before", "job", ["state", "not_before"])


def _create_partial(name: str, table: str, columns: list[str], *, where: sa.TextClause) -> None:
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
