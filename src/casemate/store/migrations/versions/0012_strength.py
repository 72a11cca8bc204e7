"""How strongly somebody signed in, and when a session was used last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("sessions", sa.Column("provider_subject", sa.String(), nullable=True))
    op.add_column(
        "sessions", sa.Column("second_factor", sa.Integer(), nullable=False, server_default="0")
    )
    # Of those before, nobody could say later whom their provider means: people sign in again.
    op.execute("DELETE FROM sessions WHERE provider IS NOT NULL")
    op.create_table(
        "session_uses",
        sa.Column("session", sa.String(), nullable=False),
        sa.Column("last", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("session", name=op.f("pk_session_uses")),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("session_uses")
    op.drop_column("sessions", "second_factor")
    op.drop_column("sessions", "provider_subject")
