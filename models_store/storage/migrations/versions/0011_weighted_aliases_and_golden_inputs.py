"""Aliases may have several targets and a shadow, and may be pinned; versions keep golden inputs."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

COUNTED = ("compared", "agreed", "failed", "dropped")


def upgrade() -> None:
    """Bring the tables to this shape; an alias of an earlier release has one target, and is not pinned."""
    op.add_column("version", sa.Column("golden_blob", sa.String(length=64), nullable=True))
    op.add_column("alias", sa.Column("weight", sa.Double(), nullable=False, server_default="1"))
    op.add_column("alias", sa.Column("pinned", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "alias_target",
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("alias", sa.String(length=60), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("version_id", sa.String(length=40), nullable=False),
        sa.Column("variant", sa.String(length=60), nullable=True),
        sa.Column("weight", sa.Double(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False, server_default="0") for name in COUNTED),
        sa.Column("live_s", sa.Double(), nullable=False, server_default="0"),
        sa.Column("shadow_s", sa.Double(), nullable=False, server_default="0"),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"], name=op.f("fk_alias_target_version_id_version")),
        sa.PrimaryKeyConstraint("owner", "model", "alias", "position", name=op.f("pk_alias_target")),
    )


def downgrade() -> None:
    """Take the change back; an alias keeps its first target."""
    op.drop_table("alias_target")
    op.drop_column("alias", "pinned")
    op.drop_column("alias", "weight")
    op.drop_column("version", "golden_blob")
