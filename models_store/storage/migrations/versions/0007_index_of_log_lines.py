"""An index of the events that are lines of a job's log: reading it passes over thousands of others."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

HAS_LINE = sa.text("kind IN ('log', 'state', 'child')")


def upgrade() -> None:
    """Bring the tables to this shape."""
    op.create_index(
        "ix_job_event_line", "job_event", ["job_id", "seq"], sqlite_where=HAS_LINE, postgresql_where=HAS_LINE
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_index("ix_job_event_line", table_name="job_event")
