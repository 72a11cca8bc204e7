"""Labels: who gave a collection's label, when to look at it again, and downgrades."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("collections", sa.Column("originator", sa.String(), nullable=True))
    op.add_column("collections", sa.Column("review", sa.String(), nullable=True))
    op.create_table(
        "downgrades",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("before", sa.String(), nullable=False),
        sa.Column("after", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("requested_by", sa.String(), nullable=False),
        sa.Column("requested", sa.String(), nullable=False),
        sa.Column("decided_by", sa.String(), nullable=True),
        sa.Column("decided", sa.String(), nullable=True),
        sa.Column("made", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"], name=op.f("fk_downgrades_tenant")),
        sa.ForeignKeyConstraint(
            ["requested_by"], ["principals.id"], name=op.f("fk_downgrades_requested_by")
        ),
        sa.ForeignKeyConstraint(
            ["decided_by"], ["principals.id"], name=op.f("fk_downgrades_decided_by")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_downgrades")),
    )
    op.create_index("ix_downgrades_tenant", "downgrades", ["tenant", "requested"])


def downgrade() -> None:
    """Undo."""
    op.drop_table("downgrades")
    op.drop_column("collections", "review")
    op.drop_column("collections", "originator")
