"""Weights: signatures of models, and whom to believe."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("models", sa.Column("signature", sa.LargeBinary(), nullable=True))
    op.add_column("models", sa.Column("signer", sa.String(), nullable=True))
    op.add_column("models", sa.Column("checked", sa.Text(), nullable=True))
    op.create_table(
        "signers",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("pem", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("added_by", sa.String(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["added_by"], ["principals.id"], name=op.f("fk_signers_added_by")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_signers")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_signers_fingerprint")),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("signers")
    with op.batch_alter_table("models") as table:
        for name in ("checked", "signer", "signature"):
            table.drop_column(name)
