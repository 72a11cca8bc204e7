"""Principals: without the count of failed sign-ins, which is kept with attempts since 0006."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.drop_column("principals", "locked_until")
    op.drop_column("principals", "failures")


def downgrade() -> None:
    """Undo."""
    op.add_column(
        "principals", sa.Column("failures", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("principals", sa.Column("locked_until", sa.String(), nullable=True))
