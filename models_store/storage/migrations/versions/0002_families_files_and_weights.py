"""Jobs have kinds, children and files; versions keep their trained weights; owners send weights of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables to this shape."""
    op.create_table(
        "weights",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("blob", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("card", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_weights")),
        sa.UniqueConstraint("owner", "blob", name=op.f("uq_weights_owner_blob")),
    )
    op.add_column("job", sa.Column("kind", sa.String(length=20), nullable=False, server_default="train"))
    op.add_column("job", sa.Column("parent_id", sa.String(length=40), nullable=True))
    op.add_column("job", sa.Column("number", sa.Integer(), nullable=True))
    op.add_column("job", sa.Column("parameters", sa.JSON(), nullable=True))
    op.add_column("job", sa.Column("files", sa.JSON(), nullable=True))
    op.create_index(op.f("ix_job_parent_id_number"), "job", ["parent_id", "number"], unique=True)
    op.add_column("version", sa.Column("weights_blob", sa.String(length=64), nullable=True))


def downgrade() -> None:
    """Take the change back."""
    op.drop_column("version", "weights_blob")
    op.drop_index(op.f("ix_job_parent_id_number"), table_name="job")
    for name in ("files", "parameters", "number", "parent_id", "kind"):
        op.drop_column("job", name)
    op.drop_table("weights")
