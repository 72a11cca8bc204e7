"""Forgetting: legal holds, and forgettings that are under way or done."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "holds",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("reason", sa.LargeBinary(), nullable=True),
        sa.Column("until", sa.String(), nullable=True),
        sa.Column("placed_by", sa.String(), nullable=False),
        sa.Column("placed", sa.String(), nullable=False),
        sa.Column("lifted", sa.String(), nullable=True),
        sa.Column("lift_reason", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"], name=op.f("fk_holds_tenant")),
        sa.ForeignKeyConstraint(["placed_by"], ["principals.id"], name=op.f("fk_holds_placed_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holds")),
    )
    op.create_index("ix_holds_target", "holds", ["kind", "target"])
    op.create_table(
        "forgettings",
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("basis", sa.String(), nullable=False),
        sa.Column("intent", sa.Integer(), nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.Column("begun", sa.String(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["principal"], ["principals.id"], name=op.f("fk_forgettings_principal")
        ),
        sa.PrimaryKeyConstraint("principal", name=op.f("pk_forgettings")),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("forgettings")
    op.drop_table("holds")
