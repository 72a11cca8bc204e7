"""What people keep here: files, conversations, agents and batches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "kept",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("use_case", sa.String(), nullable=True),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("parent", sa.String(), nullable=True),
        sa.Column("run", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        sa.Column("blob", sa.String(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"], name=op.f("fk_kept_tenant")),
        sa.ForeignKeyConstraint(["principal"], ["principals.id"], name=op.f("fk_kept_principal")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_kept")),
        sa.UniqueConstraint("id", name=op.f("uq_kept_id")),
    )
    op.create_index("ix_kept_principal", "kept", ["principal", "kind"])
    op.create_index("ix_kept_parent", "kept", ["parent", "state"])


def downgrade() -> None:
    """Undo."""
    op.drop_table("kept")
