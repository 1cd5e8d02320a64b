"""The registry counts its changes, so that processes know when what they remember of it is old."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables to this shape."""
    table = op.create_table("registry_change", sa.Column("count", sa.BigInteger(), nullable=False))
    op.bulk_insert(table, [{"count": 0}])


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("registry_change")
